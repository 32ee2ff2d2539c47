"""Signs off: bundles everything that a verdict follows from, and checks that nothing in a bundle was changed."""
