"""Audits documents' claims by prediction and, where there is evidence, by measurement."""
