"""Are the GPUs sound, before, while and after models run on them."""

from __future__ import annotations

import pytest

from fixtures.health import settle
from plimsoll.catalogue.entries import Tier
from plimsoll.judge.health import HealthJudgement

pytestmark = pytest.mark.health


@pytest.mark.only("gpu")
def test_health_while_used(under_load: HealthJudgement) -> None:
    """While this model was loaded and asked, nothing rose that counts errors, and no GPU that holds it was held back,
    badly linked or lost."""
    settle(under_load)


@pytest.mark.only("gpu")
def test_gpus_stay(tier: Tier, seen: HealthJudgement) -> None:  # noqa: ARG001  a tier's GPUs are the node's
    """Every GPU that was there when the suite began is there, answers, and NVML advises nothing for it."""
    settle(seen.of("presence", "advice"))


@pytest.mark.only("gpu")
def test_ecc(of_gpu: HealthJudgement) -> None:
    """Errors of the GPU's memory are counted, within their bounds, and did not rise while the suite ran."""
    settle(of_gpu.of("ecc"))


@pytest.mark.only("gpu")
def test_remapped_rows(of_gpu: HealthJudgement) -> None:
    """No row or page of its memory waits to be replaced, could not be, or was while the suite ran."""
    settle(of_gpu.of("remapped_rows"))


@pytest.mark.only("gpu")
def test_throttle(of_gpu: HealthJudgement) -> None:
    """The GPU was not too hot, nor held back by heat, a power brake or a power limit below its own."""
    settle(of_gpu.of("throttle"))


@pytest.mark.only("gpu")
def test_xid(of_gpu: HealthJudgement) -> None:
    """No Xid that asks for a reset or for repair was told of it while the suite ran, and somebody would have told."""
    settle(of_gpu.of("xid"))


@pytest.mark.only("gpu")
def test_links(of_gpu: HealthJudgement) -> None:
    """Its NVLinks are up and without errors that rise, and its fabric is complete."""
    settle(of_gpu.of("links"))
