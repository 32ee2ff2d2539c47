"""What the documents say is all in the catalogue: each row of their tables, with its reading and its source."""

from __future__ import annotations

import re

import pytest

from plimsoll.catalogue.reader import read_catalogue

CATALOGUE = read_catalogue()
VARIANTS = CATALOGUE.variants
DOCUMENTED = [claim for claim in CATALOGUE.claims if "tiny" not in str(claim.origin.file)]

GIB = 2**30
MINUTE = 60.0

REPORT = "Section 4.1 Action Items Completion Report, "
LOADING = "Model Loading Documentation, "
ANALYSIS = "Model Configuration Analysis for LatentWire/Telepathy Experiments, "
STRATEGY = "Model Testing & Load Strategy, "
FAMILIES = "Multi-Model Family Experiments - Implementation Summary, "
PUBLISHED = (
    "transformers pull request 44576",
    "Qwen documentation, Qwen2.5 Speed Benchmark",
    "published measurement",
    "results of nikoszka/super-guacamole",
)

L70 = ("llama-3.1-70b-instruct/nf4-dq", "llama-3.1-70b-instruct/nf4")
MIXTRAL = ("mixtral-8x22b-instruct-v0.1/nf4-dq", "mixtral-8x22b-instruct-v0.1/nf4")
QWEN, OMNI = ("qwen2.5-7b/int8",), ("qwen2.5-omni-7b/int8",)
PHI = ("phi-3-mini-4k-instruct/bf16", "phi-3-mini-4k-instruct/bf16-sdpa")
SMALL_MIXTRAL = ("mixtral-8x7b-instruct-v0.1/nf4", "mixtral-8x7b-instruct-v0.1/nf4-dq")
MISTRAL = ("mistral-7b-v0.3/int8", "mistral-7b-instruct-v0.3/int8")
GB = 1e9

# Document, variants, metric, low, high, disputed.
Row = tuple[str, tuple[str, ...], str, float | None, float | None, bool]
ROWS: list[Row] = [
    (REPORT, L70, "vram_peak", 34 * GIB, 46 * GIB, False),
    (REPORT, L70, "ram_peak", 8.5 * GIB, 11.5 * GIB, False),
    (REPORT, QWEN, "vram_peak", 8 * GIB, 12 * GIB, False),
    (REPORT, OMNI, "vram_peak", 8 * GIB, 12 * GIB, False),
    (REPORT, QWEN, "ram_peak", 4.25 * GIB, 5.75 * GIB, False),
    (REPORT, MIXTRAL, "vram_peak", 45 * GIB, 50 * GIB, True),
    (REPORT, MIXTRAL, "ram_peak", 12.75 * GIB, 17.25 * GIB, False),
    (REPORT, (*L70, *QWEN, *OMNI), "vram_needed", None, 50 * GIB, False),
    (REPORT, MIXTRAL, "vram_needed", None, 50 * GIB, True),
    (LOADING, L70, "vram_peak", 34 * GIB, 46 * GIB, False),
    (LOADING, L70, "ram_peak", 8.5 * GIB, 11.5 * GIB, False),
    (LOADING, OMNI, "vram_peak", 8 * GIB, 12 * GIB, False),
    (LOADING, OMNI, "ram_peak", 4.25 * GIB, 5.75 * GIB, False),
    (LOADING, MIXTRAL, "vram_peak", 45 * GIB, 50 * GIB, True),
    (LOADING, MIXTRAL, "ram_peak", 12.75 * GIB, 17.25 * GIB, False),
    (LOADING, L70, "vram_needed", None, 20 * GIB, True),
    (LOADING, L70[:1], "vram_needed", None, 40 * GIB, False),
    (LOADING, L70[1:], "vram_needed", None, 40 * GIB, True),
    (LOADING, (*QWEN, *OMNI), "vram_needed", None, 12 * GIB, False),
    (LOADING, (*QWEN, *OMNI), "vram_needed", None, 8 * GIB, True),
    (LOADING, L70, "first_load_time", 5 * MINUTE, 15 * MINUTE, False),
    (LOADING, (*L70, *QWEN, *OMNI, *MIXTRAL), "first_load_time", None, 30 * MINUTE, False),
    (LOADING, (L70[0], *OMNI, MIXTRAL[0]), "checkpoint_bytes", 85 * GIB, 115 * GIB, True),
    *(
        (document, variants, f"{state}_load_time", low * MINUTE, high * MINUTE, False)
        for document in (REPORT, LOADING)
        for variants, low, high in (((*QWEN, *OMNI), 2, 5), (L70, 5, 15), (MIXTRAL, 10, 20))
        for state in ("cold", "warm")
    ),
    *((LOADING, (*L70, *QWEN, *OMNI, *MIXTRAL), f"{s}_load_time", None, 20 * MINUTE, False) for s in ("cold", "warm")),
    (STRATEGY, PHI, "parameter_count", 3.23e9, 4.37e9, False),
    (STRATEGY, PHI, "weight_bytes", 6.375 * GB, 8.625 * GB, False),
    (STRATEGY, PHI, "free_vram", 9.171 * GB, None, False),
    (STRATEGY, PHI, "context_length", 4096, 4096, False),
    (STRATEGY, PHI, "sliding_window", 2047, 2047, False),
    (STRATEGY, PHI, "key_value_heads", 32, 32, False),
    (FAMILIES, ("llama-3.2-1b/fp16",), "vram_peak", 1.7 * GB, 2.3 * GB, True),
    (FAMILIES, ("llama-3-8b/int8",), "vram_peak", 6.8 * GB, 9.2 * GB, True),
    (FAMILIES, ("qwen2.5-1.5b/fp16",), "vram_peak", 2.55 * GB, 3.45 * GB, False),
    (FAMILIES, QWEN, "vram_peak", 6.8 * GB, 9.2 * GB, False),
    (FAMILIES, MISTRAL, "vram_peak", 6.8 * GB, 9.2 * GB, False),
    (FAMILIES, ("llama-3-8b/int8", *QWEN, *MISTRAL), "vram_peak", 8 * GB, 10 * GB, False),
    (FAMILIES, L70[:1], "vram_peak", 29.75 * GB, 40.25 * GB, False),
    (FAMILIES, L70[1:], "vram_peak", 29.75 * GB, 40.25 * GB, True),
    (FAMILIES, ("qwen2.5-72b/nf4", "qwen2.5-72b/nf4-dq"), "vram_peak", 29.75 * GB, 40.25 * GB, True),
    (FAMILIES, SMALL_MIXTRAL, "vram_peak", None, 24 * GB, True),
]  # fmt: skip

