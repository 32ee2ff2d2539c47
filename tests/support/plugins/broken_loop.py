"""Sabotage: pytest itself breaks before it runs the first test, as a faulty plugin would have it; asked for by `-p`."""


def pytest_runtestloop() -> None:
    raise RuntimeError("the loop is broken")
