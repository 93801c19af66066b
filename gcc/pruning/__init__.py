"""Channels, their importance, what they cost, and the widths that keep a budget (Li et al. 2021, Algorithm 1, first step)."""
