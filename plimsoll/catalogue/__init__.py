"""The catalogue: the models, the ways to load them, and what documents say that each costs."""
