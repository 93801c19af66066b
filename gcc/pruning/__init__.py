"""Channel groups, their importance and cost, and the widths within a budget (Li et al. 2021, Algorithm 1, first step)."""
