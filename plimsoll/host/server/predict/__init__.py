"""Predicts what a variant takes, on the meta device."""
