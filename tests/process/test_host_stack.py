"""The model stack in the fork server: there for every host, clean, and never a silent fallback when it is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from plimsoll.catalogue.entries import Quantization
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.host.client import forkserver
from plimsoll.host.client.forkserver import ForkServer
from plimsoll.host.client.process import Hosts
from plimsoll.host.failures import HostError, StackImportError
from plimsoll.host.protocol import (
    Call,
    CompareAttention,
    Generate,
    Load,
    LoadSpec,
    ProveContent,
    Request,
    TellManners,
    Unload,
)
from plimsoll.host.rates import TimeGeneration
from plimsoll.host.specify import load_spec
from tests.support.forked_ranks import is_of_ranks
from tests.support.forked_stacks import BELOW, OF_THE_HUB, is_read_later

ROOT = Path(__file__).parents[2]
DEADLINE = 120.0


def call(function: str, **arguments: object) -> Call:
    return Call(target=f"tests.support.host_targets:{function}", arguments=arguments)


def test_the_stack_is_there_and_clean(hosts: Hosts, tmp_path: Path) -> None:
    host = hosts.start("one", tmp_path / "host.log")
    state = host.ask(call("stack_state"), DEADLINE)
    assert {"torch", "transformers", "accelerate", "bitsandbytes"} <= state["modules"]
    assert not state["cuda_initialized"]
    assert state["patterns"], "compiled before the fork, or each first load takes 0.13 s longer"
    assert state["sum"] == 64**3, "torch computes after the fork"
    assert state["collector"] == (True, True), "garbage is looked for, but not among what was imported"
    host.close()


def test_the_server_has_one_thread(hosts: Hosts, tmp_path: Path) -> None:
    hosts.start("one", tmp_path / "host.log").close()
    server = hosts._server
    assert isinstance(server, ForkServer)
    assert psutil.Process(server.pid).num_threads() == 1


@pytest.fixture(scope="module")
def spec(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> LoadSpec:
    """A checkpoint of 58 MB, 115 MB when loaded: enough for the memory of a host to show it. In fp32, because weights
    that are loaded as they are saved stay in the file until they are used."""
    folder = tmp_path_factory.mktemp("checkpoint")
    host = hosts.start("maker", folder / "host.log")
    sizes = {"hidden_size": 512, "intermediate_size": 4096, "num_hidden_layers": 4}
    made: dict[str, object] = {"family": "llama", "folder": folder, **sizes}
    host.ask(Call(target="tests.support.random_checkpoints:save_checkpoint", arguments=made), DEADLINE)
    asked: dict[str, object] = {"checkpoint": folder, "family": "llama", "quantization": Quantization.FP32}
    spec = host.ask(Call(target="tests.support.random_checkpoints:load_spec", arguments=asked), DEADLINE)
    host.close()
    assert isinstance(spec, LoadSpec)
    return spec


def test_the_first_load_imports_nothing_more(hosts: Hosts, spec: LoadSpec, tmp_path: Path) -> None:
    host = hosts.start("one", tmp_path / "host.log")
    before = host.ask(call("modules"), DEADLINE)
    host.ask(Load(spec=spec), DEADLINE)
    assert host.ask(call("modules"), DEADLINE) - before == set()
    host.close()


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen", "tiny-mixtral"])
def test_what_every_variant_is_asked_imports_nothing_more(
    hosts: Hosts, trained: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """Each of the many hosts of a run would import it for itself. Python's encodings are not worth a name."""
    variant = read_catalogue().variants[f"{name}/nf4"]
    host = hosts.start("one", tmp_path / "host.log")
    before = host.ask(call("modules"), DEADLINE)
    questions = ("Who?", "What is the capital of France?")
    requests: tuple[Request[Any], ...] = (
        Load(spec=load_spec(variant, str(trained[name]), None, None)),
        ProveContent(),
        Generate(questions=questions, max_new_tokens=2),
        TellManners(),
        CompareAttention(questions=questions),
        TimeGeneration(batch=1, prompt_tokens=4, new_tokens=2, rounds=1),
        Unload(),
    )
    for request in requests:
        host.ask(request, DEADLINE)
    new = host.ask(call("modules"), DEADLINE) - before
    assert [module for module in new if not module.startswith("encodings.")] == []
    host.close()


def test_unloading_returns_the_memory(hosts: Hosts, spec: LoadSpec, tmp_path: Path) -> None:
    host = hosts.start("one", tmp_path / "host.log")
    size = host.ask(Load(spec=spec), DEADLINE).inventory.stored_bytes
    with pytest.raises(HostError, match="a model is loaded already: ask Unload first"):
        host.ask(Load(spec=spec), DEADLINE)
    unloaded = host.ask(Unload(), DEADLINE)
    assert unloaded.ram_loaded - unloaded.ram_before_load > 0.9 * size
    # What stays is code of torch that was paged in, not weights.
    assert unloaded.ram_after - unloaded.ram_before_load < 0.25 * size
    host.ask(Load(spec=spec), DEADLINE)
    host.close()


