"""A folder of wheels for a node without a network: collected where there is one, installed beside the node's torch.

`python -m plimsoll.wheelhouse.collect` makes it, `python -m plimsoll.wheelhouse.install` installs from it. The node's
own interpreter runs the second before anything is installed, so at first it needs the standard library alone.
"""
