"""A tracker for Weights & Biases.

It sends only figures and the run's options. Everything that the library gathers by itself (the console, the command
line, the machine, the state of git, code) is turned off, because it was not checked for secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from plimsoll.evidence.encoding import encode
from plimsoll.extras import require
from plimsoll.tracking.tracker import Numbers

PROJECT: Final = "plimsoll"
"""The project, unless WANDB_PROJECT names another."""
_TIMEOUT: Final = 30.0
"""Seconds that a run waits for the service to answer, at its start and at its end."""


class WeightsAndBiasesTracker:
    """A run of Weights & Biases with the run's own id; `WANDB_MODE=offline` keeps it in `folder/wandb`.

    Raises PlimsollError where wandb is not installed.
    """

    name = "wandb"

    def __init__(self, folder: Path, redact: Callable[[str], str]) -> None:
        require("tracking", "--track=wandb", ("wandb",), "or use --track=jsonl")
        self._folder = folder
        self._redact = redact
        self._run: Any = None

    def start(self, run_id: str, config: Mapping[str, Any]) -> None:
        """Open the run. Raises what wandb raises where it is not logged in or cannot be reached."""
        # Imported here, because it takes a second that only tracked runs should spend.
        import wandb

        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            finish_timeout=_TIMEOUT,
            init_timeout=_TIMEOUT,
            quiet=True,
            save_code=False,
            silent=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        self._run = wandb.init(
            project=None if settings.project else PROJECT,
            id=run_id,
            name=run_id,
            dir=self._folder,
            config=encode(config, self._redact),
            settings=settings,
        )

    def log(self, numbers: Numbers) -> None:
        """Pass the figures on; the library sends them in the background."""
        self._run.log({self._redact(name): value for name, value in numbers.items()})

    def finish(self) -> None:
        """Wait until everything is sent, or written where it is offline."""
        self._run.finish()
