"""Make the golden numbers of `catalogue/golden`, or see that they are what would be made.

    python -m benchmarks.golden.make            # write make.json and the files of logits
    python -m benchmarks.golden.make --check    # compare them with a fresh computation; status 1 where they differ

The logits are computed in float64 and kept as float32. Where a model has a router, each token of its texts is the first
candidate after which no router, on plain or packed weights, comes near a tie: rounding in 16 bit would turn the choice
of an expert there, and that is no fault.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.golden.forward import logits, logits_and_gaps
from benchmarks.golden.packing import Packing, packed_weights
from benchmarks.golden.weights import Floats, digest, make_weights, seven_bits, tokens
from plimsoll.catalogue.files import shipped_root
from plimsoll.catalogue.golden import DEFINITION, FOLDER, LONG, MANIFEST, GoldenTexts, read_texts, tensors_of

SCHEMES: Final = ("int8", "nf4", "nf4-dq")
LEAST_GAP: Final = 0.25
"""Between router logits whose standard deviation is about 2."""
LEAST_DISTANCE: Final = 3e-7
"""From a tie between two codes: five times what float32 rounds."""
_ULP: Final = 2.0**-23
_CANDIDATES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made for one family: `logits` by the kind of weights, float32, (texts, tokens, vocabulary); those of the
    long text at its kept places, (places, vocabulary)."""

    weights_sha256: str
    tokens: list[list[int]]
    long_tokens: list[int]
    logits: dict[str, Any]


def make_family(
    family: str,
    config: Mapping[str, Any],
    exponents: Mapping[str, int],
    texts: GoldenTexts,
    chosen: list[list[int]] | None = None,
    chosen_long: list[int] | None = None,
) -> Made:
    """Compute everything for one family, over the texts that were chosen before, or over new ones.

    Raises AssertionError for weights whose packed form would not be certain, and for texts that are not as they must
    be.
    """
    weights = make_weights(family, tensors_of(config, exponents))
    kinds: dict[str, dict[str, Floats]] = {"plain": weights}
    for scheme in SCHEMES:
        packing = Packing(scheme)
        kinds[scheme] = packed_weights(config, weights, packing)
        assert packing.closest > LEAST_DISTANCE, f"{family}/{scheme}: a code is {packing.closest:.1e} from a tie"
    if chosen is None or "num_local_experts" not in config:
        chosen = [
            _text(f"{family}/text {number}", texts.tokens, config, _judged(kinds, number, texts))
            for number in range(texts.count)
        ]
    else:
        gap = min(
            logits_and_gaps(config, values, text)[1].min()
            for kind, values in kinds.items()
            for text in _asked(kind, chosen, texts)
        )
        assert gap > LEAST_GAP, f"{family}: a router comes within {gap:.2f} of a tie"
    long = chosen_long
    if long is None or "num_local_experts" not in config:
        long = _text(f"{family}/long text", texts.long, config, [weights])
    found, gaps = logits_and_gaps(config, weights, long)
    assert gaps.min() > LEAST_GAP, f"{family}: a router comes within {gaps.min():.2f} of a tie in the long text"
    made = {
        kind: np.stack([logits(config, values, text) for text in _asked(kind, chosen, texts)]).astype("<f4")
        for kind, values in kinds.items()
    }
    return Made(
        weights_sha256=digest(weights),
        tokens=chosen,
        long_tokens=long,
        logits={**made, LONG: found[list(texts.long_kept)].astype("<f4")},
    )


def _judged(kinds: Mapping[str, Mapping[str, Floats]], number: int, texts: GoldenTexts) -> list[Mapping[str, Floats]]:
    """The weights that a text is given to."""
    return [values for kind, values in kinds.items() if kind == "plain" or number < texts.packed_texts]


def _asked(kind: str, chosen: list[list[int]], texts: GoldenTexts) -> list[list[int]]:
    return chosen if kind == "plain" else chosen[: texts.packed_texts]


def _text(name: str, length: int, config: Mapping[str, Any], judged: list[Mapping[str, Floats]]) -> list[int]:
    if "num_local_experts" not in config:
        return tokens(name, length, config["vocab_size"])
    candidates = iter(seven_bits(name, _CANDIDATES).tolist())
    text: list[int] = []
    while len(text) < length:
        longer = [*text, next(candidates)]
        if all(logits_and_gaps(config, weights, longer)[1][-1] > LEAST_GAP for weights in judged):
            text = longer
    return text


def make_all(definition: Mapping[str, Any], manifest: Mapping[str, Any] | None = None) -> dict[str, Made]:
    """Compute everything that a definition asks for; over the texts that a manifest has, where choosing takes long."""
    texts = read_texts(definition)
    told = {} if manifest is None else manifest["family"]
    return {
        family: make_family(
            family,
            entry["config"],
            definition["exponents"],
            texts,
            told.get(family, {}).get("tokens"),
            told.get(family, {}).get("long_tokens"),
        )
        for family, entry in definition["family"].items()
    }


def check(folder: Path) -> list[str]:
    """What lies in the folder and is not what a fresh computation gives."""
    definition = tomllib.loads((folder / DEFINITION).read_text(encoding="utf-8"))
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return differences(folder, make_all(definition, manifest))


def write(folder: Path, made: Mapping[str, Made]) -> None:
    """Write the logits, and the manifest that names them by their digests."""
    families = {}
    for family, one in made.items():
        files = {}
        for kind, values in one.logits.items():
            content = values.tobytes()
            (folder / f"{family}-{kind}.f32").write_bytes(content)
            files[kind] = hashlib.sha256(content).hexdigest()
        families[family] = {
            "weights_sha256": one.weights_sha256,
            "tokens": one.tokens,
            "long_tokens": one.long_tokens,
            "files": files,
        }
    text = json.dumps({"format": 1, "family": families}, separators=(",", ":"))
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def differences(folder: Path, made: Mapping[str, Made]) -> list[str]:
    """What lies in the folder and is not what was made: logits may differ by the last bit of a float32, since float64
    sums come in another order on another machine."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["family"]
    found = [] if list(manifest) == list(made) else [f"{MANIFEST} has the families {', '.join(manifest)}"]
    for family, one in made.items():
        told = manifest.get(family, {})
        found += [f"{family}: other weights"] if told.get("weights_sha256") != one.weights_sha256 else []
        texts = (told.get("tokens"), told.get("long_tokens"))
        found += [f"{family}: other texts"] if texts != (one.tokens, one.long_tokens) else []
        for kind, values in one.logits.items():
            path = folder / f"{family}-{kind}.f32"
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != told.get("files", {}).get(kind):
                found.append(f"{path.name}: {MANIFEST} has another digest of it")
            shipped = np.frombuffer(content, dtype="<f4")
            if shipped.size != values.size or np.abs(shipped - values.ravel()).max() > _ULP * np.abs(values).max():
                found.append(f"{path.name}: other logits")
    return found


def main() -> int:
    """Make or check; 1 where a check finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare what lies there, write nothing")
    asked = parser.parse_args()
    folder = shipped_root() / FOLDER
    if not asked.check:
        made = make_all(tomllib.loads((folder / DEFINITION).read_text(encoding="utf-8")))
        write(folder, made)
        size = sum(values.nbytes for one in made.values() for values in one.logits.values())
        print(f"{folder}: {len(made)} families, {size:,} bytes of logits")
        return 0
    found = check(folder)
    print("\n".join(found) or f"{folder}: what a fresh computation gives")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
