"""Statistics for comparisons of runs and of models, beyond those of scipy."""
