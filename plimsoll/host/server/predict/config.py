"""Makes a transformers configuration from a catalogue entry, and refuses misspelt keys.

transformers keeps a key that it does not know and builds with its default for the one that was meant: a mixture whose
entry says `num_lokal_experts` is costed with as many experts as some other model has, and nobody notices. Keys that
resemble none are left alone, for files that are published hold many that no class reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Final

import transformers

from plimsoll.errors import PlimsollError

_ALIKE: Final = 0.9
"""How much of two names must be the same for one to be a slip of the other; `pad_token` and `pad_token_id` are not."""


def configuration_of(config: Mapping[str, Any], architecture: str) -> Any:
    """The configuration with these keyword arguments, `model_type` among them.

    Raises PlimsollError where there is no model type or a key is misspelt, and what transformers raises for one that it
    does not know or values that it refuses.
    """
    arguments = dict(config)
    model_type = arguments.pop("model_type", None)
    if model_type is None:
        raise PlimsollError(f"the configuration of {architecture} has no model_type: add it")
    configuration = transformers.AutoConfig.for_model(model_type, **arguments)
    slips = [f"{key!r} (did you mean {meant!r}?)" for key, meant in misspelt(arguments, configuration)]
    if slips:
        raise PlimsollError(f"the configuration of {architecture} has keys that nothing reads: {', '.join(slips)}")
    return configuration


def misspelt(given: Mapping[str, Any], configuration: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each key that the class has no field for but nearly has, with the name of the field, in nested configurations
    too. A field that is given under its own name was not meant."""
    if not is_dataclass(configuration):
        return
    aliases = getattr(configuration, "attribute_map", {})
    # What an alias stands for is written to files, also where no field has that name.
    known = {field.name for field in fields(configuration)} | aliases.keys() | set(aliases.values())
    # Neither spelling of a field that is given was meant. And what settings of generation are called, files of every
    # kind have, whose reader takes them for those, or has them for a part.
    other = {aliases.get(key, key) for key in given} | {alias for alias, name in aliases.items() if name in given}
    meant = known - given.keys() - other
    apart = vars(transformers.GenerationConfig()).keys()  # type: ignore[no-untyped-call]
    for key, value in given.items():
        if isinstance(value, Mapping) and hasattr(configuration, key):
            yield from misspelt(value, getattr(configuration, key), f"{path}{key}.")
        elif key not in known | apart and (near := get_close_matches(key, meant, n=1, cutoff=_ALIKE)):
            yield path + key, path + near[0]


def settings_of(configuration: Any, name: str) -> tuple[Any, ...]:
    """What a configuration says under a name: once, or for each layer where layers differ in it, as the head sizes of
    Gemma 4 do; a class refuses to give these for all of them. None where it says nothing."""
    field = getattr(configuration, "attribute_map", {}).get(name, name)
    if field in (getattr(configuration, "per_layer_attributes", None) or ()):
        return tuple(getattr(layer, field, None) for layer in configuration.per_layer_config)
    return (getattr(configuration, name, None),)


def setting_of(configuration: Any, name: str) -> Any:
    """What a configuration says under a name; None where it says nothing, or layers differ in it."""
    first, *others = settings_of(configuration, name)
    return first if all(other == first for other in others) else None
