"""Puts off what the model stack imports and hardly anybody calls, until somebody does.

bitsandbytes decorates four functions with `torch.compile`, and each use imports the compiler at once, which is a
quarter of what importing the whole stack takes. No load calls them where bitsandbytes has its native library.
Where scipy is installed, transformers imports its optimizers, a fifteenth, for models that find objects in pictures.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

_LOSSES: Final = "transformers.loss.loss_utils"
_OPTIMIZERS: Final = ("scipy.optimize", "linear_sum_assignment")
"""What some of the losses want, those for objects in pictures."""


def import_losses() -> None:
    """Import the losses of transformers without scipy's optimizers; to be called before anything that imports them.
    What is wrong with them, whoever needs them hears."""
    with imported_when_called(*_OPTIMIZERS), suppress(ImportError):
        importlib.import_module(_LOSSES)


@contextmanager
def compiled_when_called(torch: Any) -> Iterator[None]:
    """Meanwhile `torch.compile` compiles when what it was given is called for the first time. `torch` is the module."""
    compile_now = torch.compile

    def put_off(model: Any = None, **options: Any) -> Any:
        if model is None:
            return functools.partial(put_off, **options)

        @functools.cache
        def compiled() -> Any:
            return compile_now(model, **options)

        @functools.wraps(model)
        def call(*arguments: Any, **named: Any) -> Any:
            return compiled()(*arguments, **named)

        return call

    torch.compile = put_off
    try:
        yield
    finally:
        torch.compile = compile_now


@contextmanager
def imported_when_called(module: str, function: str) -> Iterator[None]:
    """Meanwhile `from module import function` gives a function that imports the module when it is called. Whoever asks
    the module for anything else has it imported at once."""
    spec = None if module in sys.modules else _spec(module)
    if spec is None:
        yield
        return

    def real() -> Any:
        if sys.modules.get(module) is stand_in:
            del sys.modules[module]
        return importlib.import_module(module)

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(real(), function)(*arguments, **named)

    def other(name: str) -> Any:
        if name.startswith("__"):  # an import itself asks for these
            raise AttributeError(name)
        return getattr(real(), name)

    stand_in = ModuleType(module)
    vars(stand_in).update({function: call, "__getattr__": other})
    if spec.submodule_search_locations is not None:
        stand_in.__path__ = spec.submodule_search_locations
    sys.modules[module] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(module) is stand_in:
            del sys.modules[module]


def _spec(module: str) -> ModuleSpec | None:
    """None where there is no such module, or what it is part of is missing or broken."""
    try:
        return find_spec(module)
    except ImportError:
        return None
