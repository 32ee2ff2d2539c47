"""What documents say, held against prediction and, where there is evidence, against measurement."""
