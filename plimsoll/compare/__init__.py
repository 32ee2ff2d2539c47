"""Compares runs: how the machines differ, what became slower, and what is still undecided."""
