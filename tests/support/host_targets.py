"""What the tests of hosts have hosts do: answer, raise, die, hang. Runs inside a host, so it imports no pytest."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import re
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from plimsoll.errors import PlimsollError
from plimsoll.host.server.failures import LoadFailed, LoadFailure

FOREVER = 3600.0


@dataclass(frozen=True)
class Point:
    x: int
    y: int


def add(x: int, y: int) -> int:
    return x + y


def point(x: int, y: int) -> Point:
    return Point(x, y)


def fail(message: str) -> NoReturn:
    raise ValueError(message)


class MistakeError(PlimsollError):
    """Takes other arguments than it keeps, so that pickle cannot rebuild it."""

    def __init__(self, file: str, *, fix: str) -> None:
        super().__init__(f"{file}: is a pickle; {fix}")


def raise_users_mistake() -> NoReturn:
    raise LoadFailed(LoadFailure.PICKLE, "the checkpoint is a pickle; save it as safetensors")


def raise_mistake_that_cannot_be_pickled() -> NoReturn:
    raise MistakeError("model.bin", fix="save it as safetensors")


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def leave() -> NoReturn:
    sys.exit(4)


def zeros(size: int) -> bytes:
    return bytes(size)


def length(data: bytes) -> int:
    return len(data)


def unpicklable() -> Callable[[], None]:
    return lambda: None


def say(text: str) -> None:
    print(text)
    print(text.upper(), file=sys.stderr)


def warn(texts: list[str]) -> None:
    for number, text in enumerate(texts):
        logging.getLogger(f"chatty.{number % 2}").warning("%s", text)


def warn_wrongly() -> str:
    logging.getLogger("careless").warning("%d layers", "many")
    return "went on"


def die_by(number: int, text: str) -> None:
    print(text, file=sys.stderr)
    os.kill(os.getpid(), number)
    time.sleep(FOREVER)


def segfault() -> None:
    ctypes.string_at(0)


def exit_with(code: int) -> None:
    os._exit(code)


def answer_and_die() -> str:
    """The reply is sent, and the process is gone before it can be read twice."""
    serving = threading.get_ident()

    def die() -> None:
        # The reply is sent once the next request is waited for, or done already.
        while sys._current_frames()[serving].f_code.co_name not in ("receive", "sleep"):
            time.sleep(0.005)
        os._exit(5)

    threading.Thread(target=die).start()
    return "the last word"


def hang_in_python() -> None:
    time.sleep(FOREVER)


def hang_with_the_lock() -> None:
    """Holds the interpreter lock inside native code: no other thread of the host runs any more."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def hang_deaf_to_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(FOREVER)


def await_file(path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.02)
    return "it is there"


def stop_itself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(FOREVER)


def reply_garbage() -> None:
    os.write(_channel(), b"no reply at all")
    time.sleep(FOREVER)


def reply_half_and_exit() -> None:
    os.write(_channel(), struct.pack("!4sQ", b"PLMS", 1000) + bytes(10))
    os._exit(3)


def close_the_channel() -> None:
    os.close(_channel())
    time.sleep(FOREVER)


def start_children() -> list[int]:
    """One in the host's process group, one in a session of its own; both deaf to SIGTERM."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
    return [
        subprocess.Popen([sys.executable, "-c", deaf], start_new_session=own_session).pid
        for own_session in (False, True)
    ]


def threads() -> int:
    import torch

    return torch.get_num_threads()


def state() -> dict[str, object]:
    """What the host finds itself in before it has done anything."""
    import resource

    return {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "group": os.getpgrp(),
        "modules": {name.partition(".")[0] for name in sys.modules},
        "stdin": os.read(0, 1),
        "sigint": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "sigterm": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
        "sigchld": signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL,
        "name": Path("/proc/self/comm").read_text().strip(),
        "oom_score": int(Path("/proc/self/oom_score_adj").read_text()),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "descriptors": sorted(str(Path(f"/proc/self/fd/{fd}").readlink()).partition(":")[0] for fd in _descriptors()),
        "subprocess": subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True).stdout,
    }


def modules() -> set[str]:
    return set(sys.modules)


def release_a_cycle() -> bool:
    """Whether an object that refers to itself, as a model with hooks does, is gone after releasing."""
    from plimsoll.host.server import unloading

    class Model:
        def __init__(self) -> None:
            self.hook = self

    gc.disable()
    model = weakref.ref(Model())
    unloading.release()
    return model() is None


def stack_state() -> dict[str, object]:
    import torch
    from transformers import conversion_mapping

    return {
        "patterns": conversion_mapping._checkpoint_conversion_mapping_cache is not None,
        "modules": {name.partition(".")[0] for name in sys.modules},
        "cuda_initialized": torch.cuda.is_initialized(),  # type: ignore[no-untyped-call]
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "sum": float(torch.ones(64, 64).matmul(torch.ones(64, 64)).sum()),
        "collector": (gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects())),
    }


def compile_late() -> dict[str, object]:
    """Whether torch's compiler is imported, and what becomes of functions that are to be compiled meanwhile."""
    from plimsoll.host.server.putting_off import compiled_when_called

    imported = "torch._inductor.compile_fx" in sys.modules
    asked: list[tuple[str, dict[str, object]]] = []

    def compile_now(model: Callable[..., int], **options: object) -> Callable[..., int]:
        asked.append((model.__name__, options))
        return lambda *arguments: 1 + model(*arguments)

    torch = SimpleNamespace(compile=compile_now)
    with compiled_when_called(torch):

        @torch.compile(dynamic=False)  # type: ignore[untyped-decorator]
        def own(number: int) -> int:
            return number

        if asked:
            raise AssertionError("compiled before it was called")
    answers = [own(4), own(5)]
    return {"imported before": imported, "asked": asked, "answers": answers, "back": torch.compile is compile_now}


def _descriptors() -> list[int]:
    found = []
    for link in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # the one that listed the folder is closed by now
            os.fstat(int(link.name))
            found.append(int(link.name))
    return found


def _channel() -> int:
    (channel,) = (fd for fd in _descriptors() if stat.S_ISSOCK(os.fstat(fd).st_mode))
    return channel


def spin_politely() -> NoReturn:
    """Work for ever, and let everybody else go first."""
    os.nice(19)
    while True:
        pass


def sleep_politely() -> None:
    """Work for a moment, for which it has to wait where others are busy, and hang for ever."""
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    os.nice(19)
    time.sleep(FOREVER)


def add_too_much(what: float) -> None:
    """Let this host's part of every sum over ranks be off by so much in its first number."""
    import torch.distributed as dist

    sound: Any = dist.all_reduce

    def faulty(values: Any, *arguments: Any, **options: Any) -> Any:
        values[0] += what
        return sound(values, *arguments, **options)

    dist.all_reduce = faulty  # type: ignore[assignment]
