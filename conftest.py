"""The front door: names the fixture modules, nothing else."""

# In the order in which they build on each other: pytest rewrites the assertions of a plugin only when it is the first
# to import it.
pytest_plugins = [
    "fixtures.sources",
    "fixtures.options",
    "fixtures.marks",
    "fixtures.waivers",
    "fixtures.resume",
    "fixtures.run",
    "fixtures.tracking",
    "fixtures.by_name",
    "fixtures.parametrize",
    "fixtures.workers",
    "fixtures.progress",
    "fixtures.weights",
    "fixtures.hosts",
    "fixtures.plan",
    "fixtures.profiles",
    "fixtures.judging",
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
