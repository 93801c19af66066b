"""Training: pairs and their steps, the loop over stages and epochs, checkpoints, collapse, and a run in its folder."""
