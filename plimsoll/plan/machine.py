"""The machine that is planned for: this node, or a reference machine of the data sheets made to look like one.

So that the gate decides about both. A data sheet says nothing of RAM, disk or software: what is not limited there is
as large as it has to be, and the plan says how much that is.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from plimsoll.catalogue.entries import Profile
from plimsoll.node.node import Cpu, Disk, Gpu, Memory, Node, Unread

UNSTATED: Final = 2**62
"""Bytes of what a data sheet says nothing about; more than any need."""
_NO_CAPABILITY: Final = "its data sheet names no compute capability, which is CUDA's"


def node_of_profile(profile: Profile, packages: Mapping[str, str | None]) -> Node:
    """A node with the profile's GPUs, all of them free, and with the packages of this environment.

    A build of torch without CUDA counts as one with it: the machine will have the one that suits it.
    """
    gpus = tuple(
        Gpu(
            index=index,
            name=profile.gpu,
            uuid=None,
            serial=None,
            vbios=None,
            memory_total=profile.memory,
            memory_free=profile.memory,
            compute_capability=profile.compute_capability,
            mig=False,
        )
        for index in range(profile.count)
    )
    return Node(
        hostname=profile.id,
        system="",
        kernel="",
        python=".".join(map(str, sys.version_info[:3])),
        cpu=Cpu(model=None, architecture="", physical_cores=None, logical_cores=1, features=()),
        memory=Memory(total=UNSTATED, available=UNSTATED, limit=None),
        disk=Disk(path="a disk", filesystem=None, total=UNSTATED, free=UNSTATED),
        gpus=gpus,
        driver=None,
        cuda=None,
        packages={name: version and version.partition("+")[0] for name, version in packages.items()},
        environment={},
        unread=tuple(Unread(what=f"gpus[{gpu.index}].compute_capability", why=_NO_CAPABILITY) for gpu in gpus),
    )
