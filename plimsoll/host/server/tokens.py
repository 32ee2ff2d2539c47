"""Loads the tokenizer of a checkpoint, and holds its tokens and the settings of generation against the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import transformers

from plimsoll.catalogue.entries import Generation
from plimsoll.gate.need import tokenizer_packages
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.server.chat import TOKENIZER_STEP, chat_text, refuse_unusable_template
from plimsoll.host.server.effective import refuse_unheeded
from plimsoll.host.server.failures import LoadFailed, LoadFailure
from plimsoll.host.server.load_options import read_configuration
from plimsoll.hub.pointers import first_stand_in
from plimsoll.hub.settings_files import first_fault

_TOKENIZER_FILES: Final = (
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "tokenizer.model",
    "chat_template.jinja",
)
_NO_SOURCE: Final = "Couldn't instantiate the backend tokenizer"
"""How transformers begins where a folder has nothing to make a tokenizer of. What it could be is in the next lines."""


def _fault_of_the_tokenizer(folder: Path) -> str | None:
    """The first of its files that cannot be read; others than the usual ones are at least no pointers."""
    others = sorted(path for path in folder.glob("*") if path.suffix not in (".safetensors", ".bin"))
    return first_fault(folder / name for name in _TOKENIZER_FILES) or first_stand_in(others)


def load_tokenizer(spec: LoadSpec) -> Any:
    """The tokenizer of a checkpoint. Raises LoadFailed where there is none to be used, where a setting of the entry has
    no effect on it, and for a chat template that cannot be used."""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            spec.checkpoint,
            # It would read config.json for the kind of model, and fail for what the load overrides there.
            config=read_configuration(spec),
            revision=spec.revision,
            trust_remote_code=spec.trust_remote_code,
            **spec.tokenizer,
        )
    except Exception as error:
        missing = [name for name in tokenizer_packages(Path(spec.checkpoint)) if find_spec(name) is None]
        if missing:
            raise LoadFailed(
                LoadFailure.TOKENIZER,
                f"{spec.checkpoint}: its tokenizer is a {missing[0]} model alone; pip install {missing[0]}",
            ) from error
        raise _no_tokenizer(spec, error) from error
    refuse_unheeded(spec, tokenizer)
    refuse_unusable_template(spec, tokenizer)
    return tokenizer


def _no_tokenizer(spec: LoadSpec, error: Exception) -> LoadFailed:
    """The failure of a tokenizer, with the file that is at fault where one cannot be read, and the next step."""
    reason = str(error).strip().partition("\n")[0]
    if reason.startswith(_NO_SOURCE):  # what follows is how transformers would make one, and no list of files
        reason = f"no file of its vocabulary is there, or none that a tokenizer can be made of ({_NO_SOURCE})"
    if not isinstance(error, OSError | ValueError):  # such as a key alone, which says nothing without its kind
        reason = f"{type(error).__name__}: {reason}"
    reason = _fault_of_the_tokenizer(Path(spec.checkpoint)) or f"{reason}; {TOKENIZER_STEP}"
    return LoadFailed(LoadFailure.TOKENIZER, f"{spec.checkpoint}: no usable tokenizer: {reason}")


def refuse_unknown_tokens(spec: LoadSpec, model: Any, tokenizer: Any) -> None:
    """Raise LoadFailed where a prompt has tokens that the embedding has no row for: it was never enlarged for what was
    added to the tokenizer. On a GPU the first such token ends the process."""
    embedding = model.get_input_embeddings()
    rows = getattr(embedding, "num_embeddings", None)
    if rows is None:
        return
    pad = spec.tokenizer.get("pad_token")
    if pad is not None and tokenizer.convert_tokens_to_ids(pad) >= rows:
        raise LoadFailed(
            LoadFailure.OPTIONS,
            f"tokenizer: pad_token = {pad!r} is no token of {spec.checkpoint}: it would be added, and the embedding "
            "has no row for it; name one that is there",
        )
    text = chat_text(spec, tokenizer, "?")
    try:
        ids = tokenizer(text, add_special_tokens=not tokenizer.chat_template)["input_ids"]
    except Exception as error:
        raise _no_tokenizer(spec, error) from error
    beyond = sorted({token for token in ids if token >= rows})
    if beyond:
        names = ", ".join(f"{tokenizer.convert_ids_to_tokens(token)!r} ({token})" for token in beyond[:4])
        raise LoadFailed(
            LoadFailure.TOKENIZER,
            f"{spec.checkpoint}: each prompt has {names}, and the embedding has {rows:,} rows: it was not enlarged for "
            "tokens that were added; use the tokenizer that the weights were saved with",
        )


def refuse_unusable_ends(spec: LoadSpec, model: Any) -> None:
    """Raise LoadFailed for an end token that is no token: generating raises for it, or never ends.

    The default of the class counts for its usual vocabulary: who saves a model with a smaller one, and says nothing of
    ends, saves it along.
    """
    ends = model.generation_config.eos_token_id
    found = list(ends) if isinstance(ends, list | tuple) else [] if ends is None else [ends]
    rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    if not all(type(end) is int and end >= 0 for end in found):
        why = "where the number of a token belongs, or a list of such numbers"
    elif rows and min(found, default=0) >= rows and not _usual_ends(model).issuperset(found):
        why = f"and the embedding has {rows:,} rows, so that no answer would ever end"
    else:
        return
    where = _naming_ends(spec) or spec.checkpoint
    raise LoadFailed(LoadFailure.DAMAGED, f"{where}: eos_token_id is {ends!r:.80}, {why}; take that of the tokenizer")


def _usual_ends(model: Any) -> frozenset[Any]:
    """The end tokens that the class of a configuration has by itself; none for one that cannot be made without
    values."""
    try:
        usual = getattr(type(model.config.get_text_config())(), "eos_token_id", None)
    except Exception:  # noqa: BLE001  a class, of remote code too, says as it likes that it wants values
        return frozenset()
    return frozenset(usual if isinstance(usual, list | tuple) else [usual])


def _naming_ends(spec: LoadSpec) -> Path | None:
    """The file of a folder that names the end tokens; None where none does."""
    return _naming(spec, "eos_token_id", ("generation_config.json", "config.json"))


def _naming(spec: LoadSpec, key: str, names: Sequence[str]) -> Path | None:
    """The first of some files of a folder that has a key; None where none does."""
    files = [Path(spec.checkpoint, name) for name in names]
    return next((file for file in files if file.is_file() and f'"{key}"' in file.read_text("utf-8")), None)


def naming_token(spec: LoadSpec, role: str) -> Path | None:
    """The file of a folder that names a special token of its tokenizer, `eos_token`; None where none does."""
    return _naming(spec, role, ("tokenizer_config.json", "special_tokens_map.json"))


def deciding_ends(spec: LoadSpec) -> str:
    """The key that decides where generation ends, and its file: the tokenizer's where the model's settings say
    nothing."""
    file = _naming_ends(spec)
    return _of_tokenizer(spec) if file is None else f"eos_token_id in {file.name}"


def deciding_padding(spec: LoadSpec) -> str:
    """The key that decides what pads, and its file: the entry's, else the end token of the tokenizer."""
    return _of_tokenizer(spec) if _generation(spec).pad_token is None else "pad_token of the entry"


