"""The front door: names the fixture modules, has them registered and checked, and spares the start the collector of
garbage."""

from __future__ import annotations

import sys
from typing import Any, Final

import pytest

try:
    from fixtures.ahead import begin_for_workers
    from fixtures.required import RECORDED
    from fixtures.required import pytest_cmdline_main as pytest_cmdline_main
    from plimsoll.garbage import collect_as_usual, collect_seldom, end_without_looking
except ImportError:
    from plimsoll_gpu import other_package

    if (other := other_package()) is None:
        raise
    pytest.exit(f"plimsoll: error: {other}", returncode=pytest.ExitCode.USAGE_ERROR)

# In the order in which they build on each other: pytest rewrites the assertions of a plugin only when it is the first
# to import it.
FIXTURE_MODULES: Final = (
    "fixtures.redaction",
    "fixtures.catalogue_options",
    "fixtures.options",
    "fixtures.marks",
    "fixtures.resume",
    "fixtures.run",
    "fixtures.lasting",
    "fixtures.tracking",
    "fixtures.selection",
    "fixtures.devices",
    "fixtures.parametrize",
    "fixtures.narrowing",
    "fixtures.workers",
    "fixtures.progress",
    "fixtures.weights",
    "fixtures.hosts",
    "fixtures.loaded",
    "fixtures.plan",
    "fixtures.health",
    "fixtures.profiles",
    "fixtures.calls",
    "fixtures.judging",
    "fixtures.diagnosing",
    "fixtures.golden",
    "fixtures.device_values",
    "fixtures.device_speed",
    "fixtures.agreement",
    "fixtures.headroom",
    "fixtures.ranks",
    "fixtures.tenants",
    "fixtures.benchmarks",
    "fixtures.load_timing",
    "fixtures.generation_timing",
    "fixtures.ladder",
    "fixtures.prompts",
    "fixtures.questions",
    "fixtures.answers",
    "fixtures.saved_reports",
    "fixtures.reporting",
    "fixtures.story",
    "fixtures.replay",
    "fixtures.html",
    "fixtures.junit",
    "fixtures.against",
)


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the fixture modules. As `pytest_plugins`, each would have pytest read the entry points of all packages
    that are installed, in case one has a plugin of that name: a quarter of a second in all."""
    collect_seldom()
    config: Any = pluginmanager.get_plugin("pytestconfig")
    begin_for_workers(config)
    for name in FIXTURE_MODULES:
        pluginmanager.import_plugin(name)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the collector of garbage as it was found, for a program that calls pytest as a library. The process of a
    run ends now, and pytest would look twice more through all that the run has made."""
    collect_as_usual()
    is_worker = bool(getattr(config, "workerinput", {}).get("plimsoll_run"))
    is_program = [*config.invocation_params.args] == sys.argv[1:] and config.stash.get(RECORDED, False)
    if is_worker or is_program:
        end_without_looking()
