"""The tiny tier's checkpoints: what they are taught, how they are trained, and their cache."""
