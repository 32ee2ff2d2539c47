"""Checks that the values of one table fit together.

Every check looks only at values of the right shape, and ignores keys that already have a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any, Final

from plimsoll.catalogue.entries import KEY_OF_SOURCE, DatasetSchema, LimitedSide, Quantization, WeightSource
from plimsoll.catalogue.settings import COMMIT, fault_of_packing, read_max_memory, table_faults
from plimsoll.catalogue.sizes import sizes_of
from plimsoll.catalogue.tables import TomlTable
from plimsoll.errors import Fault
from plimsoll.metrics import FLOORED, METRICS, RULE_SCORES
from plimsoll.units import SCALE, to_base
from plimsoll.usertoml.phrases import HOLE, PhraseError, holes_of, phrase
from plimsoll.usertoml.reading import key_path, shown
from plimsoll.usertoml.suggest import did_you_mean, nearest

_OWN_LOAD_OPTIONS: Final = {
    "attn_implementation": "set 'attention' of the variant",
    "code_revision": "pin 'revision' of the model",
    "device_map": "set 'device_map' of the variant",
    "dtype": "the quantization decides it",
    "load_in_4bit": "the quantization decides it",
    "load_in_8bit": "the quantization decides it",
    "revision": "set 'revision' of the model",
    "token": "log in with 'hf auth login'; a token must not stand in a file",
    "torch_dtype": "the quantization decides it",
    "trust_remote_code": "set 'trust_remote_code' of the model, which must then pin a revision",
    "use_auth_token": "log in with 'hf auth login'; a token must not stand in a file",
    "use_safetensors": "set 'allow_pickle' of the model to the reason",
}
"""Keyword arguments of from_pretrained that the suite sets itself; set elsewhere, they would bypass its checks."""

QUANTIZATION_FIELDS: Final = (
    "bnb_4bit_compute_dtype",
    "bnb_4bit_quant_storage",
    "bnb_4bit_quant_type",
    "bnb_4bit_use_double_quant",
    "llm_int8_enable_fp32_cpu_offload",
    "llm_int8_has_fp16_weight",
    "llm_int8_skip_modules",
    "llm_int8_threshold",
    "load_in_4bit",
    "load_in_8bit",
)
"""All fields of BitsAndBytesConfig. It silently ignores any other, so that the typo `load_in_4_bit = true` loads a
model that is not quantized as intended."""


def check(table: TomlTable) -> Iterator[Fault]:
    """The faults between the values of one table."""
    yield from _repeated(table)
    own = _CHECKS.get(table.kind)
    if own is not None:
        yield from own(table)


def _repeated(table: TomlTable) -> Iterator[Fault]:
    for key, value in table.sound.items():
        if isinstance(value, list):
            for number, item in enumerate(value):
                if item in value[:number]:
                    yield table.fault(key, f"{shown(item)} is listed twice")
                    break


def _model(table: TomlTable) -> Iterator[Fault]:
    yield from _source(table)
    yield from _remote_code(table)
    yield from _config(table)
    for key in ("config", "recommended_generation"):
        yield from _plain(table, (key,), table.sound.get(key))


def _source(table: TomlTable) -> Iterator[Fault]:
    source = table.sound.get("source", "")
    needed = KEY_OF_SOURCE.get(source)
    if needed and needed not in table.given:
        yield table.fault(needed, f"is required, because source is '{source}'")
    elif table.sound.get("gated") and "hub_id" not in table.given:
        yield table.fault("hub_id", "is required, because gated is true")
    for owner, key in ((WeightSource.LOCAL, "path"), (WeightSource.TRAINED, "recipe")):
        if source and source != owner and key in table.sound:
            yield table.fault(key, f"has no meaning, because source is '{source}'", f"it belongs to source '{owner}'")
    if "revision" in table.sound and "hub_id" not in table.given:
        yield table.fault("revision", "has no meaning without hub_id")


def _remote_code(table: TomlTable) -> Iterator[Fault]:
    """Faults of remote code that is not pinned: a branch or a tag can move to other code after somebody has read it; a
    commit cannot."""
    if not table.sound.get("trust_remote_code") or table.sound.get("source") == WeightSource.LOCAL:
        return
    revision = table.sound.get("revision")
    if revision is None and "revision" in table.given:
        return
    if revision is None or not COMMIT.fullmatch(revision):
        what = "must be the 40 hexadecimal digits of a commit, because trust_remote_code is true"
        yield table.fault("revision", what, "a branch or a tag can be moved to other code")


def _config(table: TomlTable) -> Iterator[Fault]:
    config = table.sound.get("config")
    if config is None:
        return
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        yield table.fault(
            "config.model_type", "is required: text such as 'llama', by which transformers finds the class"
        )
    for key in table.sound.get("config_null", ()):
        if key in config:
            yield table.fault(table.place("config_null", key), f"{shown(key)} has a value in config")
    yield from _sizes(table, config)
    if "quantization_config" in config and (what := fault_of_packing(config["quantization_config"])):
        yield table.fault("config.quantization_config", what, "leave it out where the weights are in floats")
    recipe = table.sound.get("recipe")
    if recipe is not None and config.get("vocab_size") != recipe["vocabulary"]:
        what = f"must equal recipe.vocabulary, {recipe['vocabulary']}, not {shown(config.get('vocab_size', 'nothing'))}"
        yield table.fault("config.vocab_size", what)


def _sizes(table: TomlTable, config: Mapping[str, object]) -> Iterator[Fault]:
    for path, value, most in sizes_of(config, ("config",)):
        if isinstance(value, int | float | str) and not (type(value) is int and 1 <= value <= most):
            yield table.fault(key_path(*path), f"must be a whole number from 1 to {most}, not {shown(value)}")


def _plain(table: TomlTable, path: tuple[str | int, ...], value: object) -> Iterator[Fault]:
    """Faults of values that are passed on to transformers and would not survive JSON, as which evidence and checkpoints
    keep them."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _plain(table, (*path, key), item)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _plain(table, (*path, number), item)
    elif isinstance(value, float) and not isfinite(value):
        yield table.fault(key_path(*path), f"must be finite, not {shown(value)}")
    elif value is not None and not isinstance(value, str | int | float):
        yield table.fault(key_path(*path), f"must be text, a number, true or false, not {shown(value)}")


