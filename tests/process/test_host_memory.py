"""Resident memory around a block of work, in a process that has freed nothing before."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.subsession import ROOT

_BLOCKS = """
import json
from plimsoll.host.server.memory import HostMeter

def touch(size):
    block = bytearray(size)
    block[::4096] = b"x" * len(block[::4096])
    return block

with HostMeter() as meter:
    blocks = [touch(60_000) for _ in range(3300)]
    pin = blocks[-1]
    del blocks
found = meter.result()
print(json.dumps([found.before, found.peak, found.after, len(pin)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the mark is Linux's")
def test_memory_that_was_freed_but_kept_by_the_allocator_is_not_counted_as_held() -> None:
    """What earlier tests freed would be taken again, and no memory of the system's; given back to the system first, it
    still was now and then, for what lies on the pages of something that lives is not given back."""
    done = subprocess.run([sys.executable, "-c", _BLOCKS], cwd=ROOT, capture_output=True, text=True, check=True)
    before, peak, after, pin = json.loads(done.stdout)
    assert after - before < 40 * 2**20
    assert peak - before > 170 * 2**20
    assert pin == 60_000
