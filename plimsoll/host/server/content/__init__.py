"""Proves that a loaded model holds the checkpoint's own weights: unpacked and compared, and tried in products."""
