"""Plimsoll: the acceptance suite that is run before a node is trusted with language models.

This is the library. It reads the catalogue, probes the node, decides what may run, loads models in processes of their
own, judges what was measured and keeps the evidence. It never imports pytest; only modules that run inside a host
process import torch.
"""

__version__ = "0.1.0"
