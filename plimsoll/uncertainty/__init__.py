"""How sure a model was of its answers, and whether that tells the right ones from the wrong."""
