"""What is said of names that a model and its checkpoint do not share."""

from __future__ import annotations

from plimsoll.judge.load import names_apart
from plimsoll.judge.quantization import apart

NAMES = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")


def test_nothing_is_said_where_all_are_shared() -> None:
    assert names_apart((), ()) == ""


def test_both_sides_are_shown_and_a_prefix_is_named() -> None:
    assert names_apart(NAMES, tuple(f"_orig_mod.{name}" for name in NAMES)) == (
        "not in the checkpoint, so randomly initialised: model.embed_tokens.weight, model.norm.weight, lm_head.weight\n"
        "in the checkpoint, but nowhere in the model: _orig_mod.model.embed_tokens.weight, "
        "_orig_mod.model.norm.weight, _orig_mod.lm_head.weight\n"
        "these are the same names behind the prefix '_orig_mod.': the model was saved from within a wrapper; save it "
        "again without, or rename the tensors"
    )
    assert "prefix 'module.model.'" in names_apart(("a.weight",), ("module.model.a.weight",))


def test_no_prefix_is_named_where_the_names_are_others() -> None:
    text = names_apart(("a.weight",), ("b.weight",))
    assert text.count("\n") == 1
    assert "prefix" not in text
    assert names_apart((), tuple(f"x{number}" for number in range(9))).endswith("x7 and 1 more")


def test_sizes_that_rounding_would_make_alike_are_told_to_the_byte() -> None:
    assert apart(1_770_112, 1_770_176) == ("1,770,112 bytes", "1,770,176 bytes")
    assert apart(1_770_112, 3_000_000)[0].startswith("1.77 MB")
