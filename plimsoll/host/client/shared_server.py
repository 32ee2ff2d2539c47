"""The fork server that the workers of a run share: each would import the same model stack for some seconds."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from plimsoll.host.client.forkserver import IMPORT_LIMIT, STACK, ForkServer
from plimsoll.host.failures import HostStartError

_LONGEST_ADDRESS: Final = 100


class SharedServer:
    """A fork server that begins to import at once, and listens at `address`; None where the folder for temporary files
    has too long a path for a socket, and each worker imports for itself."""

    def __init__(self) -> None:
        # Only this user can reach it. A path to a socket may be no longer than some hundred bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="plimsoll-")
        path = Path(self._folder.name, "fork")
        self.address = path if len(os.fsencode(path)) < _LONGEST_ADDRESS else None
        self._server: ForkServer | None = None
        if self.address is not None:
            with suppress(HostStartError):  # each worker says so for itself
                self._server = ForkServer((STACK,), IMPORT_LIMIT, self.address)

    @property
    def is_importing(self) -> bool:
        """True until hosts can be had at once, or the server has ended."""
        return self._server is not None and self._server.is_importing

    def dismiss(self) -> None:
        """Have it end while something else is done: `close` waits for it."""
        if self._server is not None:
            self._server.dismiss()

    def close(self) -> None:
        """End it, also in the middle of its imports. Safe to call again."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        self._folder.cleanup()
