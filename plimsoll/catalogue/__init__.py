"""The catalogue: which models there are, how they are loaded, and what documents say that this costs."""
