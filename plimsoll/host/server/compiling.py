"""Puts off importing torch's compiler until something is compiled.

bitsandbytes decorates four functions with `torch.compile`, and each use imports the compiler at once, which is a
quarter of what importing the whole stack takes. No load calls them where bitsandbytes has its native library.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


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
