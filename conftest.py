"""The front door: names the fixture modules, and has them checked; nothing else."""

from fixtures.required import pytest_cmdline_main as pytest_cmdline_main

# In the order in which they build on each other: pytest rewrites the assertions of a plugin only when it is the first
# to import it.
pytest_plugins = [
    "fixtures.shown",
    "fixtures.sources",
    "fixtures.options",
    "fixtures.marks",
    "fixtures.waivers",
    "fixtures.resume",
    "fixtures.run",
    "fixtures.tracking",
    "fixtures.by_name",
    "fixtures.devices",
    "fixtures.parametrize",
    "fixtures.narrowing",
    "fixtures.workers",
    "fixtures.progress",
    "fixtures.weights",
    "fixtures.hosts",
    "fixtures.plan",
    "fixtures.profiles",
    "fixtures.calls",
    "fixtures.judging",
    "fixtures.golden",
    "fixtures.causes",
    "fixtures.benchmarks",
    "fixtures.load_timing",
    "fixtures.prompts",
    "fixtures.questions",
    "fixtures.answers",
    "fixtures.saved_reports",
    "fixtures.reporting",
    "fixtures.replay",
    "fixtures.html",
    "fixtures.junit",
    "fixtures.against",
]
