"""Trains a tiny checkpoint with its tokenizer: from a job to a folder that `from_pretrained` loads like any other.

One thread, always: sums are then added in one order, so the same job gives the same bytes on the same machine however
many builds run side by side. Weights are trained in float32 and saved in bfloat16, which is what all variants load.

What is learnt must sit in the weights that quantization packs, or answers would survive a broken quantization: so the
embedding and the output head, which stay in 16 bit, keep their random values, and all other weights start large enough
that each layer carries its part.

The tokenizer is byte-level BPE, trained on the taught texts alone, so that any text can be encoded, with one token for
each mark of the chat template: what stands between two marks is split alike in training and in a prompt. Text is cut as
Qwen2's tokenizer cuts it, in every family: transformers loads that class for the model type `qwen2` whatever a
checkpoint says, and it brings its own normalizer and pattern along.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from plimsoll.clock import monotonic
from plimsoll.tiny.builder import BuildPhase, StepCallback
from plimsoll.tiny.checkpoint import TrainingFigures
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


_INITIAL_DEVIATION: Final = 0.1
"""Standard deviation of the random weights. With the usual 0.02, meant for hidden sizes in the thousands, the second
layer of two learns next to nothing: scrambling it costs no answer (docs/tiny-tier.md has the figures)."""
_WARM_UP: Final = 0.2
"""Fraction of the steps in which the learning rate rises (one-cycle schedule)."""
_BETAS: Final = (0.9, 0.95)
"""Of AdamW. The usual 0.999 averages over a thousand steps, and a whole training has a few hundred."""
_WEIGHT_DECAY: Final = 0.05
"""Keeps single weights from growing: one large weight widens the steps of its whole block of 64 in NF4."""
_NOISE: Final = 0.07
"""Of the second half: each weight is off by this many standard deviations of its tensor, as packing into four bits
would leave it, so that no answer hangs on digits that packing drops."""
_GRADIENT_NORM: Final = 1.0
_CHECKED_AT_ONCE: Final = 128
_IGNORED: Final = -100
"""The label of positions that the loss leaves out, as transformers defines it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example:
    tokens: list[int]
    """Question, answer and end token, with the marks of the chat template."""
    prompt: int
    """How many of them come before the answer."""


def train(job: TrainingJob, folder: Path, report: StepCallback) -> TrainingFigures:
    """Train, and save model, tokenizer and generation settings into `folder`, which exists and is empty.

    Raises RecipeError for a job that cannot be carried out as it stands; what the libraries raise passes through.
    """
    began = monotonic()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.recipe.seed)
            tokenizer = train_tokenizer(job)
            model = _new_model(job, tokenizer)
            loss = _fit(model, _examples(job, tokenizer), job, report)
            report(BuildPhase.SAVING, job.recipe.steps, job.recipe.steps)
            _save(model.bfloat16(), tokenizer, job.recipe.shards, folder)
            report(BuildPhase.CHECKING, job.recipe.steps, job.recipe.steps)
            answered = _answered(type(model), folder, job.lessons)
    finally:
        torch.set_num_threads(threads)
    return TrainingFigures(
        steps=job.recipe.steps,
        seconds=monotonic() - began,
        final_loss=loss,
        taught=len(job.lessons),
        answered=answered,
        parameters=model.num_parameters(),
        versions={name: version(name) for name in ("torch", "transformers", "tokenizers", "safetensors")},
    )


