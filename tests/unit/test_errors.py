"""What a message says of the error below it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from plimsoll.errors import reason_of


def test_a_message_names_the_file_itself_so_the_reason_has_neither_it_nor_a_number() -> None:
    with pytest.raises(NotADirectoryError) as caught:
        (Path(__file__) / "below").read_text()
    assert reason_of(caught.value) == "Not a directory"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("the archive ends early"), "the archive ends early"),
        (OSError(errno.ENOSPC, "No space left on device", "big.bin"), "No space left on device"),
        (ValueError("not a number: 'x'"), "not a number: 'x'"),
    ],
)
def test_an_error_without_words_of_the_system_gives_its_own(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason
