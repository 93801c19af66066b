"""Trained networks that evaluators take features or predictions from."""
