"""Retry policy for the Hub: wait for rate limits and overloaded servers, not for a 404.

Runs in the Hub's own process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from huggingface_hub.errors import HfHubHTTPError

from plimsoll import clock

R = TypeVar("R")

_PAUSES: Final = (1.0, 2.0, 4.0)
"""Seconds between attempts where the Hub does not say how long to wait."""
_LONGEST_WAIT: Final = 45.0
"""Seconds in total; a longer wait is reported instead."""
PASSING: Final = (408, 429, 500, 502, 503, 504)
"""HTTP status codes of refusals that may soon pass."""
_RESET: Final = re.compile(r";\s*t\s*=\s*(\d+)")
"""The seconds in the header `RateLimit: "api";r=0;t=55`."""


def with_retries(call: Callable[[], R]) -> R:
    """The result of `call`, retried while the Hub's refusal may pass.

    Raises what `call` raises.
    """
    waited = 0.0
    for pause in _PAUSES:
        try:
            return call()
        except HfHubHTTPError as error:
            if error.response.status_code not in PASSING:
                raise
            asked = seconds_to_wait(error.response.headers)
            wait = pause if asked is None else asked
            if waited + wait > _LONGEST_WAIT:
                raise
        clock.sleep(wait)
        waited += wait
    return call()


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds that `Retry-After` or `RateLimit` ask for; None where neither gives a number."""
    after = headers.get("Retry-After", "").strip()
    if after.isdigit():
        return float(after)
    reset = _RESET.search(headers.get("RateLimit", ""))
    return float(reset[1]) if reset else None
