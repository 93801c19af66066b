"""What a person looks at: sample grids, model cards, tables and bars in the terminal."""
