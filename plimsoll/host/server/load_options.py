"""Makes the arguments of `from_pretrained`: every one explicit, and none that would be silently ignored.

bitsandbytes' configuration takes any keyword and drops the ones it does not know; `load_in_4_bit` then loads FP4 or
nothing at all. A name that it does not know is refused here, with the nearest one that it does.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from transformers import AutoConfig, BitsAndBytesConfig, PretrainedConfig

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.settings import merged_config
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.server.configuration import fields_of, neutralise, without_use
from plimsoll.host.server.experts import FusedExpertsConfig
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.predict.config import setting_of
from plimsoll.host.server.predict.coverage import packable_experts, skeleton_of
from plimsoll.host.server.predict.obstacles import fault_of_scheme, other_scheme_fix, scheme_of

FUSED_EXPERTS: Final = "fused_experts"
"""Our own load option: `quantized`, the default, or `stock`, which leaves them as the software stack does."""
_EXPERTS_CHOICES: Final = ("quantized", "stock")
_FOUR_BIT_TYPES: Final = ("nf4", "fp4")
_QUANTIZATION_CONFIG: Final = "quantization_config"
_QUANTIZATION_FIELDS: Final = frozenset(inspect.signature(BitsAndBytesConfig).parameters) - {"kwargs"}

_FOUR_BIT: Final[Mapping[str, Any]] = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_compute_dtype": "bfloat16",
}
_SCHEMES: Final[Mapping[Quantization, Mapping[str, Any]]] = {
    Quantization.INT8: {"load_in_8bit": True},
    Quantization.NF4: {**_FOUR_BIT, "bnb_4bit_use_double_quant": False},
    Quantization.NF4_DQ: {**_FOUR_BIT, "bnb_4bit_use_double_quant": True},
}


_OF_EIGHT_BITS: Final = frozenset({"llm_int8_has_fp16_weight", "llm_int8_threshold"})
_OF_FOUR_BITS: Final = frozenset({"bnb_4bit_quant_storage", "bnb_4bit_quant_type", "bnb_4bit_use_double_quant"})
"""Fields that one scheme reads and the other takes and drops. The dtype that is computed in, which bitsandbytes has for
four bits alone, is that of the floats beside int8 here."""

_WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "low_cpu_mem_usage": "has no effect in transformers 5, which always loads so: remove it",
    "offload_state_dict": "has no effect in transformers 5: remove it",
    "_fast_init": "has no effect in transformers 5: remove it",
    "resume_download": "has no effect, for weights are fetched before they are loaded: remove it",
    "mirror": "has no effect in transformers 5: remove it",
    "from_tf": "has no effect in transformers 5, which reads no weights of TensorFlow: remove it",
    "from_flax": "has no effect in transformers 5, which reads no weights of Flax: remove it",
    "config": "is made of the checkpoint's and the variant's settings: set what differs in the variant's config",
    "rope_scaling": "is a setting of the model, and the name that it had in transformers 4: set rope_parameters in "
    "the variant's config",
    "rope_parameters": "is a setting of the model: set it in the variant's config",
    "sliding_window": "is a setting of the model: set it in the variant's config",
    "use_fast": "is a setting of the tokenizer, and no argument of a model: set it in the variant's tokenizer",
    "padding_side": "is a setting of the tokenizer, and no argument of a model: set it in the variant's tokenizer",
}
"""Options that from_pretrained drops in silence or takes for no argument, each with what to do instead."""

_TEXT_OR_TABLE: Final = (str, Mapping)
_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "adapter_kwargs": Mapping,
    "adapter_name": str,
    "attn_implementation": _TEXT_OR_TABLE,
    "cache_dir": str,
    "device_map": _TEXT_OR_TABLE,
    "disable_mmap": bool,
    "dtype": _TEXT_OR_TABLE,
    "experts_implementation": _TEXT_OR_TABLE,
    "force_download": bool,
    "gguf_file": str,
    "key_mapping": Mapping,
    "local_files_only": bool,
    "max_memory": Mapping,
    "offload_buffers": bool,
    "offload_folder": str,
    "proxies": Mapping,
    "revision": str,
    "subfolder": str,
    "token": (str, bool),
    "torch_dtype": _TEXT_OR_TABLE,
    "tp_plan": _TEXT_OR_TABLE,
    "tp_size": int,
    "trust_remote_code": bool,
    "use_kernels": bool,
    "use_safetensors": bool,
    "variant": str,
    "weights_only": bool,
    _QUANTIZATION_CONFIG: Mapping,
}
"""Arguments of from_pretrained that an entry can give, with the types that they have. Some values of another type raise
far away from here, and others are never looked at."""
_IN_WORDS: Final[Mapping[type, str]] = {str: "text", bool: "true or false", int: "a whole number", Mapping: "a table"}
_UNKNOWN_ARGUMENT: Final = re.compile(r"got (?:an unexpected keyword argument|multiple values for argument) '(.*?)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What the loader must know of a checkpoint's configuration before it reads a weight."""

    model_class: type[Any]
    """The class that the configuration leads to."""
    has_fused_experts: bool
    is_packed: bool
    """True for a checkpoint that was saved quantized, whose own scheme is then the only one that can load it."""
    config: Any = None
    """The configuration where it is another than transformers would read: the entry has settings of its own, or
    config.json says which outputs the model was used for; None where the checkpoint's own is taken."""


