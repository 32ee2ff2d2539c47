"""Forks sub-sessions, commands and children of the library from one process that has imported pytest and the
library: importing them anew takes a third of the time of most.

Modules whose assertions pytest rewrites are imported by a session of pytest in that process, so that those of others
find them as they would have imported them.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pickle
import select
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib.metadata import Distribution, PathDistribution
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Final, NoReturn
from unittest import mock

import cpuinfo  # type: ignore[import-untyped]
import pytest
from _pytest import junitxml
from _pytest.assertion.rewrite import AssertionRewritingHook
from execnet import gateway_io as io
from execnet.gateway_base import ExecModel, Popen2IO

from plimsoll import digests
from plimsoll.catalogue import reader
from plimsoll.catalogue.files import shipped_root
from plimsoll.catalogue.marks import read_marks
from plimsoll.child import started
from plimsoll.commands import run
from plimsoll.node.stack import everything_installed, installed_packages
from plimsoll.plan import checks
from plimsoll.plan.checks import read_checks
from plimsoll.present import html
from plimsoll.redaction import Redactor
from plimsoll.report import pages
from plimsoll.symptoms.shipped import shipped_symptoms
from tests.support.forked import ROOT, ForkedProcess, Forks
from tests.support.forking import SAFE_PATH, become, forget

_BEFOREHAND: Final = (
    *("pytest", "_pytest.pastebin", "_pytest.junitxml", "jinja2", "platformdirs"),
    *("pynvml",),
)
"""What pytest and its plugins import, and the library when it must."""
_OF_ANSWERS: Final = ("rouge_score.rouge_scorer", "plimsoll.uncertainty.drawn.gallery")
"""What a session imports that scores and draws answers."""
_HUB: Final = "huggingface_hub"
"""It reads variables as it is imported, so each process imports it anew, but not what it needs."""
_OF_HUB: Final = ("plimsoll.hub.queries", "plimsoll.hub.fetching", "plimsoll.hub.describing")
"""What imports it."""


_OF_A_CHILD: Final = {"stdin": -1, "stdout": -1, "encoding": "utf-8", "process_group": 0}
"""How the library starts its children, which those that are forked are like."""


class ForkedSession:
    """A session that runs, and whose output is heard."""

    def __init__(self, process: ForkedProcess, output: int) -> None:
        self._process = process
        self._output = output
        self._said = b""
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """Its status once it has ended, and somebody has asked."""
        return self._process.returncode

    def poll(self) -> int | None:
        """The status, or None while it runs."""
        return self._process.poll()

    def communicate(self, timeout: float) -> str:
        """Everything that it said, once it has ended. Raises subprocess.TimeoutExpired, and may be called again."""
        end = time.monotonic() + timeout
        while self._output >= 0:
            ready, _, _ = select.select([self._output], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired("pytest", timeout)
            data = os.read(self._output, 65536)
            self._said += data
            if not data:
                os.close(self._output)
                self._output = -1
        self._process.wait(max(0.0, end - time.monotonic()))
        return self._said.decode().replace("\r\n", "\n")

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def __enter__(self) -> ForkedSession:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()
        if self._output >= 0:
            os.close(self._output)


SESSIONS: Final = Forks("tests.support.forked_sessions:prepare")
"""tests/conftest.py ends it after a worker's last test."""


def fork_session(arguments: Sequence[str], variables: Mapping[str, str], *, leads: str = "") -> ForkedSession:
    """Fork `python -m pytest` in the project's folder; `arguments` are pytest's."""
    reading, writing = os.pipe()
    with Path(os.devnull).open() as nothing:
        try:
            streams = [nothing.fileno(), writing, writing]
            # Those of another session are of no group of its own, which Ctrl-C would reach.
            options: Any = {"leads": leads, "may_fork": not leads}
            process = SESSIONS.start(["-m", "pytest", *arguments], variables, streams, **options)
        finally:
            os.close(writing)
    return ForkedSession(process, reading)


def run_python(
    *arguments: str, env: Mapping[str, str], cwd: Path = ROOT, timeout: float = 120, joined: bool = False
) -> subprocess.CompletedProcess[str]:
    """`python` with these arguments and variables, its standard error in its output where they are `joined`: forked, or
    started where it cannot be."""
    if SESSIONS.can_start(env):
        return SESSIONS.run(arguments, env, folder=cwd, timeout=timeout, joined=joined)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if joined else subprocess.PIPE,
        text=True,
        timeout=timeout,
        check=False,
    )


def forked_children(forks: Forks = SESSIONS) -> SimpleNamespace:
    """In place of `subprocess` where the library starts its children (`plimsoll.child.started`): the Hub's process is
    forked, others are started."""

    def start(command: list[str], *, stderr: IO[str], env: Mapping[str, str], **options: Any) -> Any:
        if command[-1] != "plimsoll.hub.process" or not forks.can_start(env):
            return subprocess.Popen(command, stderr=stderr, env=env, **options)
        assert options == _OF_A_CHILD
        return forks.piped(command[1:], env, error=stderr.fileno(), leads="group", is_child=True)

    return SimpleNamespace(**{**vars(subprocess), "Popen": start})


