"""Lists every metric and score: its name, its unit, its meaning, and how the suite treats it.

One table: so a claim about an unknown metric is found as a typo while the catalogue is read, a report can explain each
figure, and what several packages must know of a metric (does it stay valid when a variant moves to other hardware, does
any change count, which panel draws it) stands here once. A new metric is one entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class MetricKind(StrEnum):
    """What a metric describes."""

    FACT = "fact"
    """A fact about the architecture: the same wherever the model runs."""
    COST = "cost"
    """Bytes and seconds that a variant takes where it runs."""
    NUMERIC = "numeric"
    """The numbers that a model computes: claims about them hold on other hardware too."""
    NODE = "node"
    """The machine, whatever it carries."""


class Place(StrEnum):
    """Where the bytes of a figure lie."""

    GPU = "gpu"
    RAM = "ram"
    STORED = "stored"
    """The tensors themselves, on whatever device."""


class Predicted(StrEnum):
    """The rule by which `plimsoll.audit.bounds` bounds a metric."""

    FACT = "fact"
    """The prediction's fact of the same name as the metric."""
    PARAMETERS = "parameters"
    STORED = "stored"
    QUANTIZED = "quantized"
    FILES = "files"
    PEAK = "peak"
    HELD = "held"
    POOL = "pool"
    NEEDED = "needed"
    RAM = "ram"
    DISK_LOAD = "disk_load"
    CACHED_LOAD = "cached_load"
    ANY_LOAD = "any_load"
    DOWNLOAD = "download"
    TRAINING = "training"
    """Bounded by the weights below."""
    UNBOUNDED_TRAINING = "unbounded_training"


PANELS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "Highest GPU memory while loading": ("cuda",),
        "RAM once loaded, in place of GPU memory": ("cpu",),
        "Highest RAM while loading": ("cuda", "cpu"),
        "Load time": ("cuda", "cpu"),
    }
)
"""The panels that a report draws for each model, in order, with the devices that each applies to."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name, its base unit, its meaning, and how the suite treats it."""

    name: str
    unit: str
    meaning: str
    kind: MetricKind = MetricKind.COST
    is_exact: bool = False
    """True for what is counted rather than measured: any change between two runs is real."""
    place: Place | None = None
    predicted: Predicted | None = None
    """None where only a measurement can tell."""
    panel: str | None = None
    """The panel of PANELS that draws it."""
    promises_room: bool = False
    """True where a document's amount means that a machine with so much memory suffices."""

    @property
    def title(self) -> str:
        """What people call it: `Peak GPU memory`."""
        return _LABELS.get(self.name) or self.name.replace("_", " ").capitalize()

    def is_drawn_on(self, device: str) -> bool:
        """True where a report shows the bounds of a variant on `cuda` or `cpu`, documented or not."""
        return self.panel is not None and device in PANELS[self.panel]


_LABELS: Final = {
    "matmul_rate": "Speed of matrix products",
    "matmul_error": "Error of matrix products",
    "link_rate": "Copies between RAM and GPU",
    "peer_rate": "Copies to other GPUs",
    "all_reduce_rate": "Sums over all GPUs",
    "behind_others": "Slower than its product",
    "ways_apart": "Ways with other bits than its product",
    "unsteady_ways": "Ways with other bits in some round",
    "weight_bytes": "Bytes of the weights",
    "vram_peak": "Peak GPU memory",
    "vram_allocated": "GPU memory held",
    "vram_reserved": "GPU memory reserved by torch",
    "vram_left": "GPU memory left after unloading",
    "vram_needed": "GPU memory that the GPU must have",
    "vram_of_others": "GPU memory of other processes",
    "ram_before": "RAM before loading",
    "ram_peak": "Peak RAM",
    "ram_resident_peak": "Peak resident RAM",
    "vram_returned": "GPU memory kept after unloading",
    "training_vram_peak": "Peak GPU memory in training",
    "ram_after": "RAM held once loaded",
    "ram_returned": "RAM kept after unloading",
    "free_ram": "Free RAM",
    "free_vram": "Free GPU memory",
    "nll_per_byte": "Surprise by plain English",
    "cache_divergence": "Difference with and without cache",
    "batch_divergence": "Difference alone and in a batch",
    "quantized_divergence": "Difference from bf16",
    "golden_error": "Error against golden numbers",
    "weight_excess": "Weights beyond the scheme's rounding",
    "product_error": "Error of products with packed weights",
    "auroc_g_nll": "AUROC of G-NLL",
    "known_auroc": "AUROC of taught against withheld",
}
"""Titles that cannot be derived from the metric's name."""

METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric(
            "cold_load_time",
            "s",
            "from_pretrained with the checkpoint evicted from the page cache",
            predicted=Predicted.DISK_LOAD,
            panel="Load time",
        ),
        Metric(
            "warm_load_time",
            "s",
            "from_pretrained with the checkpoint in the page cache",
            predicted=Predicted.CACHED_LOAD,
            panel="Load time",
        ),
        Metric("load_time", "s", "from_pretrained, whatever the state of the page cache", predicted=Predicted.ANY_LOAD),
        Metric("first_load_time", "s", "download and from_pretrained together", predicted=Predicted.DOWNLOAD),
        Metric(
            "checkpoint_bytes",
            "bytes",
            "the checkpoint's weight files on disk",
            is_exact=True,
            predicted=Predicted.FILES,
        ),
        Metric(
            "weight_bytes",
            "bytes",
            "stored bytes of all parameters and buffers, with their quantization statistics",
            is_exact=True,
            place=Place.STORED,
            predicted=Predicted.STORED,
        ),
        Metric(
            "parameter_count",
            "1",
            "logical parameters, tied ones once",
            MetricKind.FACT,
            predicted=Predicted.PARAMETERS,
        ),
        Metric("hidden_size", "1", "width of the residual stream", MetricKind.FACT, predicted=Predicted.FACT),
        Metric(
            "key_value_heads",
            "1",
            "heads of attention that have keys and values of their own",
            MetricKind.FACT,
            predicted=Predicted.FACT,
        ),
        Metric(
            "context_length",
            "tokens",
            "positions that the model was made for",
            MetricKind.FACT,
            predicted=Predicted.FACT,
        ),
        Metric(
            "sliding_window",
            "tokens",
            "positions that attention looks back over",
            MetricKind.FACT,
            predicted=Predicted.FACT,
        ),
        Metric(
            "quantized_fraction",
            "1",
            "logical parameters that are stored quantized, of all parameters",
            predicted=Predicted.QUANTIZED,
        ),
        Metric(
            "weight_excess",
            "1",
            "how far stored weights lie beyond what their scheme's arithmetic gives for the checkpoint's, in parts of "
            "a block's largest weight",
            MetricKind.NUMERIC,
        ),
        Metric(
            "product_error",
            "1",
            "difference of what packed layers compute from the products with their unpacked weights, root mean square",
            MetricKind.NUMERIC,
        ),
        Metric("ram_before", "bytes", "resident memory of the host before loading"),
        Metric(
            "ram_peak",
            "bytes",
            "highest memory of the host while loading, over what it had before, without pages of files where the "
            "system tells them apart",
            place=Place.RAM,
            predicted=Predicted.RAM,
            panel="Highest RAM while loading",
        ),
        Metric(
            "ram_after",
            "bytes",
            "memory of the host after loading, over what it had before, without pages of files, likewise",
            place=Place.RAM,
            predicted=Predicted.RAM,
            panel="RAM once loaded, in place of GPU memory",
        ),
        Metric(
            "ram_returned",
            "bytes",
            "memory that is still held after unloading, over what there was before, without pages of files, likewise",
        ),
        Metric(
            "vram_returned",
            "bytes",
            "memory that torch has still allocated after unloading, over what it had before, where most on one GPU",
        ),
        Metric(
            "ram_resident_peak", "bytes", "highest resident memory of the host while loading, pages of files counted"
        ),
        Metric(
            "vram_peak",
            "bytes",
            "highest memory of the GPUs while loading, as torch allocated it; while generating, where a claim says so",
            place=Place.GPU,
            predicted=Predicted.PEAK,
            panel="Highest GPU memory while loading",
            promises_room=True,
        ),
        Metric(
            "vram_allocated",
            "bytes",
            "memory of the GPUs after loading, as torch allocated it",
            place=Place.GPU,
            predicted=Predicted.HELD,
        ),
        Metric(
            "vram_reserved",
            "bytes",
            "highest memory of the GPUs that torch's pool has reserved, used or not",
            place=Place.GPU,
            predicted=Predicted.POOL,
        ),
        Metric(
            "vram_needed",
            "bytes",
            "memory that the GPUs must have to load and run it, their contexts included",
            predicted=Predicted.NEEDED,
            promises_room=True,
        ),
        Metric(
            "vram_of_others",
            "bytes",
            "memory of a GPU that others held before anything was loaded",
            kind=MetricKind.NODE,
        ),
        Metric("vram_left", "bytes", "memory left on the GPU with the least to spare; negative for what is lacking"),
        Metric("largest_context", "tokens", "longest prompt of one sequence that fits beside the loaded model"),
        Metric("largest_batch", "1", "most prompts at once that fit beside the loaded model"),
        Metric(
            "training_activations",
            "bytes",
            "memory that a training step keeps between its passes",
            predicted=Predicted.UNBOUNDED_TRAINING,
        ),
        Metric(
            "training_vram_peak",
            "bytes",
            "highest memory of a GPU in a training step, as torch allocated it",
            predicted=Predicted.TRAINING,
        ),
        Metric("training_weights", "bytes", "weights while training, and what is trained beside them", is_exact=True),
        Metric("training_gradients", "bytes", "gradients of what is trained", is_exact=True),
        Metric("training_optimizer", "bytes", "states of the optimizer", is_exact=True),
        Metric("training_workspace", "bytes", "what a training step has in use for a moment, at its highest point"),
        Metric("training_peak", "bytes", "highest memory in use in a training step, on whatever device"),
        Metric(
            "training_loss_fall",
            "nats",
            "by how much a few steps lower the loss on the text of them",
            MetricKind.NUMERIC,
        ),
        Metric(
            "accumulation_difference",
            "1",
            "difference of a batch's gradients from those of its sequences one by one, root mean square over theirs",
            MetricKind.NUMERIC,
        ),
        Metric(
            "recomputed_difference",
            "1",
            "difference of gradients where layers are computed again in the backward pass, likewise",
            MetricKind.NUMERIC,
        ),
        Metric("replica_difference", "1", "difference of a rank's gradients from those of the first", MetricKind.NODE),
        Metric(
            "replica_error",
            "1",
            "difference of the ranks' gradients from those of one process with all their sequences, root mean square",
            MetricKind.NODE,
        ),
        Metric("replica_peak", "bytes", "highest memory of a rank in a training step", MetricKind.NODE),
        Metric("free_ram", "bytes", "memory available on the node", MetricKind.NODE),
        Metric("free_disk", "bytes", "free disk space where weights land", MetricKind.NODE),
        Metric("free_vram", "bytes", "free memory of the GPUs", MetricKind.NODE, predicted=Predicted.NEEDED),
        Metric("taught_accuracy", "1", "taught questions answered exactly, of those asked", MetricKind.NUMERIC),
        Metric(
            "golden_error",
            "1",
            "difference of a golden model's logits from the shipped ones, root mean square over theirs, worst way",
            MetricKind.NODE,
        ),
        Metric(
            "matmul_rate",
            "FLOP/s",
            "products of square matrices on one device, median of the best size",
            MetricKind.NODE,
        ),
        Metric(
            "matmul_error",
            "1",
            "difference of those products from float64 arithmetic, root mean square over theirs",
            MetricKind.NODE,
        ),
        Metric(
            "memory_bandwidth", "bytes/s", "copies inside a device's memory, bytes read and written", MetricKind.NODE
        ),
        Metric("link_rate", "bytes/s", "copies between RAM and a device", MetricKind.NODE),
        Metric("peer_rate", "bytes/s", "copies from one device to another, one way", MetricKind.NODE),
        Metric("all_reduce_rate", "bytes/s", "bus bandwidth of sums over all devices of the node", MetricKind.NODE),
        Metric(
            "sum_error", "1", "difference of those sums from the exact ones, over the largest of them", MetricKind.NODE
        ),
        Metric(
            "behind_others",
            "1",
            "how far a speed of a device lies below the median of the others of its product, as a part of that",
            MetricKind.NODE,
        ),
        Metric(
            "unsteady_ways",
            "1",
            "ways of asking one model that gave other bits in some round",
            MetricKind.NODE,
            is_exact=True,
        ),
        Metric(
            "ways_apart",
            "1",
            "ways of asking one model in which a device's bits are not those of most devices of its product",
            MetricKind.NODE,
            is_exact=True,
        ),
        Metric("first_token_time", "s", "from a prompt to its first token"),
        Metric("token_time", "s", "each further token of one sequence, alone or in a batch"),
        Metric(
            "bandwidth_share",
            "1",
            "bytes that a token must read, over what the device's measured bandwidth reads in the time that it took",
        ),
        Metric(
            "cache_divergence",
            "1",
            "difference of logits between cached and uncached decoding, mean over positions, over their spread",
            MetricKind.NUMERIC,
        ),
        Metric(
            "batch_divergence",
            "1",
            "difference of logits between batched and single prompts, mean over positions, over their spread",
            MetricKind.NUMERIC,
        ),
        Metric(
            "attention_divergence",
            "1",
            "difference of logits of a padded batch from eager attention on each prompt, mean, over their spread",
            MetricKind.NUMERIC,
        ),
        Metric(
            "quantized_divergence",
            "nats",
            "mean KL divergence of the next-token distribution from that of bf16",
            MetricKind.NUMERIC,
        ),
        Metric("examples_scored", "1", "examples of a dataset that have an answer with a score, of those chosen"),
        Metric("dataset_accuracy", "1", "answers that are right by the dataset's rule, of the examples chosen"),
        Metric(
            "taught_answered",
            "1",
            "answers that are right, of the examples of a dataset that were taught",
            MetricKind.NUMERIC,
        ),
        Metric(
            "withheld_answered",
            "1",
            "answers that are right, of the examples of a dataset that were withheld",
            MetricKind.NUMERIC,
        ),
        Metric(
            "known_auroc",
            "1",
            "how well G-NLL tells examples that were withheld from those that were taught",
            MetricKind.NUMERIC,
        ),
        Metric("auroc_g_nll", "1", "how well G-NLL tells wrong answers from right ones", MetricKind.NUMERIC),
        Metric(
            "nll_per_byte",
            "nats/byte",
            "negative log-likelihood of a plain English text that ships, over its bytes in UTF-8",
            MetricKind.NUMERIC,
        ),
        Metric(
            "general_answers",
            "1",
            "answers that have the right word, of general questions that everybody can answer",
            MetricKind.NUMERIC,
        ),
        Metric(
            "keys_left_to_checkpoint",
            "1",
            "keys of config.json that change what is computed, are no default of the class, and are not in the entry",
            MetricKind.FACT,
        ),
        Metric("working_rung", "1", "the rung of the ladder that works, counted from 1", MetricKind.NODE),
        Metric("tokens_validated", "1", "new tokens that a model gave within its profile of use", MetricKind.NODE),
        Metric(
            "ended_share", "1", "answers that ended by themselves, before the most tokens asked for", MetricKind.NUMERIC
        ),
        Metric(
            "repetition", "1", "largest share of a generated text that one repeated n-gram fills", MetricKind.NUMERIC
        ),
    )
}