def test_what_bitsandbytes_compiles_is_compiled_when_it_is_called(hosts: Hosts, tmp_path: Path) -> None:
    """torch's compiler takes a quarter of what importing the stack takes, and no load calls what it is asked for."""
    host = hosts.start("one", tmp_path / "host.log")
    state = host.ask(call("compile_late"), DEADLINE)
    assert state == {"imported before": False, "asked": [("own", {"dynamic": False})], "answers": [5, 6], "back": True}
    host.close()


def test_optimizers_that_no_host_calls_are_not_imported(hosts: Hosts, tmp_path: Path) -> None:
    """transformers imports them where scipy is installed, as it is for these tests."""
    assert find_spec("scipy.optimize") is not None
    host = hosts.start("one", tmp_path / "host.log")
    modules = host.ask(call("modules"), DEADLINE)
    assert "transformers.loss.loss_for_object_detection" in modules
    assert "scipy" in modules
    assert not [name for name in modules if name.startswith("scipy.optimize")]
    host.close()


def test_releasing_collects_cycles(hosts: Hosts, tmp_path: Path) -> None:
    host = hosts.start("one", tmp_path / "host.log")
    assert host.ask(call("release_a_cycle"), DEADLINE) is True
    host.close()


def test_threads_are_limited_where_asked(hosts: Hosts, tmp_path: Path) -> None:
    host = hosts.start("one", tmp_path / "host.log", threads=1)
    assert host.ask(call("threads"), DEADLINE) == 1
    host.close()


def test_a_tensor_does_not_bring_torch_into_the_controller(hosts: Hosts, tmp_path: Path) -> None:
    host = hosts.start("one", tmp_path / "host.log")
    with pytest.raises(
        HostError, match="which the controller cannot read without importing torch; reduce it to numbers"
    ):
        host.ask(Call(target="torch:get_default_dtype"), DEADLINE)
    assert host.ask(call("add", x=1, y=1), DEADLINE) == 2
    host.close()


