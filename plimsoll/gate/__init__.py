"""Decides, before anything loads, which variants run on a node and why the others are skipped."""
