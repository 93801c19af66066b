"""Trained networks whose features or labels evaluators read."""