def _variant(table: TomlTable) -> Iterator[Fault]:
    yield from _name(table)
    options = table.sound.get("load_options", {})
    for key in options:
        if key in _OWN_LOAD_OPTIONS:
            yield table.fault(key_path("load_options", key), "is set by the suite itself", _OWN_LOAD_OPTIONS[key])
    yield from _plain(table, ("load_options",), options)
    yield from _settings(table, options)
    if "quantization_config" in options:
        yield from _quantization_config(table, options["quantization_config"])


def _settings(table: TomlTable, options: Mapping[str, object]) -> Iterator[Fault]:
    """Faults of settings that transformers would misread or silently drop."""
    for kind in ("config", "tokenizer"):
        for key, what in table_faults(kind, table.sound.get(kind, {})):
            yield table.fault(key_path(kind, key), what)
    if "max_memory" in options:
        try:
            read_max_memory(options["max_memory"])
        except ValueError as error:
            yield table.fault(key_path("load_options", "max_memory"), str(error))
        device_map = table.sound.get("device_map")
        if not isinstance(device_map, str) or ":" in device_map or device_map in ("cpu", "cuda"):
            what = "has no effect: the planner alone heeds it, and this device_map names places"
            if device_map is None:
                what = "has no effect: without a device_map all goes to the tier's device, and nothing is planned"
            yield table.fault(key_path("load_options", "max_memory"), what, 'set device_map = "auto"')


def _name(table: TomlTable) -> Iterator[Fault]:
    name, quantizations = table.sound.get("name"), table.sound.get("quantizations")
    if name is None or quantizations is None:
        return
    if len(quantizations) > 1:
        yield table.fault("name", f"needs one quantization, not {len(quantizations)}: ids are model/name")
    elif name in set(Quantization) and name not in quantizations:
        yield table.fault("name", f"'{name}' is a quantization, but not this variant's")


def _quantization_config(table: TomlTable, config: object) -> Iterator[Fault]:
    place = "load_options.quantization_config"
    if not isinstance(config, Mapping):
        yield table.fault(place, f"must be a table, not {shown(config)}")
        return
    for key in config:
        if key not in QUANTIZATION_FIELDS:
            what = "is not a field of BitsAndBytesConfig, which would ignore it without a word"
            yield table.fault(
                key_path("load_options", "quantization_config", key), what, did_you_mean(key, QUANTIZATION_FIELDS)
            )
    plain = [q for q in table.sound.get("quantizations", ()) if not Quantization(q).is_quantized]
    if plain:
        yield table.fault(place, f"has no meaning for {plain[0]}, which is not quantized")


def _claim(table: TomlTable) -> Iterator[Fault]:
    yield from _measured(table)
    unit = table.sound.get("unit")
    if not table.given & {"low", "high"}:
        yield table.fault("", "has neither low nor high", "a claim needs at least one bound")
    low, high = table.sound.get("low"), table.sound.get("high")
    for key, bound in (("low", low), ("high", high)):
        if bound is not None and unit in SCALE and not isfinite(to_base(bound, unit)[0]):
            yield table.fault(key, f"is too large: {shown(bound)} {unit} is infinite in {SCALE[unit][0]}")
    if low is not None and high is not None and low > high:
        yield table.fault("low", f"is {low}, which is above high, {high}")
    limited = table.sound.get("limits")
    if limited in (LimitedSide.LOW, LimitedSide.HIGH) and limited not in table.given:
        yield table.fault("limits", f"is '{limited}', which is not there", f"set {limited}, or drop limits")
    for name, value in table.sound.get("conditions", {}).items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        if not number and not isinstance(value, str):
            yield table.fault(key_path("conditions", name), f"must be text or a number, not {shown(value)}")


