"""Whose an error beside a check is: a plugin's own only where the suite surely has no part in it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from fixtures.health import settle
from fixtures.reporting import raising_plugin
from tests.support.plugins import breaking

NAME = "monitor"
OF_NOBODY = """
import pytest

@pytest.hookimpl
def pytest_runtest_teardown():
    raise OSError("what pytest itself was to clean up")
"""


def manager(*more: object) -> pytest.PytestPluginManager:
    made = pytest.PytestPluginManager()
    made.register(breaking, NAME)
    for each in more:
        made.register(each)
    return made


def of_the_suite() -> None:
    settle(None)  # type: ignore[arg-type]  # AttributeError, in a frame of the suite


def handling_the_suites() -> None:
    try:
        of_the_suite()
    except AttributeError:
        breaking.fail()


def error_of(*raised: Callable[[], None]) -> BaseException:
    """The error that is raised, in a group where there are several, as pytest makes one of a teardown."""
    found = []
    for each in raised:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  of any type
            each()
        # The frames of this test are those of a plugin, too.
        traceback = caught.value.__traceback__
        found.append(caught.value.with_traceback(traceback.tb_next if traceback else None))
    return found[0] if len(found) == 1 else BaseExceptionGroup("errors while tearing down", found)


@pytest.mark.parametrize(
    ("raised", "name"),
    [
        ([breaking.fail], NAME),
        ([breaking.fail, breaking.fail], NAME),
        ([of_the_suite], None),
        ([breaking.fail, of_the_suite], None),
        ([handling_the_suites], None),
    ],
)
def test_an_error_is_a_plugins_where_the_suite_has_no_part_in_it(
    raised: list[Callable[[], None]], name: str | None
) -> None:
    assert raising_plugin(error_of(*raised), manager()) == name


def test_an_error_that_a_plugins_wrapper_passes_on_is_not_its_own() -> None:
    cleaning = ModuleType("cleaning")
    exec(OF_NOBODY, vars(cleaning))  # noqa: S102  a module that is no file, and so no plugin's
    plugins = manager(cleaning)
    error = error_of(lambda: plugins.hook.pytest_runtest_teardown(item=None, nextitem=None))
    assert isinstance(error, OSError)
    assert any(
        frame.name == "pytest_runtest_teardown" for frame in pytest.ExceptionInfo.from_exception(error).traceback
    )
    assert raising_plugin(error, plugins) is None
