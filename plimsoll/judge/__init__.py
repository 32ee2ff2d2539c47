"""Judges measurements: pure comparisons of values, without torch."""