def read_architecture(spec: LoadSpec) -> Architecture:
    """Read the configuration (over the network for a Hub id that is not on this disk) and build it on the meta device.

    Raises what transformers raises for a configuration that is missing, damaged or unknown to it.
    """
    config = configured(spec)
    _refuse_other_scheme(spec, config)
    model = skeleton_of(config, spec.auto_class, spec.dtype, trust_remote_code=spec.trust_remote_code)
    _refuse_unknown_modules(spec, model)
    return Architecture(
        model_class=type(model),
        has_fused_experts=bool(packable_experts(model)),
        is_packed=getattr(config, _QUANTIZATION_CONFIG, None) is not None,
        config=config if not spec.is_synthetic and (spec.config or _says_its_use(spec)) else None,
    )


def _says_its_use(spec: LoadSpec) -> bool:
    """True where config.json names outputs beside the logits: from_pretrained refuses those that do not go with the
    attention that it is asked for."""
    raw, _ = PretrainedConfig.get_config_dict(spec.checkpoint, revision=spec.revision)
    return without_use(raw) != raw


def configured(spec: LoadSpec) -> Any:
    """The configuration of a load, the variant's settings over the checkpoint's.

    Raises LoadFailed for a setting that its class does not take, or takes and drops.
    """
    if spec.synthetic_config is not None:
        # The settings are in it already, but for what its class makes of them.
        return _heeded(spec, AutoConfig.for_model(**spec.synthetic_config))
    config = read_configuration(spec)
    if not spec.config:
        return config
    try:
        changed = type(config).from_dict(merged_config(config.to_dict(), spec.config))
    except Exception as error:  # the checks of a configuration's class raise what they like
        reason = str(error).strip().splitlines()[-1].strip()
        raise _refused(f"{type(config).__name__} does not take {_listed(spec.config)}: {reason}", "config") from error
    # How it was named stays with it: transformers looks there for code and for files beside the weights.
    changed._name_or_path = config._name_or_path  # noqa: SLF001
    return _heeded(spec, changed)


def read_configuration(spec: LoadSpec) -> Any:
    """The configuration of a checkpoint, read as a load reads it: the load sets the dtype and the attention, and each
    pass asks for the outputs that it needs; what config.json says of them must not decide whether it can be read, built
    or loaded. Attention is the class's own here, for no shape depends on it.
    """
    config = AutoConfig.from_pretrained(
        spec.checkpoint,
        revision=spec.revision,
        trust_remote_code=spec.trust_remote_code,
        dtype=spec.dtype,
        attn_implementation=None,
        output_attentions=False,
    )
    # The setter reaches the configurations inside of it, which say their own.
    config._attn_implementation = None  # noqa: SLF001  transformers has no public one
    neutralise(config)
    return config


def _heeded(spec: LoadSpec, config: Any) -> Any:
    """The configuration, after checking that it has every setting. Raises LoadFailed for one that it lacks."""
    text = config.get_text_config()
    for name, asked in spec.config.items():
        if name not in fields_of(type(text)):
            raise _refused(
                f"{name} has no effect: {type(text).__name__} has no such field, and its model would never read it",
                "config",
            )
        found = setting_of(text, name)
        if isinstance(asked, Mapping) and isinstance(found, Mapping):
            dropped = [f"{key} = {value!r}" for key, value in asked.items() if found.get(key) != value]
        else:
            dropped = [] if found == asked else [f"{name} = {asked!r}"]
        if dropped:
            raise _refused(
                f"{', '.join(dropped)} has no effect: {type(text).__name__} makes {found!r} of {name}", "config"
            )
    return config


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in settings.items())


