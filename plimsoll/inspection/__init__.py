"""Tells what a model is before it is loaded, and writes the entry that the suite accepts it by."""
