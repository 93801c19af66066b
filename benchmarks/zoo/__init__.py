"""Networks that nobody here wrote, each pruned to half its multiply-accumulates by `gcc.prune` and by other tools, each result checked."""
