"""Helpers that import nothing of ours but errors."""
