"""Statistics that comparisons of runs and of models share; the rest is scipy's."""
