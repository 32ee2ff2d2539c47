"""Is it the model that the entry names, and does it read, answer and stop as a sound model does?

What was trained here on questions of ours is asked those (test_generation.py); every other model with real weights
reads plain English that ships with the suite, and answers a few questions that everybody can answer.
"""

from __future__ import annotations

import json

import pytest

from fixtures.hosts import LoadedVariant
from fixtures.judging import Judge
from fixtures.prompts import Prompts, all_answers, speaks
from plimsoll.catalogue.meaning import read_plain
from plimsoll.host.protocol import CompareConfig, ReadText, TellManners
from plimsoll.judge import own_limits
from plimsoll.judge.configuration import changes_the_model, in_words, is_other_model
from plimsoll.judge.generation import has_answer

pytestmark = pytest.mark.generation


@pytest.mark.only("files")
def test_is_the_entrys_model(loaded: LoadedVariant, judge: Judge) -> None:
    """The checkpoint's config.json says of the model what the entry says; what the entry leaves out is noted."""
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
    """The token that the chat template writes after an answer is one at which generation ends."""
    told = loaded.ask_once(TellManners())
    assert told.turn_end_ends is not False or not speaks(loaded), (
        f"the chat template ends an answer with {told.turn_end!r}, and generation ends at "
        f"{', '.join(told.eos_tokens)}: mend eos_token_id in generation_config.json"
    )


@pytest.mark.only("untaught")
@pytest.mark.measures("nll_per_byte")
def test_reads_plain_english(loaded: LoadedVariant, judge: Judge) -> None:
    """A plain English text is as likely as sound models find it, and the tokenizer gives it back as it was."""
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
    """General questions get answers with the right word in them, which end by themselves; of a base model both are told
    and not asked for."""
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
