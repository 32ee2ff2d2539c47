"""Predicts what a variant costs from its configuration, before anything is loaded."""
