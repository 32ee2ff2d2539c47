"""What a variant should cost, predicted from its configuration before anything is loaded."""
