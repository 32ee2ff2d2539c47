"""Does the model load completely, in the form and the place that was asked for, and how fast?"""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.benchmarks import LOAD_CLOCK
from fixtures.judging import Judge
from fixtures.load_timing import LoadTimer
from fixtures.loaded import LoadedVariant
from plimsoll.footprint.sizes import Footprint
from plimsoll.judge.load import names_apart, unheeded
from plimsoll.judge.quantization import check_dtypes, summarise

pytestmark = pytest.mark.load


@pytest.mark.only("cold")
@pytest.mark.benchmark(timer=LOAD_CLOCK.read)
@pytest.mark.measures("cold_load_time")
def test_cold_load_time(load_timer: LoadTimer, judge: Judge) -> None:
    """Loading with the checkpoint evicted from the page cache stays within its limit. It is asked first, and all
    other checks use the model of its last round.

    Limit: A claim, else what the disk, the link and packing take at the speeds measured just before, times four, and
    20 s (docs/limits.md).
    Fails when: the median of the rounds is over the limit, or no round could be measured. A page cache that cannot be
    emptied is a skip.
    Do: Compare with test_warm_load_time: warm fast and cold slow is the disk, so copy the checkpoint to a local one.
    Both slow is the processor or the link.
    Symptoms: slow-load, page-cache, hang
    """
    timing = load_timer.time("cold")
    judge.claims("cold_load_time", timing.median, reason=timing.reason, otherwise=timing.limits, **timing.context)


@pytest.mark.only("warm")
@pytest.mark.benchmark(timer=LOAD_CLOCK.read)
@pytest.mark.measures("warm_load_time")
def test_warm_load_time(load_timer: LoadTimer, judge: Judge) -> None:
    """Loading with the checkpoint in the page cache stays within its limit.

    Limit: A claim, else what memory, the link and packing take at the speeds measured just before, times four, and 20
    s (docs/limits.md).
    Fails when: the median of the rounds is over the limit, or no round could be measured.
    Do: Look for other load on the node, and at test_link. On a node that lacks RAM the checkpoint does not stay in
    the page cache: see test_free_ram.
    Symptoms: slow-load, page-cache, busy
    """
    timing = load_timer.time("warm")
    judge.claims("warm_load_time", timing.median, reason=timing.reason, otherwise=timing.limits, **timing.context)


@pytest.mark.only("files")
def test_loads_from_safetensors(loaded: LoadedVariant) -> None:
    """The weights came from safetensors, unless the entry says why they may not.

    Limit: No other file of weights; `allow_pickle` of the entry lifts the rule (docs/catalogue.md).
    Fails when: a file that can run code was read, or the host names no file.
    Do: Name a revision with safetensors in the entry. If you trust the pickle, write the reason into `allow_pickle`.
    Symptoms: pickle, missing-file
    """
    if loaded.variant.model.allow_pickle is not None:
        return
    others = [name for name in loaded.report.checkpoint_files if not name.endswith(".safetensors")]
    assert loaded.report.checkpoint_files, "the host named no file that it loaded from"
    assert not others, f"loaded from files that can run code: {', '.join(others)}"


def test_loads_completely(loaded: LoadedVariant) -> None:
    """Every weight of the architecture was found, none was left over, and none stayed on the meta device.

    Limit: None missing, unexpected, of another shape or never materialised: the suite's own rule.
    Fails when: the checkpoint and the class differ in any tensor. transformers only warns of that and fills in random
    weights.
    Do: Compare config.json and the class with the checkpoint: the failure names the tensors. Download the checkpoint
    again if a shard is missing.
    Symptoms: new-weights, wrong-shape, untied, index-mismatch, missing-file
    """
    report = loaded.report
    unlike = names_apart(report.missing_keys, report.unexpected_keys)
    assert not unlike, unlike
    assert not report.mismatched_keys, f"of another shape in the checkpoint: {_some(report.mismatched_keys)}"
    assert not report.meta_parameters, f"never materialised: {_some(report.meta_parameters)}"
    assert report.inventory.parameters, "the host found no parameter in the model"


def test_loads_asked_class(loaded: LoadedVariant) -> None:
    """The loaded class is the one of the catalogue: an Auto class picks another without a word when a config says so.

    Limit: Exactly the `architecture` of the entry.
    Fails when: the model has another class.
    Do: Look at `architectures` and `auto_map` in config.json. Correct `architecture` of the entry if the checkpoint
    is right.
    Symptoms: remote-code, too-old
    """
    assert loaded.report.model_class == loaded.variant.model.architecture


@pytest.mark.only("one-device")
def test_loads_on_asked_device(loaded: LoadedVariant) -> None:
    """Every parameter is on a device of the kind that was asked for, looked at where the tensors are. bitsandbytes
    falls back to the CPU silently, and the device map says only what was intended (test_placed_as_asked judges that).

    Limit: No parameter elsewhere: the suite's own rule.
    Fails when: a parameter is on another kind of device.
    Do: Look with `plimsoll probe` whether torch sees the GPU, and with `plimsoll plan` whether the variant fits on
    it.
    Symptoms: torch-without-cuda, no-gpu, gpu-memory
    """
    inventory = loaded.report.inventory
    wanted = loaded.spec().device.partition(":")[0]
    others = [f"{r.name} ({r.device})" for r in inventory.parameters if r.device.partition(":")[0] != wanted]
    assert not others, f"not on {wanted}: {_some(others)}"


def test_loads_in_asked_dtype(loaded: LoadedVariant, footprint: Footprint) -> None:
    """What is not packed is stored in the dtype that was asked for, or in the one that the architecture insists on.

    Limit: Exactly that dtype, for each parameter and buffer.
    Fails when: a tensor has another dtype. The failure names it.
    Do: Look at `dtype` or `torch_dtype` in config.json and at load_options of the entry. An older transformers
    ignores `dtype`: see docs/releases.md.
    Symptoms: unsupported-dtype, too-old
    """
    wrong = check_dtypes(footprint, loaded.report.inventory, loaded.variant.dtype)
    assert not wrong, summarise(wrong)


def test_uses_asked_attention(loaded: LoadedVariant) -> None:
    """The attention implementation in use is the one of the entry.

    Limit: Exactly the `attention` of the entry.
    Fails when: transformers has chosen another implementation.
    Do: Install the package that the implementation needs (flash-attn), or set `attention` to one that the class and
    the GPU have.
    Symptoms: missing-package, unsupported-gpu
    """
    found, asked = loaded.report.attention, loaded.variant.attention
    assert found == asked, (
        f"{found} attention is in use, and {asked} was asked for; a `_attn_implementation` in the checkpoint's "
        "config.json wins over what is asked for: take it out there"
    )


@pytest.mark.only("configured")
def test_settings_take_effect(loaded: LoadedVariant) -> None:
    """Every load setting of the entry and of --load-config is in force in what was loaded.

    Limit: None without effect (docs/ladder.md).
    Fails when: a setting is not found in the loaded model. The failure names it.
    Do: Correct its spelling and place: the names are those of transformers 4 or 5. Take it out of the entry if the
    class has no such setting.
    Symptoms: too-old, too-new
    """
    without = unheeded(loaded.variant, loaded.report)
    assert not without, "settings without effect:\n" + "\n".join(without)


def _some(names: Any) -> str:
    """The first names of many, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(map(str, names[:8])) + rest
