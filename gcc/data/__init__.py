"""Training images: datasets on disk, generated demo datasets, and the batches of their samples."""
