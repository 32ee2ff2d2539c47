"""The tokenizer of a tiny checkpoint, trained on the taught texts alone. Imported only where training runs.

Byte-level BPE, so that any text can be encoded, with one token for each mark of the chat template: what stands
between two marks is split alike in training and in a prompt. Text is cut as Qwen2's tokenizer cuts it, in every
family: transformers loads that class for the model type `qwen2` whatever a checkpoint says, and it brings its own
normalizer and pattern along.
"""

from __future__ import annotations

from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from plimsoll.tiny.recipe import RecipeError, TrainingJob

PAD: Final = "<|pad|>"
BEGIN: Final = "<|bos|>"
END: Final = "<|eos|>"
USER: Final = "<|user|>"
ASSISTANT: Final = "<|assistant|>"
MARKS: Final = (PAD, BEGIN, END, USER, ASSISTANT)
"""In the order of their ids: padding is 0, the begin of a text 1, its end 2."""

_PATTERN: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Of Qwen2's tokenizer: words with the blank before them, single digits, runs of signs, blanks."""

CHAT_TEMPLATE: Final = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message.role == "user" -%}
{{- "<|user|>" + message.content -}}
{%- elif message.role == "assistant" -%}
{{- "<|assistant|>" + message.content + eos_token -}}
{%- else -%}
{{- raise_exception("the tiny checkpoints know the roles user and assistant, not " + message.role) -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- "<|assistant|>" -}}
{%- endif -%}
"""


def train_tokenizer(job: TrainingJob) -> PreTrainedTokenizerFast:
    """A fast tokenizer of at most `recipe.vocabulary` tokens; raises RecipeError where not even the bytes fit in."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    least = len(alphabet) + len(MARKS)
    if job.recipe.vocabulary < least:
        raise RecipeError(f"a vocabulary of {job.recipe.vocabulary} is too small: bytes and marks alone are {least}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=job.recipe.vocabulary,
        min_frequency=1,  # a word of the corpus is worth a token even where it occurs once
        special_tokens=list(MARKS),
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for lesson in job.lessons for text in lesson), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers left its constructor untyped
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=PAD,  # never used: bytes are always known; Qwen2's class would else add a token of its own
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",  # what batched generation needs
        model_max_length=job.config.get("max_position_embeddings"),
        clean_up_tokenization_spaces=False,
    )