# Document 002: models, parameters in 10^9, width; parameter memory, activations, total in GB, where it gives them.
STUDY = {
    "llama-3.2-1b": (1.24, 2048, 2.48, 2.5, 5),
    "llama-3.2-3b": (3.21, 3072, 6.42, 5.2, 12),
    "llama-3.1-8b": (8.03, 4096, 16.06, 12.3, 28),
    "mistral-7b": (7.24, 4096, 14.48, 12.3, 27),
    "qwen2.5-1.5b": (1.54, 1536, 3.08, 2.3, 5.4),
    "qwen2.5-3b": (3.09, 2048, 6.18, 3.5, 10),
    "qwen2.5-7b": (7.62, 3584, None, None, None),
}
# Its table of safe batches: models, batch, steps of accumulation.
BATCHES = [
    (("llama-3.1-8b", "mistral-7b-v0.3"), 2, 4),
    (("llama-3.2-3b", "mistral-7b-v0.3"), 3, 3),
    (("llama-3.2-3b", "qwen2.5-3b"), 6, 2),
    (("llama-3.2-1b", "qwen2.5-1.5b"), 12, 1),
    (("llama-3.1-8b",), 6, 2),
    (("mistral-7b-v0.3",), 6, 2),
    (("llama-3.2-3b",), 12, 1),
]


def rows() -> list[tuple[str, frozenset[str], str, float | None, float | None, bool]]:
    return [
        (next(d for d in (REPORT, LOADING, ANALYSIS, STRATEGY, FAMILIES) if claim.source.startswith(d)),
         frozenset(claim.variants), claim.metric, claim.low, claim.high, claim.disputed is not None)
        for claim in DOCUMENTED
        if not claim.source.startswith(PUBLISHED)
    ]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}{row[1][0]} {row[2]}")
def test_row_of_a_document_is_there(row: Row) -> None:
    document, variants, metric, low, high, disputed = row
    same = [r for r in rows() if (r[0], r[1], r[2]) == (document, frozenset(variants), metric)]
    found = [(r[3] and pytest.approx(r[3]), r[4] and pytest.approx(r[4]), r[5]) for r in same]
    assert (low, high, disputed) in found


