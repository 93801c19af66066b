"""What a person looks at: the report of a run, sample grids, model cards, tables and bars in the terminal."""