def _floor(table: TomlTable) -> Iterator[Fault]:
    yield from _measured(table)
    metric = table.sound.get("metric")
    if metric in METRICS and metric not in FLOORED:
        yield table.fault("metric", f"{metric} is no speed of a device", f"use {', '.join(FLOORED)}")
    low, sheet = table.sound.get("low"), table.sound.get("sheet")
    if low is not None and sheet is not None and low > sheet:
        yield table.fault("low", f"is {low}, which is above the data sheet, {sheet}")


def _measured(table: TomlTable) -> Iterator[Fault]:
    """The faults of a metric and the unit of its bounds."""
    metric, unit = table.sound.get("metric"), table.sound.get("unit")
    if metric is not None and metric not in METRICS:
        yield table.fault("metric", f"unknown metric {shown(metric)}", did_you_mean(metric, METRICS))
    if unit is not None and unit not in SCALE:
        yield table.fault("unit", f"unknown unit {shown(unit)}", did_you_mean(unit, _units_of(metric)))
    elif unit is not None and metric in METRICS and SCALE[unit][0] != METRICS[metric].unit:
        what = f"{shown(unit)} does not measure {metric}"
        yield table.fault("unit", what, f"use {' or '.join(_units_of(metric))}")


def _units_of(metric: str | None) -> list[str]:
    """The units of a metric, or of the metric that a typo most likely means; all units where it resembles none."""
    meant = METRICS.get(nearest(metric, METRICS) or "") if metric is not None else None
    return [unit for unit, (base, _) in SCALE.items() if meant is None or base == meant.unit]


def _dataset(table: TomlTable) -> Iterator[Fault]:
    if table.given.isdisjoint({"hub_id", "registration"}):
        yield table.fault("", "needs hub_id, or registration for data that is not on the Hub")
    for key in ("config", "revision"):
        if key in table.sound and "hub_id" not in table.given:
            yield table.fault(key, "has no meaning without hub_id")
    prompt, schema = table.sound.get("prompt"), table.sound.get("schema")
    if prompt is not None:
        wanted = {"question", "context"} if schema == DatasetSchema.SQUAD_V2 else {"question"}
        found = set(HOLE.findall(prompt))
        for name in sorted(wanted - found):
            yield table.fault("prompt", f"lacks {{{name}}}, where the {name} of an example goes")
        for name in sorted(found - wanted):
            yield table.fault("prompt", f"{{{name}}} has no meaning for schema {shown(schema)}")
    correct = table.sound.get("correct")
    metric = correct.get("metric") if isinstance(correct, dict) else None
    known = RULE_SCORES.get(schema or "", ())
    if metric is not None and known and metric not in known:
        what = f"is no score that every answer to schema {shown(schema)} has: {shown(metric)}"
        yield table.fault("correct.metric", what, did_you_mean(metric, known))


def _symptom(table: TomlTable) -> Iterator[Fault]:
    for key in ("cause", "next"):
        for name in holes_of(str(table.sound.get(key, ""))):
            what = f"{{{name}}} has no meaning here, where nothing says what it is"
            yield table.fault(key, what, "write it into the sign that has a hole of that name")
    for sign in table.sound.get("sign", ()):
        if isinstance(sign, Mapping):
            yield from _sign(table, table.place("sign", sign), sign)


def _sign(table: TomlTable, place: str, sign: Mapping[str, Any]) -> Iterator[Fault]:
    if not any(sign.get(key) for key in ("message", "exception", "signal", "evidence")):
        yield table.fault(place, "shows nothing", "give it a message, an exception, a signal or evidence")
    for key in ("message", "beside", "unless"):
        for index, text in enumerate(sign.get(key, ())):
            try:
                phrase(text)
            except PhraseError as error:
                yield table.fault(f"{place}.{key_path(key, index)}", str(error))
    known = {*sign.get("facts", ()), *sign.get("evidence", ())}
    holes = [set(holes_of(text)) for text in sign.get("message", ())]
    known |= set.intersection(*holes) if holes else set()
    steps = sign.get("next_in", {})
    said = {**{key: sign.get(key, "") for key in ("cause", "next")}, **{f"next_in.{key}": steps[key] for key in steps}}
    for key, text in said.items():
        for name in holes_of(text):
            if name not in known:
                what = f"{{{name}}} is no hole that all of its messages have"
                yield table.fault(f"{place}.{key}", what, did_you_mean(name, known))


_CHECKS: Final[dict[str, Callable[[TomlTable], Iterator[Fault]]]] = {
    "model": _model,
    "variant": _variant,
    "claim": _claim,
    "floor": _floor,
    "dataset": _dataset,
    "symptom": _symptom,
}
