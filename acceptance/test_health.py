"""Are the GPUs sound, before, while and after models run on them."""

from __future__ import annotations

import pytest

from fixtures.health import settle
from plimsoll.catalogue.entries import Tier
from plimsoll.judge.health import HealthJudgement

pytestmark = pytest.mark.health


@pytest.mark.only("gpu")
def test_health_under_load(under_load: HealthJudgement) -> None:
    """While this model was loaded and asked, nothing rose that counts errors, and no GPU that holds it was held back,
    badly linked or lost."""
    settle(under_load)


@pytest.mark.only("gpu")
def test_gpus_stay(tier: Tier, seen: HealthJudgement) -> None:  # noqa: ARG001  a tier's GPUs are the node's
    """Every GPU that was there when the suite began is there, answers, and NVML advises nothing for it."""
    settle(seen.of("presence", "advice"))


@pytest.mark.only("gpu")
def test_ecc(tier: Tier, seen: HealthJudgement) -> None:  # noqa: ARG001  a tier's GPUs are the node's
    """Memory errors of every GPU are counted, within their bounds, and did not rise while the suite ran."""
    settle(seen.of("ecc"))


@pytest.mark.only("gpu")
def test_remapped_rows(tier: Tier, seen: HealthJudgement) -> None:  # noqa: ARG001  a tier's GPUs are the node's
    """No row or page of a GPU's memory waits to be replaced, could not be, or was while the suite ran."""
    settle(seen.of("remapped_rows"))


@pytest.mark.only("gpu")
def test_throttle(tier: Tier, seen: HealthJudgement) -> None:  # noqa: ARG001  a tier's GPUs are the node's
    """No GPU was too hot, or held back by heat, a power brake or a power limit below its own."""
    settle(seen.of("throttle"))


@pytest.mark.only("gpu")
def test_xid(tier: Tier, seen: HealthJudgement) -> None:  # noqa: ARG001  a tier's GPUs are the node's
    """No Xid that asks for a reset or for repair was told while the suite ran, and somebody would have told."""
    settle(seen.of("xid"))


@pytest.mark.only("gpu")
def test_links(tier: Tier, seen: HealthJudgement) -> None:  # noqa: ARG001  a tier's GPUs are the node's
    """Every NVLink is up and without errors that rise, and the fabric is complete."""
    settle(seen.of("links"))
