"""Loading through the suite against a bare `from_pretrained`, in one warm process, round by round.

    python benchmarks/loading.py [--megabytes 512] [--rounds 7]

The checkpoint is a Llama with random weights in bf16, made for the occasion and removed afterwards. Two ratios: of the
seconds that the suite reports as the load time, and of everything that the suite does around it as well (page cache,
tokenizer, memory meters, the inventory of every parameter), which grows with the number of tensors and not with bytes.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from plimsoll import clock
from plimsoll.catalogue.entries import Generation, Quantization
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.host.protocol import LoadSpec
from plimsoll.host.server.loading import load
from plimsoll.tiny.store import Store


def make_checkpoint(folder: Path, megabytes: int) -> None:
    """A Llama of about so many megabytes in bf16, with the tokenizer of a tiny checkpoint."""
    hidden, layers = 1024, max(1, round(megabytes * 1e6 / (2 * 12.6e6)))
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=hidden,
        intermediate_size=2816,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config).bfloat16()
    model.save_pretrained(folder, max_shard_size="256MB")
    tiny = read_catalogue().models["tiny-llama"]
    AutoTokenizer.from_pretrained(Store().ensure(tiny).path).save_pretrained(folder)


def spec_of(folder: Path, quantization: Quantization) -> LoadSpec:
    """What the suite would ask a host to load."""
    return LoadSpec(
        checkpoint=str(folder),
        revision=None,
        auto_class="AutoModelForCausalLM",
        architecture="LlamaForCausalLM",
        quantization=quantization,
        device="cpu",
        device_map=None,
        attention="sdpa",
        generation=Generation(max_new_tokens=8, pad_token="<|pad|>"),  # noqa: S106  a token, not a password
    )


def bare_seconds(folder: Path) -> float:
    """What a user would run instead."""
    start = clock.monotonic()
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, device_map={"": "cpu"}, attn_implementation="sdpa"
    )
    seconds = clock.monotonic() - start
    del model
    gc.collect()
    return seconds


def suite_seconds(folder: Path) -> tuple[float, float]:
    """`(the load time that the suite reports, the time of the whole request)`."""
    start = clock.monotonic()
    loaded = load(spec_of(folder, Quantization.BF16), "as-is")
    whole = clock.monotonic() - start
    reported = loaded.report.seconds
    del loaded
    gc.collect()
    return reported, whole


def main() -> int:
    """Print both ratios: the median over rounds, each round a pair, so that a drifting machine cancels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_checkpoint(folder, options.megabytes)
        suite_seconds(folder)
        bare_seconds(folder)
        bare, reported, whole = [], [], []
        for _ in range(options.rounds):
            bare.append(bare_seconds(folder))
            seconds, around = suite_seconds(folder)
            reported.append(seconds)
            whole.append(around)
    print(f"{options.rounds} pairs, a checkpoint of about {options.megabytes} MB, bf16, page cache warm")
    print(f"bare from_pretrained      {statistics.median(bare):.3f} s")
    for name, figures in (("suite, reported load", reported), ("suite, whole request", whole)):
        ratios = [ours / theirs for ours, theirs in zip(figures, bare, strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"{name}      {statistics.median(figures):.3f} s, ratio {middle:.3f} ({low:.3f} to {high:.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