def _run_replay(
    command: list[str], *, cwd: Path, env: Mapping[str, str], timeout: float, **options: Any
) -> subprocess.CompletedProcess[str]:
    """In place of `subprocess.run` for the pytest that writes the pages of a run: a command that was forked, and may
    ask for more, has it forked too."""
    if SESSIONS.is_joined and cwd == ROOT and SESSIONS.can_start(env):
        return SESSIONS.run(command[1:], env, timeout=timeout)
    return subprocess.run(command, cwd=cwd, env=env, timeout=timeout, **options)


def _execute(program: str, command: list[str], variables: dict[str, str]) -> NoReturn:
    """In place of `os.execve` where `plimsoll run` becomes pytest."""
    read = {name: value for name, value in variables.items() if name != SAFE_PATH}
    if program != sys.executable or not SESSIONS.can_start(read):
        os.execve(program, command, variables)  # noqa: S606  as the command does
    become(command[1:], variables)


class _ForkedWorker(io.Popen2IOMaster):
    """A worker of a session that was forked is forked from the same process, and may ask it for more: for a child of
    the Hub it would begin, and prepare, another such process."""

    def __init__(self, args: list[str], execmodel: ExecModel) -> None:
        if not (SESSIONS.is_joined and args[0] == sys.executable and SESSIONS.can_start(os.environ)):
            super().__init__(args, execmodel)
            return
        (reading, theirs), (mine, writing) = os.pipe(), os.pipe()
        self.popen = SESSIONS.start(args[1:], os.environ, [mine, theirs, 2], folder=Path.cwd(), may_fork=True)
        os.close(theirs)
        os.close(mine)
        Popen2IO.__init__(self, os.fdopen(writing, "wb"), os.fdopen(reading, "rb"), execmodel)


def prepare() -> Forks:
    """Import what sessions, commands and children import, in the process that they are forked from."""
    for module in _OF_ANSWERS:
        importlib.import_module(module)
    forks = _prepared()
    _remember_packages()
    forks.rewritten = _import_rewritten()
    _remember_of_plugins()
    # A traceback looks for its module among all there are, and notes the place of each.
    inspect.getmodule(prepare.__code__)
    return forks


def _prepared() -> Forks:
    """What all have: pytest, the library, and what it reads."""
    for module in _BEFOREHAND:
        importlib.import_module(module)
    _remember_shipped()
    _import_library()
    installed_packages()
    # The forms of secrets are made at the first text, from a library that takes as long as all of ours.
    Redactor()("a text")
    _remember()
    read_checks(ROOT)
    reader.read_catalogue(known_marks=read_marks(ROOT / "markers.ini"))
    digests.differences()
    shipped_symptoms()
    for template in (ROOT / "plimsoll/present/templates").glob("*.html"):
        html._environment().get_template(template.name)
    io.Popen2IOMaster = _ForkedWorker  # type: ignore[misc]
    vars(started)["subprocess"] = forked_children()
    vars(run)["os"] = SimpleNamespace(**{**vars(os), "execve": _execute})
    vars(pages)["subprocess"] = SimpleNamespace(**{**vars(subprocess), "run": _run_replay})
    return SESSIONS


def prepare_for_rows() -> Forks:
    """The same, and what `datasets` imports of others: it reads variables, and is imported anew."""
    for module in ("pyarrow.parquet", "pandas", "multiprocess", "fsspec.implementations.local", "xxhash"):
        importlib.import_module(module)
    return _prepared()


class _Importing:
    """A plugin that imports checks while assertions are rewritten, and what each session is given by `-p`."""

    def pytest_configure(self, config: pytest.Config) -> None:
        """Once pytest has imported the plugins, conftest.py and the modules of fixtures/."""
        names = [f"acceptance.{path.stem}" for path in sorted((ROOT / "acceptance").glob("test_*.py"))]
        for name in (*names, "tests.support.plugins.shared_fork_server"):
            config.pluginmanager.rewrite_hook.mark_rewrite(name)
            importlib.import_module(name)


def _import_rewritten() -> tuple[str, ...]:
    """Import what sessions import while assertions are rewritten; the names of the modules. The session that does it
    looks at no node, for the library of a driver would stay loaded."""
    before = set(sys.modules)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with mock.patch.dict(os.environ, kept, clear=True), redirect_stdout(StringIO()) as said:
        status = pytest.main(["--markers", "-p", "no:cacheprovider"], plugins=[_Importing()])
    assert status == 0, said.getvalue()
    return tuple(
        name
        for name, module in sys.modules.items()
        if name not in before and isinstance(getattr(module, "__loader__", None), AssertionRewritingHook)
    )


