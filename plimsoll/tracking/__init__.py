"""Lets people follow a run where they already follow their others; nothing of a verdict comes from here."""
