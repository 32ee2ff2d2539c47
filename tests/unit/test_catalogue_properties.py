"""Whatever stands in a file, reading it ends in a catalogue or in one CatalogueError in our own words."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.catalogue.entries import Catalogue
from plimsoll.catalogue.marks import read_marks
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import CatalogueError
from plimsoll.metrics import METRICS
from plimsoll.units import SCALE

HERE = Path(__file__).parents[1] / "support"
MARKS = read_marks(HERE.parents[1] / "markers.ini")
GOOD = tomllib.loads((HERE / "catalogue" / "good.toml").read_text(encoding="utf-8"))

PYDANTIC_WORDS = ("Input should", "valid dictionary", "Field required", "not permitted", "type=")

texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12)
names = st.sampled_from(
    ["tiny", "nf4", "tiny-llama", "id", "models", "*", "load_time", "s", "10 s", "9 GB", "auto", "../x"]
)
scalars = st.booleans() | st.integers() | st.floats() | texts | names
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts | names, inner, max_size=3), max_leaves=5
)

relaxed = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def toml(value: Any) -> str:
    """A value as TOML. Its strings are JSON's, but for surrogates, which `texts` leaves out."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {toml(item)}" for key, item in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def read(data: dict[str, Any], folder: Path) -> Catalogue:
    """Read on top of the tiny tier alone, because a hundred examples would read all the others a hundred times."""
    shipped = folder / "shipped"
    if not shipped.exists():
        for part in ("tiers.toml", "profiles.toml", "datasets.toml", "models/tiny.toml", "claims/tiny.toml"):
            (shipped / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE.parents[1] / "catalogue" / part, shipped / part)
    path = folder / "my.toml"
    lines = [f"{json.dumps(key, ensure_ascii=False)} = {toml(value)}" for key, value in data.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_catalogue([path], known_marks=MARKS, shipped=shipped)


def refusals(data: dict[str, Any], folder: Path) -> list[str]:
    """The faults of a file with this data, none where it is read."""
    try:
        read(data, folder)
    except CatalogueError as error:
        return [str(fault) for fault in error.faults]
    return []


@relaxed
@given(data=st.data())
def test_any_value_anywhere_is_read_or_refused_in_our_words(data: st.DataObject, tmp_path: Path) -> None:
    kind = data.draw(st.sampled_from(list(GOOD)))
    table = dict(GOOD[kind][0])
    known = [*table, "replaces", "marks", "name", "device_map", "load_options", "path", "recipe", "low", "counts"]
    known += ["limits", "together", "conditions", "quote", "disputed"]
    for key in data.draw(st.lists(st.sampled_from(known) | texts, min_size=1, max_size=3)):
        table[key] = data.draw(values)
    faults = refusals({**GOOD, kind: [table]}, tmp_path)
    assert not [fault for fault in faults for words in PYDANTIC_WORDS if words in fault]
    assert [fault for fault in faults if not fault.startswith(f"{tmp_path / 'my.toml'}: ")] == []
    assert sorted(set(faults)) == sorted(faults), "a fault is told twice"


@relaxed
@given(data=st.dictionaries(st.sampled_from([*GOOD, "modle"]) | texts, values, max_size=4))
def test_any_file_is_read_or_refused(data: dict[str, Any], tmp_path: Path) -> None:
    unknown = set(data) - set(GOOD)
    faults = refusals(data, tmp_path)
    assert len(faults) >= len(unknown)
    assert faults or data, "an empty file says nothing and must not pass for one that does"


bounds = st.floats(min_value=0, max_value=1e12, allow_subnormal=False)


@relaxed
@given(metric=st.sampled_from(list(METRICS)), two=st.tuples(bounds, bounds).map(sorted), data=st.data())
def test_bounds_of_a_claim_are_kept_in_the_base_unit(
    metric: str, two: list[float], data: st.DataObject, tmp_path: Path
) -> None:
    units = [unit for unit, (base, _) in SCALE.items() if base == METRICS[metric].unit]
    unit = data.draw(st.sampled_from(units))
    low, high = two
    claim = {**GOOD["claim"][0], "metric": metric, "low": low, "high": high, "unit": unit}
    (read_claim,) = read({**GOOD, "claim": [claim]}, tmp_path).variants["my-llama/nf4"].claims
    assert read_claim.unit == METRICS[metric].unit
    assert read_claim.low is not None
    assert read_claim.high is not None
    factor = SCALE[unit][1]
    assert abs(read_claim.low - low * factor) <= 1e-12 * low * factor
    assert abs(read_claim.high - high * factor) <= 1e-12 * high * factor