def _remember() -> None:
    """Parse no text again that was parsed in this process, Python or TOML, of whichever file it is."""
    parse, loads = ast.parse, tomllib.loads
    trees: dict[tuple[Any, str], ast.Module] = {}
    tables: dict[str, bytes] = {}

    def remembered_tree(source: Any, filename: str = "<unknown>", *arguments: Any, **options: Any) -> Any:
        if arguments or options:
            return parse(source, filename, *arguments, **options)
        if (source, filename) not in trees:
            trees[source, filename] = parse(source, filename)
        return trees[source, filename]

    def remembered_tables(text: str, /, **options: Any) -> Any:
        if options:
            return loads(text, **options)
        if text not in tables:
            tables[text] = pickle.dumps(loads(text))
        return pickle.loads(tables[text])  # noqa: S301  what was pickled here

    # Only the plan reads the trees, and changes none; the tables of each reader are its own.
    vars(checks)["ast"] = SimpleNamespace(**{**vars(ast), "parse": remembered_tree})
    tomllib.loads = remembered_tables


def _remember_shipped() -> None:
    """Read the shipped catalogue once, and take the digest of each file of the suite once, for as long as they stay as
    they are. No session changes a catalogue: it makes another of it."""
    read, digest = reader.read_catalogue, digests._digest
    catalogues: list[tuple[object, Any]] = []
    taken: dict[object, str] = {}

    def remembered_catalogue(extra: Sequence[Path] = (), **options: Any) -> Any:
        if extra or options.get("shipped"):
            return read(extra, **options)
        asked = [options.get("known_marks"), *map(_state, sorted(shipped_root().rglob("*.toml")))]
        for key, catalogue in catalogues:
            if key == asked:
                return catalogue
        catalogues.append((asked, read(**options)))
        return catalogues[-1][1]

    def remembered_digest(path: Path) -> str:
        state = _state(path)
        if state not in taken:
            taken[state] = digest(path)
        return taken[state]

    vars(reader)["read_catalogue"] = remembered_catalogue
    vars(digests)["_digest"] = remembered_digest


def _state(path: Path) -> tuple[str, int, int, int]:
    """Of a file: what an edit changes."""
    found = path.stat()
    return str(path), found.st_ino, found.st_size, found.st_mtime_ns


def _remember_packages() -> None:
    """Read and parse once what the packages of this environment say of themselves: pytest and a run's evidence do so
    for each session. Packages elsewhere, such as one that a test makes, are read as ever."""
    read = PathDistribution.read_text
    texts: dict[tuple[str, str], str | None] = {}

    def remembered_text(self: PathDistribution, filename: str) -> str | None:
        place = str(vars(self)["_path"])
        if not place.startswith(sys.prefix):
            return read(self, filename)
        if (place, filename) not in texts:
            texts[place, filename] = read(self, filename)
        return texts[place, filename]

    def remembered(parse: Callable[[Distribution], Any]) -> property:
        parsed: dict[str, Any] = {}

        def answer(self: Distribution) -> Any:
            place = str(vars(self).get("_path", ""))
            if not place.startswith(sys.prefix):
                return parse(self)
            if place not in parsed:
                parsed[place] = parse(self)
            return parsed[place]

        return property(answer)

    PathDistribution.read_text = remembered_text  # type: ignore[assignment,method-assign]
    for name in ("metadata", "entry_points"):
        setattr(Distribution, name, remembered(vars(Distribution)[name].fget))
    everything_installed()


def _remember_of_plugins() -> None:
    """Have done once what plugins do in each session: pytest-benchmark starts an interpreter for the processor and
    nine times git, pytest-html compiles its page, and junit.xml has a long pattern."""
    processor = cpuinfo.get_cpu_info()
    cpuinfo.get_cpu_info = lambda: dict(processor)
    utils, plugin = (importlib.import_module(f"pytest_benchmark.{name}") for name in ("utils", "plugin"))
    html_plugin = importlib.import_module("pytest_html.plugin")
    commit, template = utils.get_commit_info, html_plugin._read_template
    commits: dict[tuple[str | None, Path], dict[str, Any]] = {}
    templates: dict[tuple[str, ...], Any] = {}

    def remembered_commit(project_name: str | None = None) -> dict[str, Any]:
        key = project_name, Path.cwd()
        if key not in commits:
            commits[key] = commit(project_name)
        return dict(commits[key])

    def remembered_template(folders: Sequence[str]) -> Any:
        key = tuple(map(str, folders))
        if key not in templates:
            templates[key] = template(folders)
        return templates[key]

    for module in (utils, plugin):
        vars(module)["get_commit_info"] = remembered_commit
    vars(html_plugin)["_read_template"] = remembered_template
    remembered_commit()
    remembered_template([str(Path(str(html_plugin.__file__)).parent / "resources")])
    junitxml.bin_xml_escape("")


def _import_library() -> None:
    """The modules that fixtures/ imports as it is imported, the commands, and what the Hub's process imports."""
    found = {f"plimsoll.commands.{path.stem}" for path in (ROOT / "plimsoll/commands").glob("*.py")}
    for path in (ROOT / "fixtures").glob("*.py"):
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("plimsoll."):
                found.add(str(statement.module))
    for module in sorted(found):
        importlib.import_module(module)
    before = set(sys.modules)
    for module in _OF_HUB:
        importlib.import_module(module)
    for name in set(sys.modules) - before:
        if name.startswith(("plimsoll.", _HUB)):
            forget(name)
