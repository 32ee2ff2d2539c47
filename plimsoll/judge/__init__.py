"""Judging what was measured: pure comparisons of values, no torch."""