def pretrained_arguments(spec: LoadSpec, architecture: Architecture) -> dict[str, Any]:
    """The keyword arguments of `from_pretrained`, the entry's own load options last.

    Raises LoadFailed for an option that transformers or bitsandbytes would ignore.
    """
    options = dict(spec.load_options)
    _refuse_other_types(options)
    experts = options.pop(FUSED_EXPERTS, "quantized")
    overrides = options.pop(_QUANTIZATION_CONFIG, {})
    _refuse(spec, options, experts)
    arguments: dict[str, Any] = {
        "revision": spec.revision,
        "dtype": spec.dtype,
        "device_map": _device_map(spec),
        "attn_implementation": spec.attention,
        "trust_remote_code": spec.trust_remote_code,
        # None lets transformers fall back to a pickle checkpoint; True refuses one.
        "use_safetensors": None if spec.allow_pickle else True,
        "ignore_mismatched_sizes": False,
        "output_loading_info": True,
    }
    fields = quantization_fields(spec.quantization, overrides)
    if FUSED_EXPERTS in spec.load_options and not (fields and architecture.has_fused_experts):
        what = f"{spec.quantization} packs no weight" if not fields else "its class has no fused experts to pack"
        raise _refused(f"{FUSED_EXPERTS} has no effect: {what}; remove it")
    if fields:
        ours = architecture.has_fused_experts and experts == "quantized" and not architecture.is_packed
        arguments[_QUANTIZATION_CONFIG] = _packing(
            FusedExpertsConfig if ours else BitsAndBytesConfig, fields, overrides
        )
    if isinstance(options.get("max_memory"), Mapping):
        # Keys of a table are text in TOML, and a GPU is a number to accelerate.
        options["max_memory"] = {int(k) if str(k).isdigit() else k: v for k, v in options["max_memory"].items()}
    if architecture.config is not None:
        arguments["config"] = architecture.config
    return arguments | options


def _refuse_unknown_modules(spec: LoadSpec, model: Any) -> None:
    """Raise LoadFailed for a place of what the model does not have: any name is taken, and nothing put there."""
    if spec.device_map is None or isinstance(spec.device_map, str):
        return
    # A tied head has a name of its own, though its weight is an embedding's.
    kinds = (model.named_modules, model.named_parameters, model.named_buffers)
    known = {name for each in kinds for name, _ in each(remove_duplicate=False)}
    for name in spec.device_map:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise _refused(
                f"{type(model).__name__} has no part {name!r}, so its place has no effect{hint}", "device_map"
            )


def _refuse_other_scheme(spec: LoadSpec, config: Any) -> None:
    """Raise LoadFailed for a checkpoint that was saved packed in another scheme than the one asked for: its own wins
    over whatever is asked, without a word."""
    own = getattr(config, _QUANTIZATION_CONFIG, None)
    if own is None:
        return
    if fault := fault_of_scheme(own):
        raise LoadFailed(
            LoadFailure.DAMAGED,
            f"{spec.checkpoint}: {_QUANTIZATION_CONFIG} in its config.json {fault}; correct it, or leave it out where "
            "the weights are in floats",
        )
    scheme = scheme_of(own if isinstance(own, Mapping) else own.to_dict())
    if scheme != spec.quantization.value:
        raise LoadFailed(
            LoadFailure.REFUSED,
            f"{spec.checkpoint}: is packed already, as {scheme}, and its own scheme wins over {spec.quantization}; "
            f"{other_scheme_fix(scheme)}",
        )