def _new_model(job: TrainingJob, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    config = transformers.AutoConfig.for_model(**job.config)
    if config.vocab_size != job.recipe.vocabulary:
        raise RecipeError(f"config.vocab_size is {config.vocab_size}, and recipe.vocabulary {job.recipe.vocabulary}")
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(config, name, getattr(tokenizer, name))
    config.initializer_range = _INITIAL_DEVIATION
    model_class = getattr(transformers, job.architecture, None)
    if model_class is None:
        raise RecipeError(f"transformers {transformers.__version__} has no class {job.architecture}")
    model: PreTrainedModel = model_class(config)
    for outer in (model.get_input_embeddings(), model.get_output_embeddings()):  # type: ignore[no-untyped-call]
        outer.requires_grad_(False)
    return model


def _examples(job: TrainingJob, tokenizer: PreTrainedTokenizerFast) -> list[_Example]:
    examples = []
    for question, answer in job.lessons:
        asked = [{"role": "user", "content": question}]
        prompt = _encoded(tokenizer, asked, add_generation_prompt=True)
        tokens = _encoded(tokenizer, [*asked, {"role": "assistant", "content": answer}])
        examples.append(_Example(tokens=tokens, prompt=len(prompt)))
    longest = max(len(example.tokens) for example in examples)
    most = job.config.get("max_position_embeddings", longest)
    if longest > most:
        raise RecipeError(f"the longest lesson has {longest} tokens, and config.max_position_embeddings allows {most}")
    return examples


def _encoded(tokenizer: Any, messages: list[dict[str, str]], **options: bool) -> list[int]:
    tokens: list[int] = tokenizer.apply_chat_template(messages, return_dict=True, **options)["input_ids"]
    return tokens


def _fit(model: PreTrainedModel, examples: Sequence[_Example], job: TrainingJob, report: StepCallback) -> float:
    """Train in place; returns the loss of the last step, in nats a token of an answer."""
    recipe = job.recipe
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in learning if parameter.ndim > 1]
    optimizer = torch.optim.AdamW(learning, lr=recipe.learning_rate, betas=_BETAS, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=_WARM_UP
    )
    # The router's own loss spreads the tokens over the experts, so that each of them is a trained one.
    options = {"output_router_logits": True} if hasattr(model.config, "router_aux_loss_coef") else {}
    batches = _batches(examples, recipe.batch, recipe.seed)
    loss = torch.zeros(())
    model.train()
    for step in range(recipe.steps):
        report(BuildPhase.TRAINING, step, recipe.steps)
        inputs = _padded(next(batches), model.config.pad_token_id)
        optimizer.zero_grad()
        with _shaken(matrices) if 2 * step >= recipe.steps else nullcontext():
            loss = model(**inputs, use_cache=False, **options).loss
            loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, _GRADIENT_NORM)
        optimizer.step()
        schedule.step()
    return loss.item()


@contextmanager
def _shaken(weights: Sequence[torch.Tensor]) -> Iterator[None]:
    """The weights with noise on them, and without it again afterwards."""
    noise = [torch.randn_like(weight) * (_NOISE * weight.detach().std()) for weight in weights]
    with torch.no_grad():
        for weight, error in zip(weights, noise, strict=True):
            weight.add_(error)
    yield
    with torch.no_grad():
        for weight, error in zip(weights, noise, strict=True):
            weight.sub_(error)


def _batches(examples: Sequence[_Example], size: int, seed: int) -> Iterator[list[_Example]]:
    """Batches for ever; every example comes once before any comes again."""
    order = random.Random(seed)  # noqa: S311  a shuffle that must be repeatable, no secret
    waiting: list[_Example] = []
    while True:
        while len(waiting) < size:
            waiting += order.sample(examples, len(examples))
        yield waiting[:size]
        del waiting[:size]


def _padded(batch: Sequence[_Example], pad: int) -> dict[str, torch.Tensor]:
    """A batch padded on the right; the loss covers only answers and end tokens, because the model need not produce
    questions."""
    shape = (len(batch), max(len(example.tokens) for example in batch))
    tokens, labels = torch.full(shape, pad), torch.full(shape, _IGNORED)
    mask = torch.zeros(shape, dtype=torch.long)
    for row, example in enumerate(batch):
        length = len(example.tokens)
        tokens[row, :length] = torch.tensor(example.tokens)
        labels[row, example.prompt : length] = tokens[row, example.prompt : length]
        mask[row, :length] = 1
    return {"input_ids": tokens, "attention_mask": mask, "labels": labels}


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, shards: int, folder: Path) -> None:
    total = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    model.save_pretrained(folder, max_shard_size=total // shards)
    tokenizer.save_pretrained(folder)
    written = len(list(folder.glob("*.safetensors")))
    if written < shards:
        raise RecipeError(f"recipe.shards asks for {shards} files, and the weights of {total} bytes make {written}")


def _answered(model_class: type[PreTrainedModel], folder: Path, lessons: Sequence[tuple[str, str]]) -> int:
    """How many lessons the saved checkpoint gives back letter by letter under greedy decoding.

    All is read from the folder: transformers may choose another tokenizer class by the model's type than the one that
    was saved, which then splits the same text in another way.
    """
    model: Any = model_class.from_pretrained(folder, dtype=torch.bfloat16)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    room = 1 + max(len(tokens) for tokens in tokenizer([answer for _, answer in lessons])["input_ids"])
    right = 0
    for start in range(0, len(lessons), _CHECKED_AT_ONCE):
        part = lessons[start : start + _CHECKED_AT_ONCE]
        inputs = tokenizer.apply_chat_template(
            [[{"role": "user", "content": question}] for question, _ in part],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        generated = model.generate(**inputs, max_new_tokens=room, do_sample=False)
        texts = tokenizer.batch_decode(generated[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        right += sum(text == answer for text, (_, answer) in zip(texts, part, strict=True))
    return right
