"""The names of everything that is measured, each with its base unit and what it means.

One table, so that a claim about a metric nobody measures is a typo found while the catalogue is read, and a report
can explain each figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Metric:
    """What a measured figure is called, its base unit, and what it means."""

    name: str
    unit: str
    meaning: str


METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("cold_load_time", "s", "from_pretrained with the checkpoint evicted from the page cache"),
        Metric("warm_load_time", "s", "from_pretrained with the checkpoint in the page cache"),
        Metric("load_time", "s", "from_pretrained, whatever the state of the page cache"),
        Metric("first_load_time", "s", "download and from_pretrained together"),
        Metric("checkpoint_bytes", "bytes", "the checkpoint's weight files on disk"),
        Metric(
            "weight_bytes", "bytes", "stored bytes of all parameters and buffers, with their quantization statistics"
        ),
        Metric("parameter_count", "1", "logical parameters, tied ones once"),
        Metric("hidden_size", "1", "width of the residual stream"),
        Metric("key_value_heads", "1", "heads of attention that have keys and values of their own"),
        Metric("context_length", "tokens", "positions that the model was made for"),
        Metric("sliding_window", "tokens", "positions that attention looks back over"),
        Metric("quantized_fraction", "1", "logical parameters that are stored quantized, of all parameters"),
        Metric("ram_before", "bytes", "resident memory of the host before loading"),
        Metric("ram_peak", "bytes", "highest resident memory of the host while loading, over what it had before"),
        Metric("ram_after", "bytes", "resident memory of the host after loading, over what it had before"),
        Metric(
            "ram_returned", "bytes", "resident memory that is still held after unloading, over what there was before"
        ),
        Metric(
            "vram_peak",
            "bytes",
            "highest memory of the GPUs while loading, as torch allocated it; while generating, where a claim says so",
        ),
        Metric("vram_allocated", "bytes", "memory of the GPUs after loading, as torch allocated it"),
        Metric("vram_reserved", "bytes", "highest memory of the GPUs that torch's pool has reserved, used or not"),
        Metric("vram_needed", "bytes", "memory that the GPUs must have to load and run it, their contexts included"),
        Metric("vram_left", "bytes", "memory left on the GPU with the least to spare; negative for what is lacking"),
        Metric("largest_context", "tokens", "longest prompt of one sequence that fits beside the loaded model"),
        Metric("largest_batch", "1", "most prompts at once that fit beside the loaded model"),
        Metric("training_activations", "bytes", "memory that a training step keeps between its passes"),
        Metric("training_vram_peak", "bytes", "highest memory of a GPU in a training step, as torch allocated it"),
        Metric("free_ram", "bytes", "memory available on the node"),
        Metric("free_disk", "bytes", "free disk space where weights land"),
        Metric("free_vram", "bytes", "free memory of the GPUs"),
        Metric("taught_accuracy", "1", "taught questions answered exactly, of those asked"),
        Metric(
            "cache_divergence",
            "1",
            "difference of logits between cached and uncached decoding, mean over positions, over their spread",
        ),
        Metric(
            "batch_divergence",
            "1",
            "difference of logits between batched and single prompts, mean over positions, over their spread",
        ),
        Metric("quantized_divergence", "nats", "mean KL divergence of the next-token distribution from that of bf16"),
        Metric("examples_scored", "1", "examples of a dataset that have an answer with a score, of those chosen"),
        Metric("dataset_accuracy", "1", "answers that are right by the dataset's rule, of the examples chosen"),
        Metric("taught_answered", "1", "answers that are right, of the examples of a dataset that were taught"),
        Metric("withheld_answered", "1", "answers that are right, of the examples of a dataset that were withheld"),
        Metric("known_auroc", "1", "how well G-NLL tells examples that were withheld from those that were taught"),
        Metric("auroc_g_nll", "1", "how well G-NLL tells wrong answers from right ones"),
        Metric("repetition", "1", "largest share of a generated text that one repeated n-gram fills"),
    )
}
