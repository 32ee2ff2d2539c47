"""The append-only record of a run: its events, how they are written, and how they are read back."""
