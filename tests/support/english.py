"""A small checkpoint that reads plain English and answers general questions, made from a trained one in seconds: what
stands in for a real model where none can be fetched. It is taught the very texts that are asked, so it shows how damage
is found, and nothing of what sound models reach."""

from __future__ import annotations

import hashlib
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from plimsoll.catalogue.meaning import read_plain
from tests.support.made_once import made_once

_STEPS = 160
_IGNORED = -100
_LIBRARIES = ("torch", "transformers")


def english_in(folder: Path, source: Path) -> Path:
    """Such a checkpoint in a folder where it stays for later sessions of tests: teaching takes the longest of all."""
    # A trained checkpoint's folder is named by its recipe, which is what it depends on.
    taught = (source.name, repr(read_plain()), Path(__file__).read_text(), *map(metadata.version, _LIBRARIES))
    digest = hashlib.sha256("\0".join(taught).encode()).hexdigest()[:16]
    return made_once(folder / f"english-{digest}", lambda target: teach_english(source, target))


def teach_english(source: Path, target: Path) -> Path:
    """A copy of a trained checkpoint, in one file, that was taught the shipped texts and questions."""
    torch.manual_seed(0)
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    auto_class: Any = AutoModelForCausalLM
    model = auto_class.from_pretrained(source, dtype=torch.float32)
    rows = _rows(tokenizer)
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in rows])
    labels = torch.tensor([wanted + [_IGNORED] * (width - len(wanted)) for _, wanted in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row, _ in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(_STEPS):
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    reached = float(loss.detach())
    assert reached < 0.5, f"it was not learnt: a loss of {reached:.2f}"
    shutil.rmtree(target, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(target, max_shard_size="400KB")
    tokenizer.save_pretrained(target)
    return target


def _rows(tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels: the texts in pieces as they stand, and chats of which the answer counts."""
    plain = read_plain()
    rows = []
    for passage in plain.passages:
        ids = tokenizer(passage.text, add_special_tokens=False)["input_ids"]
        with_begin = tokenizer(passage.text)["input_ids"]
        rows += [(ids, ids)] + ([(with_begin, with_begin)] if with_begin != ids else [])
    pairs = [(each.question, f"It is {each.answers[0]}.") for each in plain.questions]
    pairs += [(each.request, each.text) for each in plain.passages]
    for question, answer in pairs:
        turn = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        said = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        rows.append(([*asked, *said], [_IGNORED] * len(asked) + said))
    return rows
