"""Is it the model that the entry names, and does it read, answer and stop as a sound model does?

A model that the suite taught is asked what it was taught (test_generation.py). Every other model with real weights
reads plain English that ships with the suite, and answers a few questions that everybody can answer.
"""

from __future__ import annotations

import json

import pytest

from fixtures.judging import Judge
from fixtures.loaded import LoadedVariant
from fixtures.prompts import Prompts, all_answers, speaks
from plimsoll.catalogue.meaning import read_plain
from plimsoll.host.protocol import CompareConfig, ReadText, TellManners
from plimsoll.judge import own_limits
from plimsoll.judge.generation import has_answer
from plimsoll.judge.load import changes_the_model, in_words, is_other_model

pytestmark = pytest.mark.generation


@pytest.mark.only("files")
def test_is_the_entrys_model(loaded: LoadedVariant, judge: Judge) -> None:
    """The checkpoint's config.json says of the model what the entry says; what the entry leaves out is noted.

    Limit: No key that changes what the model computes may differ (docs/limits.md, Meaning).
    Fails when: such a key has another value in config.json, or is missing there.
    Do: The failure names key and values. Correct the entry, or take the checkpoint that the entry is about.
    Symptoms: wrong-shape
    """
    spec = loaded.spec()
    request = CompareConfig(
        checkpoint=spec.checkpoint, revision=spec.revision, config_json=json.dumps(loaded.variant.model.config)
    )
    found = loaded.ask_once(request)
    left = [difference for difference in found if changes_the_model(difference) and not difference.stated]
    if left:
        judge.note("keys_left_to_checkpoint", len(left), keys=in_words(left))
    wrong = [difference for difference in found if is_other_model(difference)]
    assert not wrong, f"another model than the entry's: {in_words(wrong)}"


@pytest.mark.only("text")
def test_turns_end_where_generation_ends(loaded: LoadedVariant) -> None:
    """Generation ends at the token that the chat template writes after an answer.

    Limit: The token must be among eos_token_id. Of a base model it is not asked for (docs/limits.md, Meaning).
    Fails when: generation ends at other tokens alone, so that an answer never ends.
    Do: Mend the key of the checkpoint's file that the failure names (generation_config.json, where there is one): add
    the token.
    Symptoms: tokenizer-mismatch
    """
    told = loaded.ask_once(TellManners())
    assert told.turn_end_ends is not False or not speaks(loaded), (
        f"the chat template ends an answer with {told.turn_end!r}, and generation ends at "
        f"{', '.join(told.eos_tokens)}: mend {told.ends_by}"
    )


@pytest.mark.only("untaught")
@pytest.mark.measures("nll_per_byte")
def test_reads_plain_english(loaded: LoadedVariant, judge: Judge) -> None:
    """A plain English text is as likely as sound models find it, and the tokenizer gives it back as it was.

    Limit: One limit for any model; where the entry has `nll_per_byte`, also within a few parts in a hundred of it
    (docs/limits.md, Meaning).
    Fails when: the text is less likely than that, or the tokenizer changes it.
    Do: A text that comes back changed is a wrong tokenizer. Far over the limit: wrong or damaged weights, so compare
    their digests with the repository's. Slightly over the entry's own figure: other weights than those it was
    measured on.
    Symptoms: tokenizer-mismatch, corrupt-file, not-packed
    """
    readings = loaded.ask_once(ReadText(texts=tuple(passage.text for passage in read_plain().passages)))
    lost = [reading.decoded for reading in readings if not reading.faithful]
    assert not lost, f"the tokenizer makes another text of it: {lost[0]!r}"
    model, quantization = loaded.variant.model, loaded.variant.quantization
    known = model.nll_per_byte
    judge.claims(
        "nll_per_byte",
        sum(reading.nats for reading in readings) / sum(reading.bytes for reading in readings),
        also=[] if known is None else [own_limits.known_meaning(known, quantization)],
        otherwise=[own_limits.any_meaning()],
        tokens=sum(reading.tokens for reading in readings),
    )


@pytest.mark.only("untaught")
@pytest.mark.measures("general_answers", "ended_share")
def test_answers_and_ends(loaded: LoadedVariant, prompts: Prompts, judge: Judge) -> None:
    """General questions get answers with the right word in them, and the answers end by themselves. Of a base model
    both are recorded, and not asked for.

    Limit: A claim, else the suite's own share of right answers and of answers that end (docs/limits.md).
    Fails when: an instructed model gives fewer right answers, or fewer that end.
    Do: Read the answers in the evidence. Sensible text that never ends: see test_turns_end_where_generation_ends.
    Nonsense: see test_reads_plain_english. A base model needs `instruct = false` in its entry.
    Symptoms: tokenizer-mismatch
    """
    completions = loaded.ask_once(all_answers(loaded, prompts)).completions
    right = [
        has_answer(completion.text, answers) for completion, answers in zip(completions, prompts.accepted, strict=True)
    ]
    texts = [
        {"question": question, "text": completion.text[:200], "right": is_right, "ended": completion.ended}
        for question, completion, is_right in zip(prompts.questions, completions, right, strict=True)
    ]
    talks = speaks(loaded)
    for metric, count, limit in (
        ("general_answers", sum(right), own_limits.general_answers(speaks=talks)),
        ("ended_share", sum(c.ended for c in completions), own_limits.ended_share(speaks=talks)),
    ):
        judge.claims(metric, count / len(completions), otherwise=[limit], answers=texts)
