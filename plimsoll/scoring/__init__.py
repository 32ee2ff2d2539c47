"""Scores of answers by the official rules of each dataset."""