@pytest.mark.parametrize("start", STUDY)
def test_study_is_there(start: str) -> None:
    ids = {id_ for id_ in VARIANTS if id_.startswith(start) and id_.endswith("/bf16")}
    assert len(ids) == 2
    claims = [c for c in DOCUMENTED if c.source.startswith(ANALYSIS) and set(c.variants) == ids and not c.together]
    parameters, width, weights, activations, total = STUDY[start]
    wanted = {"parameter_count": (parameters * 1e9, 0.01), "hidden_size": (width, 0)}
    if weights is not None and activations is not None and total is not None:
        wanted["weight_bytes"] = (weights * GB, 0.01)
        wanted["training_activations"] = (activations * GB, 0.15)
        wanted["training_vram_peak"] = (total * GB, 0.15)
    bounds = {claim.metric: (claim.low, claim.high) for claim in claims}
    assert set(bounds) == set(wanted)
    for metric, (value, around) in wanted.items():
        assert bounds[metric] == pytest.approx((value * (1 - around), value * (1 + around)), rel=1e-4), metric


def test_safe_batches_are_there() -> None:
    claims = [c for c in DOCUMENTED if "accumulation" in c.conditions]
    assert [(set(c.variants), c.conditions["batch"], c.conditions["accumulation"]) for c in claims] == [
        ({f"{model}/bf16" for model in models}, batch, steps) for models, batch, steps in BATCHES
    ]
    for claim, (models, _, _) in zip(claims, BATCHES, strict=True):
        assert (claim.metric, claim.high, claim.together) == ("training_vram_peak", 80 * GB, len(models) > 1)
        assert claim.conditions["sequence"] == 1536


def test_published_figures_are_there_and_limit_nothing() -> None:
    claims = [claim for claim in DOCUMENTED if claim.source.startswith(PUBLISHED)]
    memory = [c for c in claims if c.unit == "bytes"]
    middle = {(c.variants[0], c.metric): round(((c.low or 0) + (c.high or 0)) / 2 / GIB, 2) for c in memory}
    assert middle == {
        ("llama-3.1-8b/int8", "vram_allocated"): 8.46,
        ("llama-3.1-8b/int8", "vram_reserved"): 9.66,
        ("qwen2.5-omni-7b/int8", "vram_allocated"): 10.71,
        ("qwen2.5-omni-7b/int8", "vram_reserved"): 11.35,
        ("qwen2.5-7b-instruct/nf4", "vram_allocated"): 5.46,
        ("qwen2.5-7b-instruct/nf4", "vram_reserved"): 13.47,
        ("qwen2.5-3b-instruct/bf16", "vram_peak"): 5.95,
        ("qwen2.5-7b-instruct/bf16", "vram_peak"): 14.38,
    }
    assert not [claim for claim in claims if claim.is_limit]


def test_sources_are_titles_not_files() -> None:
    titles = (REPORT, LOADING, ANALYSIS, STRATEGY, FAMILIES, *PUBLISHED)
    texts = [c.source for c in DOCUMENTED] + [s.source for s in CATALOGUE.statements]
    assert [source for source in texts if not source.startswith(titles)] == []
    assert [source for source in texts if re.search(r"\.txt|\.\./|seeds", source)] == []


def test_disputes_give_their_arithmetic() -> None:
    for claim in DOCUMENTED:
        assert claim.disputed is None or len(re.findall(r"\d+\.\d+|\d+ (?:GB|GiB)", claim.disputed)) >= 1, claim.origin
        assert claim.quote, f"{claim.origin} keeps the words of its document"


def test_statements() -> None:
    disputed = {(s.models, s.says) for s in CATALOGUE.statements if s.disputed}
    assert len(disputed) == 8
    about = {model: " ".join(s.says for s in CATALOGUE.statements if model in s.models) for model in CATALOGUE.models}
    for model, words in (
        ("llama-3.1-70b-instruct", "HUGGINGFACE_HUB_TOKEN"),
        ("mixtral-8x22b-instruct-v0.1", "authentication is required"),
        ("qwen2.5-omni-7b", "Qwen/Qwen-2.5-Omni-7B"),
        ("qwen2.5-72b", "trust_remote_code"),
        ("phi-3-mini-4k-instruct", "trust_remote_code=True is required"),
        ("phi-3-mini-4k-instruct", "eager"),
        ("llama-3.1-8b", "Meta-Llama-3.1-8B"),
        ("llama-3.2-1b", "256 new tokens"),
    ):
        assert words in about[model]
