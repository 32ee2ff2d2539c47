"""Training steps of loaded models: what is trained, how a step goes, and what it takes."""