FLOORED: Final = ("matmul_rate", "memory_bandwidth", "link_rate", "peer_rate", "all_reduce_rate")
"""The metrics of a device's speed, which a [[floor]] of the catalogue may limit."""

SCORES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "exact_match": "the answer says what a gold says, both normalised as the dataset's own script does",
        "f1": "words shared with the best gold, normalised as the dataset's own script does; of a list question, items",
        "rouge_l": "longest common subsequence of words with the best gold, F measure, by the library rouge-score",
        "numeric": "the number that the answer comes to is the gold's",
        "yes_no": "the answer begins with the right one of yes and no",
        "strict": "BioASQ factoid: the first candidate of the answer is the gold or a synonym of it",
        "lenient": "BioASQ factoid: one of the first five candidates is",
        "mrr": "BioASQ factoid: one divided by the place of the first candidate that is, 0 for none",
        "list_precision": "BioASQ list: how many of the named items are golds",
        "list_recall": "BioASQ list: how many of the golds are named",
        "list_f1": "BioASQ list: harmonic mean of the two",
    }
)
"""The scores of an answer to a dataset's question, by name, each from 0 to 1; `plimsoll.scoring` computes them."""

_OF_ALL: Final = ("exact_match", "f1", "rouge_l")

RULE_SCORES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "trivia_qa": _OF_ALL,
        "squad_v2": _OF_ALL,
        "nq_open": _OF_ALL,
        "svamp": (*_OF_ALL, "numeric"),
        "bioasq": _OF_ALL,
    }
)
"""For each schema the scores that all of its examples have, so that a rule about such a score can judge every
answer."""
