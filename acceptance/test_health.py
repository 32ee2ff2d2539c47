"""Are the GPUs sound, before, while and after models run on them?"""

from __future__ import annotations

import pytest

from fixtures.health import settle
from plimsoll.catalogue.entries import Tier
from plimsoll.judge.health import HealthJudgement

pytestmark = pytest.mark.health


@pytest.mark.only("gpu")
def test_health_while_used(under_load: HealthJudgement) -> None:
    """While this model was loaded and asked, no error counter of its GPUs rose, and none of them was slowed down,
    badly linked or lost.

    Limit: The rules of catalogue/health/health.toml, each with its source (docs/gpu-health.md).
    Fails when: a rule is broken on a GPU that holds the model, or nothing says on which GPUs it lies.
    Do: The failure names the GPU, the rule and the action that the rule asks for: drain, reset or repair. Other
    checks of that GPU's figures count for nothing until then.
    Symptoms: gpu-broken, counter
    """
    settle(under_load)


@pytest.mark.only("gpu")
def test_gpus_stay(tier: Tier, seen: HealthJudgement) -> None:  # noqa: ARG001  a tier's GPUs are the node's
    """Every GPU that was there when the suite began is still there and answers, and NVML advises nothing for it.

    Limit: All of them, without advice (docs/gpu-health.md).
    Fails when: a GPU is gone or does not answer, another has its number, or NVML asks for a reset, a reboot or a
    drain.
    Do: Take the node out of service. `dmesg` names the Xid; reboot, and run the suite again. A GPU that is lost twice
    needs repair.
    Symptoms: gpu-broken, counter
    """
    settle(seen.of("presence", "advice"))


@pytest.mark.only("gpu")
def test_ecc(of_gpu: HealthJudgement) -> None:
    """Errors of the GPU's memory are counted, lie within their bounds and did not rise while the suite ran.

    Limit: The bounds of catalogue/health/health.toml (docs/gpu-health.md).
    Fails when: a counter is over its bound, or one rose. Where ECC is switched off nothing counts errors: the check
    is then skipped, which leaves the run INCOMPLETE.
    Do: Do what the failure says of the counter. Uncorrected errors: drain the GPU and reset it; if they come back,
    ask for repair. `nvidia-smi -q -d ECC` shows all counters.
    Symptoms: gpu-broken, counter
    """
    settle(of_gpu.of("ecc"))


@pytest.mark.only("gpu")
def test_remapped_rows(of_gpu: HealthJudgement) -> None:
    """No row or page of the GPU's memory waits to be replaced, could not be replaced, or was replaced while the suite
    ran.

    Limit: The bounds of catalogue/health/health.toml (docs/gpu-health.md).
    Fails when: a replacement is pending or has failed, there were too many of them, or one happened during the run.
    Do: Pending: reset the GPU when nothing uses it, or reboot. Failed: ask for repair. `nvidia-smi -q -d
    ROW_REMAPPER` shows the counters.
    Symptoms: gpu-broken, counter
    """
    settle(of_gpu.of("remapped_rows"))


@pytest.mark.only("gpu")
def test_throttle(of_gpu: HealthJudgement) -> None:
    """The GPU was not too hot, and not slowed down by heat, a power brake or a power limit below its own.

    Limit: The GPU's own thresholds, by the rules of catalogue/health/health.toml (docs/gpu-health.md).
    Fails when: a temperature reached its threshold, or the driver named such a reason for slowing down.
    Do: Look at fans, airflow and inlet temperature, at the power supply, and at who lowered the power limit
    (`nvidia-smi -q -d TEMPERATURE,POWER,PERFORMANCE`). Then run again.
    Symptoms: counter
    """
    settle(of_gpu.of("throttle"))


@pytest.mark.only("gpu")
def test_xid(of_gpu: HealthJudgement) -> None:
    """The driver reported no Xid that asks for a reset or for repair while the suite ran, and the suite could hear of
    one.

    Limit: None of the Xids that catalogue/health/health.toml lists (docs/gpu-health.md).
    Fails when: such an Xid was reported for this GPU. Where neither the kernel's log nor NVML's events can be read
    the check is skipped, which leaves the run INCOMPLETE.
    Do: Do what the failure says of the Xid. `dmesg | grep Xid` shows what came before it. Skipped: let the suite read
    the kernel's log (docs/gpu-health.md).
    Symptoms: xid-hardware, xid-reset, xid-recovery, counter
    """
    settle(of_gpu.of("xid"))


@pytest.mark.only("gpu")
def test_links(of_gpu: HealthJudgement) -> None:
    """The GPU's NVLinks are up and without rising errors, its fabric is complete, and no NVSwitch told a fatal error.

    Limit: The bounds of catalogue/health/health.toml (docs/gpu-health.md).
    Fails when: a link is down, its errors rise, the fabric is not complete, or the kernel's log told a fatal SXid
    while the suite ran: NVSwitches join all GPUs, so that it fails each of them.
    Do: `nvidia-smi nvlink -s` shows the links. Start nvidia-fabricmanager of the driver's own version where there is
    an NVSwitch; else reboot, and ask for repair if the link stays down.
    Symptoms: fabric, gpu-broken, counter
    """
    settle(of_gpu.of("links"))
