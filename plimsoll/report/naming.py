"""What a report calls a check, and the name by which a link finds its row on the page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from plimsoll.units import capitalised

_NAME: Final = re.compile(r"::(?:test_)?(?P<name>[^:\[]+)(?:\[.*)?\Z", re.DOTALL)
_PHASE: Final = re.compile(r"::(?:setup|teardown|call)\Z")
_WORDS: Final = {
    **{word: word.upper() for word in ("cpu", "ddp", "ecc", "gpu", "gpus", "kl", "pcie", "ram")},
    "gpus": "GPUs",
    "vram": "GPU memory",
    "xid": "Xid",
}
TITLES: Final[Mapping[str, str]] = {
    "test_repeats_to_the_bit": "Repeats to the bit",
    "test_agrees_with_its_product": "Agrees with GPUs of its product",
    "test_attention_agrees": "Attention implementations agree",
    "test_close_to_16_bit": "Close to 16-bit weights",
    "test_every_example_is_scored": "Every example is scored",
    "test_answers_what_it_was_taught": "Answers what it was taught",
    "test_knows_what_it_does_not_know": "Knows what it does not know",
    "test_each_rank_on_its_device": "Each rank is on its device",
    "test_gradients_of_one_batch": "Ranks agree on gradients",
    "test_matmul": "Speed of products",
    "test_bandwidth": "Memory bandwidth",
    "test_link": "Link between RAM and GPU",
    "test_peer_copies": "Copies between GPUs",
    "test_all_reduce": "Sums over all devices",
    "test_as_fast_as_its_product": "As fast as GPUs of its product",
    "test_finite_logits": "Logits are finite",
    "test_taught_answers": "Taught answers",
    "test_greedy_repeats": "Greedy answers repeat",
    "test_no_more_tokens_than_asked": "No more tokens than asked for",
    "test_no_degenerate_repetition": "Answers do not loop",
    "test_cached_decoding_agrees": "Decoding with a cache agrees",
    "test_batch_agrees": "Answers in a batch agree",
    "test_pad_and_eos": "Padding and end tokens",
    "test_ends_by_itself": "Answers end by themselves",
    "test_first_token_time": "Time to the first token",
    "test_token_time_alone": "Time per token, one sequence",
    "test_token_time_of_eight": "Time per token, eight sequences",
    "test_golden_logits": "Logits match golden numbers",
    "test_learns": "Training lowers the loss",
    "test_takes_what_was_predicted": "Training memory as predicted",
    "test_update_however_it_is_made": "Gradients agree, however computed",
    "test_health_while_used": "GPU health while a model ran",
    "test_gpus_stay": "GPUs stay",
    "test_ecc": "ECC errors",
    "test_remapped_rows": "Remapped rows",
    "test_throttle": "Heat and throttling",
    "test_xid": "Xid errors",
    "test_links": "NVLinks and fabric",
    "test_ladder": "Ladder of loads",
    "test_cold_load_time": "Cold load time",
    "test_warm_load_time": "Warm load time",
    "test_loads_from_safetensors": "Loads from safetensors",
    "test_loads_completely": "Loads completely",
    "test_loads_asked_class": "Loads the right class",
    "test_loads_on_asked_device": "Loads on the right device",
    "test_loads_in_asked_dtype": "Loads in the right dtype",
    "test_uses_asked_attention": "Uses the right attention",
    "test_settings_take_effect": "Load settings take effect",
    "test_is_the_entrys_model": "Checkpoint matches its entry",
    "test_turns_end_where_generation_ends": "Chat turns end generation",
    "test_reads_plain_english": "Reads plain English",
    "test_answers_and_ends": "Answers general questions",
    "test_stored_bytes": "Stored bytes",
    "test_peak_vram": "Peak GPU memory",
    "test_peak_ram": "Peak RAM",
    "test_ram_held": "RAM held once loaded",
    "test_peak_ram_as_predicted": "Peak RAM as predicted",
    "test_ram_holds_the_weights": "RAM holds the weights",
    "test_stack": "Installed packages",
    "test_gpus_answer": "GPUs answer",
    "test_tenants": "GPU is not in use by others",
    "test_free_ram": "Free RAM",
    "test_free_disk": "Free disk space",
    "test_fits": "Fits a reference machine",
    "test_applied": "Quantization is applied",
    "test_state": "Quantization state is complete",
    "test_coverage": "Share of weights quantized",
    "test_bytes_of_each_parameter": "Bytes of each parameter",
    "test_placed_as_asked": "Weights are where they belong",
    "test_weights_are_the_checkpoints": "Weights match the checkpoint",
    "test_packed_layers_compute": "Packed layers compute right",
    "test_soak": "Soak",
    "test_ram_returns": "RAM is returned",
    "test_vram_returns": "GPU memory is returned",
    "test_weights_are_returned": "Memory of weights is returned",
    "test_process_is_gone": "Process is gone",
    "test_usage": "Use of the model",
}
"""What each check of the suite is called; a test holds that none is left out."""


def check_title(cell: str) -> str:
    """`Stored bytes` of `acceptance/test_memory.py::test_stored_bytes[tiny-llama/nf4]`. What is no check of the suite
    is called by the words of its name."""
    found = _NAME.search(_PHASE.sub("", cell))
    name = cell if found is None else found["name"]
    if title := TITLES.get(f"test_{name}"):
        return title
    text = " ".join(_WORDS.get(word, word) for word in name.split("_") if word)
    return capitalised(text) or cell


def check_anchor(cell: str) -> str:
    """The check's own id, which pytest takes as well; without white space, as the id of an element must be."""
    return re.sub(r"\s+", "_", _PHASE.sub("", cell))
