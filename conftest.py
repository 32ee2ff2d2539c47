"""The front door: names the fixture modules, nothing else."""

pytest_plugins = [
    "fixtures.options",
    "fixtures.marks",
    "fixtures.run",
    "fixtures.parametrize",
    "fixtures.workers",
    "fixtures.plan",
    "fixtures.hosts",
    "fixtures.prompts",
    "fixtures.judging",
    "fixtures.benchmarks",
    "fixtures.load_timing",
    "fixtures.reporting",
    "fixtures.html",
]