def test_the_controller_never_imports_torch() -> None:
    code = (
        "import sys, tempfile, pathlib\n"
        "from plimsoll.host.client.process import Hosts\n"
        "from plimsoll.host.protocol import Call\n"
        "with tempfile.TemporaryDirectory() as folder, Hosts(stack=None) as hosts:\n"
        "    host = hosts.start('one', pathlib.Path(folder, 'host.log'))\n"
        "    print(host.ask(Call(target='torch:is_grad_enabled'), 120.0), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


@pytest.fixture(scope="module")
def watched_import(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The stack imported by a process that says which variables were looked up, and then what bitsandbytes learns of a
    GPU that torch and NVML only pretend: asking torch for it would make a CUDA context in the fork server."""
    folder = tmp_path_factory.mktemp("pretended")
    (folder / "pynvml.py").write_text(
        "nvmlInit = nvmlShutdown = lambda: None\n"
        "nvmlDeviceGetCount = lambda: 2\n"
        "nvmlDeviceGetHandleByIndex = lambda index: index\n"
        "nvmlDeviceGetCudaComputeCapability = lambda gpu: [(7, 0), (9, 0)][gpu]\n"
    )
    code = (
        "import gc, os\n"
        "gc.disable()\n"
        "asked, look_up, walk = set(), type(os.environ).__getitem__, type(os.environ).__iter__\n"
        "def noted(self, name):\n"
        "    asked.add(name)\n"
        "    return look_up(self, name)\n"
        "def unnoted(self):\n"  # who walks over all, as tqdm does for its own, looks each up and heeds few
        "    before = set(asked)\n"
        "    yield from walk(self)\n"
        "    asked.intersection_update(before | {name for name in asked if name.startswith('TQDM')})\n"
        "type(os.environ).__getitem__, type(os.environ).__iter__ = noted, unnoted\n"
        f"import importlib; [importlib.import_module(name) for name in {BELOW}]\n"
        "below = sorted(asked)\n"
        "import torch\n"
        "from plimsoll.host.server import preload\n"
        "type(os.environ).__getitem__, type(os.environ).__iter__ = look_up, walk\n"
        "print(*below, '|', *sorted(asked))\n"
        "from bitsandbytes.cuda_specs import get_cuda_specs\n"
        "def poison(device=None): raise SystemExit('CUDA was initialised')\n"
        "torch.cuda.get_device_capability = poison\n"
        "torch.cuda.is_available, torch.cuda.device_count, torch.version.cuda = (lambda: True), (lambda: 2), '13.0'\n"
        "with preload._told_by_a_child(torch):\n"
        "    print(get_cuda_specs().highest_compute_capability)\n"
        "print(torch.cuda.get_device_capability is poison)\n"
        "gc.freeze()\n"
        "get_cuda_specs()\n"
    )
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(folder), str(ROOT)]!r}\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_bitsandbytes_learns_the_compute_capability_without_cuda(
    watched_import: subprocess.CompletedProcess[str],
) -> None:
    assert watched_import.stdout.splitlines()[1:] == ["(9, 0)", "True"], watched_import.stderr
    # The last line shows that the question would have been asked of torch: when it no longer is, all this can go.
    assert watched_import.stderr.endswith("CUDA was initialised\n")


def test_servers_are_shared_by_tests_that_differ_in_what_no_import_looks_at(
    watched_import: subprocess.CompletedProcess[str],
) -> None:
    below, asked = (set(part.split()) for part in watched_import.stdout.splitlines()[0].split("|"))
    assert {"HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"} <= asked, "what is read is noted"
    assert [name for name in asked if is_read_later(name) or is_of_ranks(name)] == []
    assert {"TORCHINDUCTOR_CACHE_DIR"} <= below, "what is imported before the rest is noted"
    assert [name for name in below if name.startswith(OF_THE_HUB)] == []


def test_a_missing_module_is_one_clear_message(tmp_path: Path) -> None:
    with Hosts(stack=None, preload=["no_such_module"]) as hosts:
        for _ in range(2):
            with pytest.raises(StackImportError) as caught:
                hosts.start("one", tmp_path / "host.log")
            assert str(caught.value) == (
                "no host can be started: importing no_such_module failed: ModuleNotFoundError: "
                f"No module named 'no_such_module'; install what hosts need: pip install -e '{ROOT}[models]'"
            )


def test_a_failed_import_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = tmp_path / "tried"
    (tmp_path / "broken.py").write_text(f"open({str(tried)!r}, 'a').write('x'); raise ValueError")
    monkeypatch.syspath_prepend(tmp_path)
    with Hosts(stack=None, preload=["broken"]) as hosts:
        for _ in range(3):
            with pytest.raises(StackImportError):
                hosts.start("one", tmp_path / "host.log")
    assert tried.read_text() == "x"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "raise ImportError('libcudart.so.13: cannot open shared object file')",
            "importing broken failed: ImportError: libcudart.so.13: cannot open shared object file "
            "({folder}/broken.py:1)",
        ),
        ("raise ValueError('numpy ABI')", "importing broken failed: ValueError: numpy ABI ({folder}/broken.py:1)"),
        (
            "import os; print('the driver is too old', flush=True); os._exit(7)",
            "importing the model stack ended the process: exit code 7\nthe driver is too old",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "importing the model stack ended the process: killed by SIGKILL\n",
        ),
    ],
)
def test_a_broken_module_is_one_clear_message(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with Hosts(stack=None, preload=["broken"]) as hosts, pytest.raises(StackImportError) as caught:
        hosts.start("one", tmp_path / "host.log")
    assert str(caught.value) == "no host can be started: " + message.format(folder=tmp_path)


def test_a_broken_import_is_told_where_the_process_takes_its_time_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine: it has said why, and has not ended yet. It would not for a minute, and is killed."""
    monkeypatch.setattr(forkserver, "_STOP_LIMIT", 0.5)
    (tmp_path / "broken.py").write_text("import atexit, time\natexit.register(time.sleep, 60)\nraise ValueError('no')")
    monkeypatch.syspath_prepend(tmp_path)
    with Hosts(stack=None, preload=["broken"]) as hosts, pytest.raises(StackImportError) as caught:
        hosts.start("one", tmp_path / "host.log")
    assert "importing broken failed: ValueError: no" in str(caught.value)


def test_an_interpreter_that_does_not_start_is_told_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with its order unread."""
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    with Hosts(stack=None) as hosts, pytest.raises(StackImportError) as caught:
        hosts.start("one", tmp_path / "host.log")
    assert str(caught.value).startswith(
        "no host can be started: importing the model stack ended the process: exit code 1\n"
    )
    assert "encodings" in str(caught.value)


def test_an_import_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow.py").write_text("import time; time.sleep(3600)")
    monkeypatch.syspath_prepend(tmp_path)
    with Hosts(stack=None, preload=["slow"], import_limit=0.5) as hosts, pytest.raises(StackImportError) as caught:
        hosts.start("one", tmp_path / "host.log")
    assert str(caught.value) == "no host can be started: importing the model stack took longer than 0.5 s"


def test_hosts_in_the_workers_of_xdist(tmp_path: Path) -> None:
    """A worker of execnet has no main script, and its stdout is the line to its own controller."""
    (tmp_path / "test_worker.py").write_text(
        "import pathlib, pytest\n"
        "from plimsoll.host.client.process import Hosts\n"
        "from plimsoll.host.protocol import Call\n"
        "@pytest.mark.parametrize('number', range(4))\n"
        "def test_host(number, tmp_path, worker_id):\n"
        "    assert worker_id in ('gw0', 'gw1')\n"
        "    with Hosts(stack=None) as hosts:\n"
        "        host = hosts.start('one', tmp_path / 'host.log')\n"
        "        assert host.ask(Call(target='os:getpid'), 60.0) == host.pid\n"
    )
    arguments = ["-m", "pytest", "-n", "2", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)]
    variables = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr
