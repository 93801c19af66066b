"""Trained generators in use: optimised, exported, timed, run on images."""
