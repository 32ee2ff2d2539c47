"""Names the optional libraries, says which are missing, and gives the command that installs them.

Libraries are looked up without importing them, which takes half a second for some. The command names this checkout, or
the wheel: `plimsoll-gpu` is on no index, and the distribution `plimsoll` on the public one is another project.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import plimsoll
from plimsoll.errors import PlimsollError

DISTRIBUTION: Final = "plimsoll-gpu"
"""The distribution's name; the package to import is `plimsoll`."""
_WHEEL: Final = "plimsoll_gpu-{version}-py3-none-any.whl"
_ROOT: Final = Path(plimsoll.__file__).resolve().parents[1]


def install_command(extra: str) -> str:
    """The command that installs an extra of pyproject.toml: `pip install -e '/path/to/checkout[compare]'`."""
    if (_ROOT / "pyproject.toml").is_file():
        return f"pip install -e {_quoted(f'{_ROOT}[{extra}]')}"
    return f"pip install {_quoted(f'{_wheel()}[{extra}]')}"


def _wheel() -> str:
    """The file that this was installed from, which pip noted; where it is gone, a path to fill in."""
    # A Prolog waits for commands that miss nothing, and these take long to import.
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        found = distribution(DISTRIBUTION)
        noted = json.loads(found.read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return f"/path/of/{_WHEEL.format(version=plimsoll.__version__)}"
    url = urlsplit(str(noted.get("url", ""))) if isinstance(noted, dict) else urlsplit("")
    path = url2pathname(url.path)
    if url.scheme == "file" and path.endswith(".whl") and Path(path).is_file():
        return path
    return f"/path/of/{_WHEEL.format(version=found.version)}"


def why_missing(extra: str, purpose: str, libraries: Sequence[str], otherwise: str = "") -> str | None:
    """Which libraries `purpose` lacks, by import name, and how to install them; None where all are there. `otherwise`
    says what to do without them: `or use --similarity lexical`."""
    missing = [library for library in libraries if not is_installed(library)]
    if not missing:
        return None
    verb = "is" if len(missing) == 1 else "are"
    names = " and ".join(name.replace("_", "-") for name in missing)
    rest = f", {otherwise}" if otherwise else ""
    return f"{purpose} needs {names}, which {verb} not installed; install the extra: {install_command(extra)}{rest}"


def require(extra: str, purpose: str, libraries: Sequence[str], otherwise: str = "") -> None:
    """Raise PlimsollError with the text of `why_missing` where a library is missing."""
    if (missing := why_missing(extra, purpose, libraries, otherwise)) is not None:
        raise PlimsollError(missing)


def is_installed(library: str) -> bool:
    """Whether a library can be imported, without importing it."""
    return find_spec(library) is not None


def _quoted(text: str) -> str:
    """Quoted for a shell: brackets are patterns to some."""
    quoted = shlex.quote(text)
    return quoted if quoted != text else f"'{text}'"
