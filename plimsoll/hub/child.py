"""Exchanges messages with the Hub's own process, and ends it after its last message, when it falls silent, and on
Ctrl-C."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from plimsoll.child.started import Child, Message
from plimsoll.errors import PlimsollError
from plimsoll.suspension import Patience
from plimsoll.units import format_seconds


class HubError(PlimsollError):
    """The Hub's process could not do its job."""


class HubSilentError(HubError):
    """The Hub's process was silent for too long."""


def converse(job: Mapping[str, Any], idle_timeout: float) -> Generator[Message | None, None, None]:
    """The messages of a process that carries out a job, and None four times a second while there is none.

    Close the generator to end the process. Raises HubError where the process reports a failure or dies,
    HubSilentError where it was silent for `idle_timeout` seconds.
    """
    with Child("plimsoll.hub.process", {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}) as child:
        child.send(job)
        patience = Patience(idle_timeout)
        for message in child.messages():
            if message is None:
                if patience.left() <= 0:
                    raise HubSilentError(f"nothing moved for {format_seconds(idle_timeout)}, so it was ended")
                yield None
                continue
            patience = Patience(idle_timeout)
            if "error" in message:
                raise HubError(message["error"])
            if "all_said" in message:
                # All messages arrived, so they count, however the process ends and however long it takes.
                return
            yield message
        raise HubError(f"the process that speaks to the Hub {child.post_mortem()}")