def quantization_fields(quantization: Quantization, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of bitsandbytes' configuration, an entry's overrides replacing ours; empty where nothing is packed.

    Raises LoadFailed for a field that bitsandbytes does not have, and for overrides of a scheme that packs nothing.
    """
    if overrides and not quantization.is_quantized:
        raise _refused(f"{_QUANTIZATION_CONFIG} means nothing for {quantization}, which packs no weight: remove it")
    for name in overrides:
        if name not in _QUANTIZATION_FIELDS:
            near = difflib.get_close_matches(name, sorted(_QUANTIZATION_FIELDS), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(_QUANTIZATION_FIELDS))}"
            raise _refused(f"{_QUANTIZATION_CONFIG} has no field {name!r}, and bitsandbytes would ignore it; {hint}")
    dropped = sorted(overrides.keys() & (_OF_FOUR_BITS if quantization is Quantization.INT8 else _OF_EIGHT_BITS))
    if dropped:
        raise _refused(f"{_QUANTIZATION_CONFIG}: {', '.join(dropped)} has no effect on {quantization}; remove it")
    return {**_SCHEMES.get(quantization, {}), **overrides}


def _packing(kind: type[Any], fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> Any:
    """bitsandbytes' configuration. Raises LoadFailed, with the field at fault, for a value that it does not take."""
    skipped = overrides.get("llm_int8_skip_modules", ())
    if not isinstance(skipped, list | tuple) or not all(isinstance(name, str) for name in skipped):
        raise _refused(f"{_QUANTIZATION_CONFIG}: llm_int8_skip_modules must be a list of names of modules")
    scheme = overrides.get("bnb_4bit_quant_type", "nf4")
    if scheme not in _FOUR_BIT_TYPES:
        raise _refused(
            f"{_QUANTIZATION_CONFIG}: bnb_4bit_quant_type must be one of {', '.join(_FOUR_BIT_TYPES)}, not {scheme!r}"
        )
    try:
        return kind(**fields)
    except Exception as error:  # its checks raise what they like, and torch what it likes of a dtype
        given = _listed({name: value for name, value in overrides.items() if name in str(error)} or overrides)
        raise _refused(f"{_QUANTIZATION_CONFIG} does not take {given}: {error}") from error


def _refuse_other_types(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        kinds = _KINDS.get(name, object)
        # To Python a truth value is a whole number, too.
        if not isinstance(value, kinds) or (kinds is int and isinstance(value, bool)):
            wanted = " or ".join(_IN_WORDS[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
            told = "a number" if name == "token" else f"{value!r:.80}"
            raise _refused(f"{name} must be {wanted}, not {told}")


def fault_of_an_option(error: Exception, spec: LoadSpec) -> LoadFailed | None:
    """The failure of a load that its entry's own options may explain; None for an entry without any.

    An argument that from_pretrained does not know goes on to the class of the model, whose error names neither.
    """
    if not spec.load_options:
        return None
    unknown = _UNKNOWN_ARGUMENT.search(str(error)) if isinstance(error, TypeError) else None
    if unknown is not None and unknown[1] in spec.load_options:
        near = difflib.get_close_matches(unknown[1].replace("-", "_"), sorted(_KINDS), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "correct or remove it"
        return _refused(
            f"{unknown[1]!r} is no argument of from_pretrained, and no setting that {spec.architecture} has; {hint}"
        )
    # What is told goes to reports, and a token to nobody.
    told = {name: value for name, value in spec.load_options.items() if name != "token"}
    reason = " ".join(str(error).split())
    return (
        _refused(f"the load failed with {_listed(told):.400}: {type(error).__name__}: {reason:.400}") if told else None
    )


def _refuse(spec: LoadSpec, options: Mapping[str, Any], experts: Any) -> None:
    for name in ("load_in_4bit", "load_in_8bit"):
        if name in options:
            raise _refused(
                f"{name} is no argument of from_pretrained in transformers 5; choose the variant's quantization "
                f"(this one's is {spec.quantization}), or set fields under {_QUANTIZATION_CONFIG}"
            )
    for name, instead in _WITHOUT_EFFECT.items():
        if name in options:
            raise _refused(f"{name} {instead}")
    for name in ("ignore_mismatched_sizes", "state_dict", "output_loading_info"):
        if name in options:
            raise _refused(f"{name} cannot be set: a load must not end with weights that the checkpoint does not have")
    if experts not in _EXPERTS_CHOICES:
        raise _refused(f"{FUSED_EXPERTS} must be one of {', '.join(_EXPERTS_CHOICES)}, not {experts!r}")


def _device_map(spec: LoadSpec) -> Any:
    if spec.device_map is None:
        return {"": spec.device}
    return spec.device_map if isinstance(spec.device_map, str) else dict(spec.device_map)


def _refused(message: str, table: str = "load_options") -> LoadFailed:
    return LoadFailed(LoadFailure.OPTIONS, f"{table}: {message}")
