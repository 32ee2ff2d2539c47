"""How the golden numbers are made: float64 arithmetic in numpy, apart from the stack that they judge."""

import os

# Read when numpy is first imported: for products as small as these, several threads cost more time than they save.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
