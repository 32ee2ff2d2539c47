"""Renders the chat template of a checkpoint, and says what is wrong with one that cannot be used.

A template is a program of whoever made the checkpoint: it may not parse, may raise for a chat that it does not want,
and may leave out what it was given.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from plimsoll.host.protocol import LoadSpec
from plimsoll.host.server.failures import LoadFailed, LoadFailure

TOKENIZER_STEP: Final = "correct it, or take the tokenizer that the weights were saved with"
"""What to do about a tokenizer or a template that cannot be used."""
_TEMPLATE: Final = "<template>"
"""What jinja2 calls the file of a template that was given as text."""
_WORD: Final = "plimsoll"
"""A question that no template has in itself."""


def chat_text(spec: LoadSpec, tokenizer: Any, question: str) -> str:
    """The prompt for one question: through the chat template where there is one, else the question itself.

    Raises LoadFailed for a template that cannot be rendered.
    """
    if not tokenizer.chat_template:
        return question
    failed, text = None, ""
    try:
        text = rendered(spec, tokenizer, [{"role": "user", "content": question}], add_generation_prompt=True)
    except LoadFailed as failure:
        failed = failure
    if failed is None and _has(text, question):
        return text
    # Templates of models that see or hear, too, want parts, and leave a plain text out.
    parts = [{"role": "user", "content": [{"type": "text", "text": question}]}]
    with suppress(LoadFailed):
        of_parts = rendered(spec, tokenizer, parts, add_generation_prompt=True)
        if _has(of_parts, question) and "'type'" not in of_parts:
            return of_parts
    if failed is not None:
        raise failed
    return text


def _has(text: str, question: str) -> bool:
    return question.strip().casefold() in text.casefold()


def rendered(spec: LoadSpec, tokenizer: Any, turns: Sequence[Mapping[str, Any]], **options: Any) -> str:
    """The text of a chat by the tokenizer's template. Raises LoadFailed for a template that cannot be rendered."""
    try:
        return str(tokenizer.apply_chat_template(list(turns), tokenize=False, **options))
    except Exception as error:  # a template raises what it likes
        asked = "a question" if len(turns) == 1 else "a question and its answer"
        reason = " ".join(str(error).split()) or "no message"
        raise _refused(
            spec,
            f"its chat template cannot be rendered for {asked}, at {_place(error)}: {type(error).__name__}: "
            f"{reason:.400}",
        ) from error


def refuse_unusable_template(spec: LoadSpec, tokenizer: Any) -> None:
    """Raise LoadFailed for a chat template that cannot be rendered for a question, or whose text does not have it."""
    if not _has(chat_text(spec, tokenizer, _WORD), _WORD):
        raise _refused(spec, "its chat template leaves the question out of the text that it makes")


def _place(error: Exception) -> str:
    """The line of the template; `an unknown line` where the error has none, as for one that is no text."""
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _TEMPLATE]
    line = getattr(error, "lineno", None) or (frames[-1] if frames else None)
    return "an unknown line" if line is None else f"line {line} of its text"


def _refused(spec: LoadSpec, what: str) -> LoadFailed:
    if "chat_template" in spec.tokenizer:
        return LoadFailed(LoadFailure.OPTIONS, f"tokenizer: chat_template of the entry: {what}; correct it")
    folder = Path(spec.checkpoint)
    own = folder / "chat_template.jinja"
    named = own if own.is_file() else folder / "tokenizer_config.json"
    where = named if named.is_file() else spec.checkpoint
    return LoadFailed(LoadFailure.TOKENIZER, f"{where}: {what}; {TOKENIZER_STEP}")
