"""The sign-off: a bundle of everything that a verdict rests on, and the check that nothing in it was changed."""
