"""Reads TOML that users write, and explains what is wrong with it."""
