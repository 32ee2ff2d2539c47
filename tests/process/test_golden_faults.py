"""The golden models in real hosts: a sound stack is within every limit, and each planted fault is beyond one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.golden.margins import errors_of
from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.golden import read_golden
from plimsoll.host.client.process import Hosts
from plimsoll.host.protocol import Call
from plimsoll.judge.golden import golden_errors, golden_request
from tests.support.golden_faults import FAULTS

GOLDEN = read_golden()


@pytest.mark.parametrize("family", GOLDEN.models)
def test_a_sound_stack_is_within_every_limit(hosts: Hosts, family: str, tmp_path: Path) -> None:
    host = hosts.start("sound", tmp_path / "host.log")
    for name, error in errors_of(host, GOLDEN, family, [quantization.value for quantization in Quantization]).items():
        limit = GOLDEN.limit(family, Quantization(name)).high
        assert limit / 8 < error < limit / 1.5, f"{name}: {error:.2e}, limit {limit:.2e}"
    host.close()


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_red(hosts: Hosts, name: str, tmp_path: Path) -> None:
    planted = FAULTS[name]
    host = hosts.start("faulty", tmp_path / "host.log")
    host.ask(Call(target="tests.support.golden_faults:plant", arguments={"name": name}), 120.0)
    model = GOLDEN.models[planted.family]
    for kind in planted.red:
        asked = golden_request(model, Quantization(kind), "cpu")
        # Some of the ways that a check asks for: the worst of all is no smaller than the worst of these.
        request = replace(asked, attentions=asked.attentions[:1], long_attentions=asked.long_attentions * planted.long)
        errors = golden_errors(model, request, host.ask(request, 120.0))
        error, limit = errors.ways[errors.worst], GOLDEN.limit(planted.family, Quantization(kind)).high
        assert error > 1.2 * limit, f"{kind}: {error:.2e}, limit {limit:.2e}"
    host.close()
