"""Several runs that are compared: an ablation, a sweep over budgets."""
