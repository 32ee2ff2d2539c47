"""Runs training steps of loaded models, and measures their memory."""