def _of_tokenizer(spec: LoadSpec) -> str:
    return f"eos_token in {(naming_token(spec, 'eos_token') or Path('tokenizer_config.json')).name}"


def _refuse_beyond(spec: LoadSpec, model: Any, tokenizer: Any, used: Iterable[int | None]) -> None:
    """Raise LoadFailed for a special token of the tokenizer that the embedding has no row for, where it is used to pad
    or to end: padding would end each batch in an IndexError, and no answer could end at it. One that each prompt has,
    as a begin token, is seen there."""
    rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    beyond = next((token for token in used if rows and token is not None and token >= rows), None)
    if beyond is None:
        return
    role = "eos_token" if tokenizer.eos_token_id == beyond else "pad_token"
    token = tokenizer.convert_ids_to_tokens(beyond)
    raise LoadFailed(
        LoadFailure.TOKENIZER,
        f"{naming_token(spec, role) or spec.checkpoint}: {role} is {token!r} ({beyond}), and the embedding has "
        f"{rows:,} rows: it was not enlarged for tokens that were added; use the tokenizer that the weights were saved "
        "with",
    )


def generation_config(spec: LoadSpec, model: Any, tokenizer: Any) -> transformers.GenerationConfig:
    """The catalogue's generation settings, explicit to the last: of the checkpoint's own only the ids of the end tokens
    are kept, which are facts about the model and may be several. Without a tokenizer the configuration's ids are taken.
    Raises LoadFailed for an unknown padding token, and for end tokens that are none."""
    refuse_unusable_ends(spec, model)
    generation = _generation(spec)
    theirs = model.generation_config
    ends = theirs.eos_token_id
    if ends is None and tokenizer is not None:
        ends = tokenizer.eos_token_id
    ends = [ends] if isinstance(ends, int) else list(ends or ())
    pad = theirs.pad_token_id if tokenizer is None else _padding(tokenizer, generation)
    if tokenizer is not None:
        # A padding token that the entry's own settings name is refused as theirs.
        padding = () if "pad_token" in spec.tokenizer else (pad,)
        _refuse_beyond(spec, model, tokenizer, (*padding, *(ends if theirs.eos_token_id is None else ())))
    # top_k would otherwise be 50, a default of transformers that no entry asked for.
    sampling = {"temperature": generation.temperature, "top_p": generation.top_p, "top_k": 0}
    return transformers.GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=generation.max_new_tokens,
        do_sample=generation.do_sample,
        bos_token_id=theirs.bos_token_id if tokenizer is None else tokenizer.bos_token_id,
        eos_token_id=ends or None,
        pad_token_id=pad if pad is not None else (ends[0] if ends else None),
        **(sampling if generation.do_sample else {}),
    )


def _padding(tokenizer: Any, generation: Generation) -> int | None:
    if generation.pad_token is None:
        found: int | None = tokenizer.eos_token_id
        return found
    pad: int | None = tokenizer.get_vocab().get(generation.pad_token)
    if pad is None:
        raise LoadFailed(
            LoadFailure.OPTIONS, f"generation: the tokenizer has no token {generation.pad_token!r} to pad with"
        )
    return pad


def _generation(spec: LoadSpec) -> Generation:
    """The entry's settings of generation; a padding token of the tokenizer's settings comes before theirs."""
    pad = spec.tokenizer.get("pad_token")
    return spec.generation if pad is None else replace(spec.generation, pad_token=pad)
