"""Probes the machine: its hardware, what could not be read of it, and its software stack."""
