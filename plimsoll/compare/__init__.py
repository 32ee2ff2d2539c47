"""Runs held against each other: what differs between the machines, what became slower, and what nobody can tell yet."""
