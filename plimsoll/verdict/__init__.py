"""Reaches the verdict from evidence: the outcome of each planned check, and the word over all of them."""
