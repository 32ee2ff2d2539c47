"""Analyses how sure models were of their answers, and whether that tells right from wrong."""
