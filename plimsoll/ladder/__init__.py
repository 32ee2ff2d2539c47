"""The ladder: tries the ways to load a model, from the surest on, until one works; tells why the others did not."""
