"""Does the model load completely, in the form and the place that was asked for, and how fast?"""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.benchmarks import LOAD_CLOCK
from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from fixtures.load_timing import LoadTimer
from plimsoll.footprint.sizes import Footprint
from plimsoll.judge.parameter_names import names_apart
from plimsoll.judge.quantization import check_dtypes, summarise
from plimsoll.judge.settings import unheeded

pytestmark = pytest.mark.load


@pytest.mark.only("cold")
@pytest.mark.benchmark(timer=LOAD_CLOCK.read)
@pytest.mark.measures("cold_load_time")
def test_cold_load_time(load_timer: LoadTimer, judge: Judge) -> None:
    """Loading with the checkpoint evicted from the page cache stays within its limit. Asked first: the last round's
    model is the one that all other questions are asked of."""
    timing = load_timer.time("cold")
    judge.claims("cold_load_time", timing.median, reason=timing.reason, otherwise=timing.limits, **timing.context)


@pytest.mark.only("warm")
@pytest.mark.benchmark(timer=LOAD_CLOCK.read)
@pytest.mark.measures("warm_load_time")
def test_warm_load_time(load_timer: LoadTimer, judge: Judge) -> None:
    """Loading with the checkpoint in the page cache stays within its limit."""
    timing = load_timer.time("warm")
    judge.claims("warm_load_time", timing.median, reason=timing.reason, otherwise=timing.limits, **timing.context)


@pytest.mark.only("files")
def test_loads_from_safetensors(loaded: LoadedVariant) -> None:
    """The weights came from safetensors, unless the entry says why they may not."""
    if loaded.variant.model.allow_pickle is not None:
        return
    others = [name for name in loaded.report.checkpoint_files if not name.endswith(".safetensors")]
    assert loaded.report.checkpoint_files, "the host named no file that it loaded from"
    assert not others, f"loaded from files that can run code: {', '.join(others)}"


def test_loads_completely(loaded: LoadedVariant) -> None:
    """Every weight of the architecture was found, none was left over, none stayed on the meta device."""
    report = loaded.report
    unlike = names_apart(report.missing_keys, report.unexpected_keys)
    assert not unlike, unlike
    assert not report.mismatched_keys, f"of another shape in the checkpoint: {_some(report.mismatched_keys)}"
    assert not report.meta_parameters, f"never materialised: {_some(report.meta_parameters)}"
    assert report.inventory.parameters, "the host found no parameter in the model"


def test_loads_asked_class(loaded: LoadedVariant) -> None:
    """The class is the one of the catalogue: an Auto class picks another without a word when a config says so."""
    assert loaded.report.model_class == loaded.variant.model.architecture


@pytest.mark.only("one-device")
def test_loads_on_asked_device(loaded: LoadedVariant) -> None:
    """Every parameter is on a device of the kind that was asked for; bitsandbytes falls back to the CPU silently.

    Looked at where the tensors are: the device map says only what was intended, which test_placed_as_asked judges.
    """
    inventory = loaded.report.inventory
    wanted = loaded.spec().device.partition(":")[0]
    others = [f"{r.name} ({r.device})" for r in inventory.parameters if r.device.partition(":")[0] != wanted]
    assert not others, f"not on {wanted}: {_some(others)}"


def test_loads_in_asked_dtype(loaded: LoadedVariant, footprint: Footprint) -> None:
    """What is not packed is stored in the dtype that was asked for, or in the one that the architecture insists on."""
    wrong = check_dtypes(footprint, loaded.report.inventory, loaded.variant.dtype)
    assert not wrong, summarise(wrong)


def test_uses_asked_attention(loaded: LoadedVariant) -> None:
    """The attention implementation in use is the one of the entry."""
    assert loaded.report.attention == loaded.variant.attention


@pytest.mark.only("configured")
def test_settings_take_effect(loaded: LoadedVariant) -> None:
    """Every load setting of the entry and of --load-config is in force in what was loaded."""
    without = unheeded(loaded.variant, loaded.report)
    assert not without, "settings without effect:\n" + "\n".join(without)


def _some(names: Any) -> str:
    """The first names of many, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(map(str, names[:8])) + rest
