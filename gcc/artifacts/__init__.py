"""The files of a run: its folder, its saved generators with their model cards, and the Hugging Face Hub."""
