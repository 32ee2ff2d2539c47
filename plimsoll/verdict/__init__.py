"""What the evidence of a run comes to: the outcome of each planned cell, and the word over all of them."""
