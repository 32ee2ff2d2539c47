"""Datasets: rows of the official formats become examples, are checked, chosen and put into prompts."""
