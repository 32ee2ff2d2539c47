"""Facts of a model: values with their words, or the reason why one is not known; among them those that its files tell.

Nothing in here guesses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from plimsoll.inspection.finding import FoundModel, NameKind
from plimsoll.inspection.model import UNKNOWN, advice, licence
from plimsoll.units import counted, format_bytes

_HARDWARE: Final = re.compile(
    r"\b(GPUs?|CUDA|NVIDIA|ROCm|AMD|A100|A6000|H100|H200|V100|flash[ -]attention|VRAM)\b", re.IGNORECASE
)
_QUOTED: Final = 3
"""Lines of a card that are quoted on hardware."""
_LONGEST: Final = 200
"""Characters of each."""
SAYS_NOTHING: Final = "the configuration does not say"
"""Why a fact of the configuration is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of an inspection."""

    key: str
    """Its name in JSON."""
    label: str
    value: Any
    """JSON data in base units; None where it is not known."""
    text: str
    """The value for people; where it is not known, why."""
    known: bool = True

    @property
    def words(self) -> str:
        """What stands beside the label."""
        if self.known:
            return self.text
        return f"unknown: {self.text}" if self.text else "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """Facts that belong together."""

    key: str
    title: str
    facts: Sequence[Fact]


def fact(key: str, label: str, value: Any, text: str | None = None) -> Fact:
    """A fact that is known. Its text is the value itself where none is given."""
    return Fact(key=key, label=label, value=value, text=str(value) if text is None else text)


def unknown(key: str, label: str, why: str = "") -> Fact:
    """A fact that is not known, with the reason."""
    return Fact(key=key, label=label, value=None, text=why, known=False)


def count(key: str, label: str, value: int | None, why: str, beside: str = "") -> Fact:
    """A whole number with what stands beside it, or the reason why it is not known."""
    return unknown(key, label, why) if value is None else fact(key, label, value, f"{value:,}{beside}")


def size(key: str, label: str, value: int | None, why: str, beside: str = "") -> Fact:
    """Bytes, or the reason why they are not known."""
    return unknown(key, label, why) if value is None else fact(key, label, value, f"{format_bytes(value)}{beside}")


def source_facts(found: FoundModel) -> Iterator[Fact]:
    """Where the model comes from, under which licence, and which files there are."""
    kinds = {
        NameKind.HUB: "a repository of the Hub",
        NameKind.FOLDER: "a folder",
        NameKind.CONFIG: "a configuration alone",
        NameKind.ENTRY: "an entry of the catalogue",
    }
    yield fact("kind", "found as", found.kind.value, f"{found.name}, {kinds[found.kind]}")
    repository, entry = found.repository, found.entry
    card = entry.card if entry is not None else None
    commit = entry.revision if entry is not None else None
    if repository is not None:
        card = f"{repository.access.endpoint}/{repository.access.repository}"
        commit = repository.access.commit
        offline = repository.access.answer.value == "cached"
        yield fact("cached", "read from", offline, "the cache of the Hub" if offline else repository.access.endpoint)
        yield fact("gated", "gated", repository.gated, "yes" if repository.gated else "no")
    yield fact("card", "model card", card) if card else unknown("card", "model card", "not from the Hub")
    yield fact("revision", "revision", commit) if commit else unknown("revision", "revision", "not from the Hub")
    told = licence(found)
    yield unknown("licence", "licence", "no card says") if told == UNKNOWN else fact("licence", "licence", told)
    base = None if repository is None else repository.card.get("base_model")
    if base:
        yield fact("base_model", "made from", base, ", ".join(map(str, base)) if isinstance(base, list) else str(base))
    yield from _files(found)


def _files(found: FoundModel) -> Iterator[Fact]:
    contents = found.contents
    if contents is None:
        yield unknown("extra_files", "files beside weights", "there is no folder and no repository")
        return
    others = [name for name in contents.files if name not in contents.weights and not name.startswith(".")]
    shown = [PurePosixPath(name).name for name in others[:12]]
    more = f", and {len(others) - 12} more" if len(others) > 12 else ""
    yield fact("extra_files", "files beside weights", others, ", ".join(shown) + more or "none")
    if not contents.weights:
        yield unknown("weight_files", "files of weights", "there are none in safetensors")
        return
    sizes = sum(contents.files[name] for name in contents.weights)
    value = {"files": len(contents.weights), "bytes": sizes}
    yield fact(
        "weight_files", "files of weights", value, f"{counted(len(contents.weights), 'file')}, {format_bytes(sizes)}"
    )
    if contents.unread:
        yield unknown("unread", "not read", "; ".join(contents.unread))


def use_facts(found: FoundModel) -> Iterator[Fact]:
    """How its makers use it: settings, end of texts, chat template, special tokens, hardware."""
    told = advice(found)
    if told:
        text = ", ".join(f"{key} {value}" for key, value in told.items())
        yield fact("recommended", "recommended settings", told, text)
    elif found.entry is not None:
        yield unknown("recommended", "recommended settings", "the entry keeps none")
    elif found.contents is not None and "generation_config.json" in found.contents.texts:
        yield fact("recommended", "recommended settings", {}, "generation_config.json has none")
    else:
        yield unknown("recommended", "recommended settings", "there is no generation_config.json")
    yield _ends(found)
    yield _template(found)
    yield _special_tokens(found)
    yield _hardware(found)


def _ends(found: FoundModel) -> Fact:
    values = (found.settings("generation_config.json").get("eos_token_id"), found.config.get("eos_token_id"))
    value = next((one for one in values if one is not None), None)
    return (
        unknown("end_tokens", "ends at", SAYS_NOTHING)
        if value is None
        else fact("end_tokens", "ends at", value, f"token {value}")
    )


def _template(found: FoundModel) -> Fact:
    key, label = "chat_template", "chat template"
    if found.contents is None:
        return unknown(key, label, "there is no folder and no repository")
    files = [name for name in ("chat_template.jinja", "chat_template.json") if name in found.contents.texts]
    inside = found.settings("tokenizer_config.json").get("chat_template")
    where = files[0] if files else "tokenizer_config.json" if inside else ""
    return fact(key, label, where or False, f"yes, in {where}" if where else "none: a base model, or asked without one")


def _special_tokens(found: FoundModel) -> Fact:
    key, label = "special_tokens", "special tokens"
    settings = {**found.settings("special_tokens_map.json"), **found.settings("tokenizer_config.json")}
    tokens = {name: _token(settings[name]) for name in sorted(settings) if name.endswith("_token")}
    told = {name: text for name, text in tokens.items() if text is not None}
    if not told:
        why = "no tokenizer_config.json" if not settings else "tokenizer_config.json names none"
        return unknown(key, label, why)
    return fact(key, label, told, ", ".join(f"{name.removesuffix('_token')} {text}" for name, text in told.items()))


def _token(value: object) -> str | None:
    text = value.get("content") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) else None


def _hardware(found: FoundModel) -> Fact:
    key, label = "hardware", "hardware that its card assumes"
    if found.entry is not None and found.entry.hardware:
        return fact(key, label, [found.entry.hardware], found.entry.hardware)
    if found.repository is not None:
        return unknown(key, label, "the card's text is not read; look there")
    quoted = _quoted(found)
    if quoted:
        return fact(key, label, quoted, " / ".join(quoted))
    return unknown(key, label, "no card says")


def _quoted(found: FoundModel) -> list[str]:
    """The lines of a folder's card that speak of hardware."""
    if found.folder is None:
        return []
    try:
        text = (found.folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    lines = [line.strip(" *-#") for line in text.splitlines() if _HARDWARE.search(line)]
    return [line[:_LONGEST] for line in lines if line][:_QUOTED]
