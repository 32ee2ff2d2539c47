"""How the golden numbers are made: float64 arithmetic in numpy, apart from the stack that they judge."""
