"""The files and lines that people and machines read, each made from evidence alone."""
