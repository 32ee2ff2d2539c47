"""The machine: what it is, what could not be read of it, and which software stack it carries."""
