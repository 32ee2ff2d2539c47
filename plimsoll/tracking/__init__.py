"""Sends the figures of a run to experiment trackers; no verdict depends on them."""
