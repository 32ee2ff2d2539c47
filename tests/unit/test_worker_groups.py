"""Which checks stay together on one worker of xdist."""

from __future__ import annotations

import pytest

from fixtures.parametrize import group_of


@pytest.mark.parametrize(
    ("parameter", "group"),
    [
        ("tiny-llama/nf4", "tiny-llama"),
        ("tiny-llama/nf4-squad", "tiny-llama"),
        ("cpu-llama/nf4", "cpu-llama"),
        ("llama-3.1-8b/nf4:gpu3", "gpu3"),
        ("tiny-llama/nf4:cuda:gpu0.1", "gpu0.1"),
        ("llama-3.1-8b/nf4:gpu3-squad", "gpu3"),
        ("llama-3.1-70b/fp16:gpu0+gpu1", "gpu0+gpu1"),
        ("gpu3-llama/nf4", "gpu3"),
        ("gpu3", "gpu3"),
        ("gpu3-bf16", "gpu3"),
        ("gpu8b", "gpu8b"),
        ("gpu70b", "gpu70b"),
    ],
)
def test_what_is_asked_of_the_same_gpus_stays_together_and_so_does_a_model(parameter: str, group: str) -> None:
    assert group_of(f"acceptance/test_it.py::test_it[{parameter}]") == group


def test_a_check_without_a_parameter_is_a_group_of_its_own() -> None:
    assert group_of("acceptance/test_it.py::test_it") == "acceptance/test_it.py::test_it"
