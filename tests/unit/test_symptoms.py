"""The table of symptoms: which rule fires, which does not, what a user's table may hold, and the page made from it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from plimsoll.catalogue.entries import Symptom
from plimsoll.catalogue.health import read_health
from plimsoll.catalogue.reader import read_catalogue
from plimsoll.errors import CatalogueError
from plimsoll.gate.hub import _CODES
from plimsoll.gate.skip import SkipCode
from plimsoll.host.failures import HostTimeout
from plimsoll.hub.access import Reply
from plimsoll.node import driver
from plimsoll.node.cgroup import group_kills
from plimsoll.symptoms import page
from plimsoll.symptoms.recognise import PAGE, Diagnosis, Seen, recognise, told_by
from plimsoll.symptoms.shipped import shipped_symptoms
from plimsoll.symptoms.surroundings import Surroundings, surroundings_of
from plimsoll.usertoml.phrases import PhraseError, phrase

ROOT = Path(__file__).parents[2]
BARE = Surroundings()


def ids(text: str, **evidence: object) -> list[str]:
    return [each.symptom for each in recognise(Seen(text=text, evidence=evidence), place=BARE)]


def catalogue(tmp_path: Path, text: str) -> tuple[Symptom, ...]:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return read_catalogue([path]).symptoms


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(CatalogueError) as caught:
        catalogue(tmp_path, text)
    return [str(fault).removeprefix(f"{tmp_path}/") for fault in caught.value.faults]


MINE = """\
[[symptom]]
id = "scratch-full"
title = "The scratch disk is full"
cause = "scratch holds 2 TB for all"
next = "run scratch-clean"
see = "https://wiki.example.org/scratch"
explains = ["disk-full"]
[[symptom.sign]]
message = ["No space left on device: '/scratch/{path}'"]
cause = "/scratch/{path} found no room"
"""


# Which rule fires ---------------------------------------------------------------------------------------------------


def test_the_most_specific_of_two_rules_for_one_line_is_told() -> None:
    assert ids("ImportError: Using SOCKS proxy, but the 'socksio' package is not installed.") == ["proxy"]
    assert ids("OSError: [Errno 28] No space left on device: 'model.safetensors' is truncated") == ["disk-full"]


def test_a_consequence_is_not_told_beside_its_cause() -> None:
    text = (
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been OOM Killed.\n"
        "the host of llama/bf16 died 3 s into Load: killed by SIGKILL\n"
        "last lines of host.log:\n  Cannot allocate memory\n"
    )
    assert ids(text) == ["group-memory"]
    assert ids("the host of llama/bf16 died 3 s into Load: killed by SIGKILL") == ["killed"]


def test_two_faults_on_two_lines_are_both_told() -> None:
    text = "No module named 'flash_attn'\nOSError: [Errno 28] No space left on device"
    assert ids(text) == ["disk-full", "missing-package"]


def test_a_last_resort_counts_only_where_nothing_better_was_found() -> None:
    driver_ = "has driver 535.54, which supports CUDA up to 12.2, needs a driver for CUDA 13"
    assert ids(driver_, skip="package") == ["driver-too-old"]
    assert ids("has no bitsandbytes, needs bitsandbytes>=0.48", skip="package") == ["missing-package"]


@pytest.mark.parametrize(
    ("text", "symptom", "step"),
    [
        ("OSError: libcuda.so.1: cannot open shared object file: No such file", "no-gpu", "`nvidia-smi`"),
        ("ImportError: flash_attn_2_cuda.so: undefined symbol: _ZN3c105Error", "missing-library", "for the torch"),
        ("in the checkpoint, but nowhere in the model: lm.weight", "new-weights", "use the config.json"),
        ("ImportError: libGL.so.1: cannot open shared object file: No such file", "missing-library", "`ldd`"),
        ("requests: [Errno 111] Connection refused", "offline", "connect the node"),
        ("Illegal instruction (core dumped)", "illegal-instruction", "install wheels"),
        ("OSError: [Errno 5] Input/output error: 'model.safetensors'", "disk-broken", "look with `dmesg`"),
        ("OSError: [Errno 116] Stale file handle: '/mnt/model.safetensors'", "disk-broken", "mount the file server"),
        (
            "ValueError: Tokenizer class Qwen9Tokenizer does not exist or is not currently imported.",
            "too-old",
            "install the release that `transformers_version`",
        ),
    ],
)
def test_what_looks_alike_has_the_step_that_is_right(text: str, symptom: str, step: str) -> None:
    (found,) = recognise(Seen(text=text), place=BARE)
    assert found.symptom == symptom
    assert step in found.next


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "torch.AcceleratorError: CUDA error: misaligned address",
        "torch.AcceleratorError: CUDA error: an illegal instruction was encountered",
        "RuntimeError: CUDA error: unspecified launch failure",
        "Search for `cudaErrorIllegalAddress' in the CUDA runtime's documentation",
        "RuntimeError: HIP error: an illegal memory access was encountered",
        "RuntimeError: HIP error: hipErrorIllegalAddress",
        "Triton Error [CUDA]: CUDA_ERROR_ILLEGAL_ADDRESS",
        "Memory access fault by GPU node-2 on address 0x7f. Reason: Page not present or supervisor privilege.",
    ],
)
def test_a_fault_of_a_kernel_is_told_with_the_way_to_its_operation(line: str) -> None:
    asked = (
        "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
        "incorrect.\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\nAborted (core dumped)"
    )
    xid = "[71.6] NVRM: Xid (PCI:0000:3b:00): 31, pid=1234, name=python, Ch 00000008, intr 00000000. MMU Fault"
    [found] = recognise(Seen(text=f"{line}\n{asked}\n{xid}"), place=BARE)
    assert (found.symptom, found.seen) == ("cuda-fault", line)
    assert "CUDA_LAUNCH_BLOCKING=1" in found.next


@pytest.mark.parametrize("name", ["CUDA error: device-side assert triggered", "cudaErrorAssert", "hipErrorAssert"])
def test_an_assertion_of_a_kernel_is_told_as_an_index(name: str) -> None:
    said = "Indexing.cu:1289: block: [0,0,0], thread: [0,0,0] Assertion `srcIndex < srcSelectDimSize` failed."
    for text in (name, said, f"{said}\n{name}\nNVRM: Xid (PCI:0000:3b:00): 43, pid=1, name=python, Ch 00000008"):
        assert ids(text) == ["tokenizer-mismatch"]


CONNECT = "socketStartConnect: Connect to 10.0.0.7<41111> failed : Connection refused"
NCCL = (
    "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1970, {} "
    "(run with NCCL_DEBUG=INFO for details), NCCL version 2.21.5\n{}\nLast error:\n{}"
)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (NCCL.format("unhandled system error", "ncclSystemError: x", CONNECT), "a socket"),
        (
            NCCL.format("unhandled system error", "x", "Connect to 10.0.0.7<41111> failed : No route to host"),
            "a socket",
        ),
        (NCCL.format("unhandled cuda error", "ncclUnhandledCudaError: Call to CUDA failed.", "x"), "call to CUDA"),
        (NCCL.format("internal error", "ncclInternalError: Internal check failed.", "x"), "does not expect"),
        (NCCL.format("remote process exited or there was a network error", "x", "x"), "another rank ended"),
        ("RuntimeError: NCCL Error 2: unhandled system error", "a socket"),
        ("RuntimeError: NCCL error: unhandled cuda error", "call to CUDA"),
        ("ncclRemoteError: A call failed possibly due to a network error", "another rank ended"),
        (
            "[rank3]:[E1120 ProcessGroupNCCL.cpp:616] [Rank 3] Watchdog caught collective operation timeout: "
            "WorkNCCL(SeqNum=5, OpType=ALLREDUCE) ran for 600029 milliseconds\nFatal Python error: Aborted",
            "waited for the others",
        ),
    ],
)
def test_what_nccl_says_is_told_as_such_with_the_way_to_its_first_warning(text: str, cause: str) -> None:
    [found] = recognise(Seen(text=text), place=BARE)
    assert found.symptom == "nccl"
    assert cause in found.cause
    assert "NCCL_DEBUG=INFO" in found.next
    slurm = recognise(Seen(text=text), place=Surroundings(slurm=True, container=True))[0].next
    assert "srun" in slurm
    assert "NCCL_DEBUG=INFO" in slurm


@pytest.mark.parametrize(
    ("last", "symptom"),
    [
        ("Cuda failure 2 'out of memory'", "gpu-memory"),
        ("Cuda failure 700 'an illegal memory access was encountered'", "cuda-fault"),
        ("Cuda failure 802 'system not yet initialized'", "fabric"),
        (
            "Error: failed to extend /dev/shm/nccl-8cW to 33030532 bytes, error: No space left on device (28)",
            "bus-error",
        ),
        ("Error while creating shared memory segment /dev/shm/nccl-8cW (size 9637888)", "bus-error"),
        ("NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.", "xid-hardware"),
    ],
)
def test_what_made_nccl_fail_is_told_in_its_place(last: str, symptom: str) -> None:
    assert ids(NCCL.format("unhandled cuda error", "ncclUnhandledCudaError: Call to CUDA failed.", last)) == [symptom]
    assert ids(f"gpu01:77:99 [0] NCCL WARN {last}") == [symptom]


def test_a_warning_of_nccl_counts_only_where_nothing_else_was_recognised() -> None:
    for warning in ("NET/Plugin: none found", "Call to connect to 10.0.0.7 returned No route to host", CONNECT):
        [found] = recognise(Seen(text=f"gpu01:77:99 [0] NCCL WARN {warning}"), place=BARE)
        assert found.symptom == "nccl-warning"
        assert "NCCL_DEBUG=INFO" in found.next
    for other, symptom in (
        ("the host of x died: killed by SIGKILL", "killed"),
        ("Segmentation fault (core dumped)", "crashed"),
        ("nothing moved for 600 s, so it was ended", "hang"),
        ("requests: [Errno 111] Connection refused", "offline"),
        ("RuntimeError: NCCL error: unhandled cuda error", "nccl"),
    ):
        assert ids(f"NCCL WARN NET/Plugin: none found\n{other}") == [symptom]


_SLURM = "slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-01T00:00:00 "


@pytest.mark.parametrize(
    ("text", "symptom", "words"),
    [
        ("pod-0   0/1   OOMKilled   0   12m", "group-memory", "may use less memory"),
        ("12_0  pytest  gpu  acct  8 OUT_OF_ME+    0:125", "group-memory", "ask for more with --mem"),
        ("JobState=OUT_OF_MEMORY Reason=OutOfMemory", "group-memory", "ask for more with --mem"),
        ("cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY: out of memory", "gpu-memory", "nvidia-smi"),
        (f"{_SLURM}DUE TO TIME LIMIT ***", "time-limit", "--resume=RUN"),
        ("12   pytest   gpu   acct   8    TIMEOUT      0:0", "time-limit", "--resume=RUN"),
        ("12|pytest|gpu|acct|8|TIMEOUT|0:0", "time-limit", "more time"),
        ("Slurm Job_id=12 Name=x Failed, Run time 00:30:11, TIMEOUT, ExitCode 0", "time-limit", "more time"),
        ("Slurm Job_id=12 Name=x Failed, Run time 00:01:00, NODE_FAIL, ExitCode 0", "taken-off", "scontrol show node"),
        ("reason: DeadlineExceeded", "time-limit", "more time"),
        ("Job was active longer than specified deadline", "time-limit", "more time"),
        (f"{_SLURM}DUE TO PREEMPTION ***", "taken-off", "higher priority"),
        (f"{_SLURM}DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***", "taken-off", "scontrol show node"),
        (f"{_SLURM}***", "terminated", "who ended it"),
        ("The node was low on resource: memory. Threshold quantity: 100Mi", "taken-off", "too little memory left,"),
        ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3", "no-node", "device plugin"),
        ("0/9 nodes are available: 9 Insufficient memory.", "no-node", "kubectl describe pod"),
        ("0/2 nodes are available: 2 node(s) had untolerated taint {gpu: }.", "no-node", "toleration of {gpu: }"),
        ('Back-off pulling image "x": ImagePullBackOff', "image", "imagePullSecrets"),
        ('could not select device driver "" with capabilities: [[gpu]].', "container-gpu", "nvidia-ctk runtime"),
        (
            "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared",
            "container-gpu",
            "no libnvidia-ml.so.1",
        ),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded", "container-gpu", "not loaded"),
        ("nvidia-container-cli: device error: 9: unknown device: unknown", "container-gpu", "have 9,"),
        ("setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all", "container-gpu", "nvidia-ctk cdi"),
    ],
)
def test_what_batch_systems_and_container_engines_say_is_known(text: str, symptom: str, words: str) -> None:
    (found,) = recognise(Seen(text=text), place=BARE)
    assert found.symptom == symptom
    assert words in f"{found.cause}; {found.next}"


def test_a_packed_layer_that_the_processor_does_not_take_is_named() -> None:
    said = "AssertionError: N must be divisible by block_n"
    [found] = recognise(Seen(text=f"lm_head: Linear4bit 24 x 64 nf4 does not compute: {said}"), place=BARE)
    assert found.symptom == "packed-on-cpu"
    assert found.cause.startswith("the layer has 24 outputs and 64 inputs: ")
    assert "llm_int8_skip_modules" in found.next
    traceback = f'  File "functional.py", line 1696, in _convert\n    assert N % block_n == 0, "{said[16:]}"\n{said}'
    assert ids(traceback) == ["packed-on-cpu"]


def test_a_packed_layer_whose_inputs_fill_no_block_is_named() -> None:
    """The statistics of its blocks do not divide into rows: 16 of 32 rows with 32 columns each."""
    said = "RuntimeError: shape '[32, 0]' is invalid for input of size 16"
    [found] = recognise(Seen(text=f"fc1.weight: Linear4bit 32 x 32 nf4 does not compute: {said}"), place=BARE)
    assert found.symptom == "packed-on-cpu"
    assert found.cause.startswith("the layer has 32 outputs and 32 inputs: ")
    called = '  File "modules.py", line 620, in forward\n    self.weight.data, quant_state = '
    assert ids(f"{called}_convert_weight_packed_for_cpu(self.weight.data, quant_state)\n{said}") == ["packed-on-cpu"]
    assert ids(f'  File "modeling.py", line 620, in forward\n    x.view(32, 0)\n{said}') == []


# Xids ---------------------------------------------------------------------------------------------------------------


def xid(code: int, text: str = "pid='<unknown>', name=<unknown>") -> str:
    return f"[111.111] NVRM: Xid (PCI:0000:3b:00): {code}, {text}"


CLASSES = {
    "hardware": "xid-hardware",
    "reset": "xid-reset",
    "application": "xid-application",
    "informational": "xid-informational",
    "recovery action": "xid-recovery",
}


def test_every_xid_is_told_as_its_class_says() -> None:
    rules = read_health()
    assert {each.name for each in rules.xids} == set(CLASSES)
    for each in rules.xids:
        for code in each.codes:
            [found] = recognise(Seen(text=xid(code)), place=BARE)
            assert found.symptom == CLASSES[each.name], code
            assert f"Xid {code} " in found.cause
            if each.fails:
                assert found.next == rules.actions[each.action]
                inside = recognise(Seen(text=xid(code)), place=Surroundings(container=True))
                assert inside[0].next == f"on the host: {rules.actions[each.action]}"
            else:
                assert not re.search("out of service|drain|RMA", found.next), code


def test_every_sign_of_one_xid_is_of_the_class_that_the_rules_put_it_in() -> None:
    rules = read_health()
    told = {}
    for symptom in shipped_symptoms():
        for sign in symptom.signs:
            if "code" in sign.evidence:
                code = int(sign.evidence["code"])
                known = rules.xid(code)
                told[code] = sign.evidence["xid"]
                assert told[code] == ("unknown" if known is None else known.name), code
    assert {13, 31, 43, 45, 48, 61, 62, 63, 64, 69, 74, 79, 92, 94, 95, 119, 120} <= set(told)


@pytest.mark.parametrize(("code", "words"), [(63, "remapped"), (64, "could not be remapped"), (94, "contained to one")])
def test_an_xid_of_memory_says_what_became_of_the_row(code: int, words: str) -> None:
    [found] = recognise(Seen(text=xid(code)), place=BARE)
    assert words in found.cause


def test_an_xid_in_no_class_is_said_to_be_unknown_and_where_it_is_looked_up() -> None:
    for code in (14, 61):
        [found] = recognise(Seen(text=xid(code)), place=BARE)
        assert found.symptom == "xid-unknown"
        assert found.next.startswith(f"look up Xid {code} in NVIDIA's XID Errors")


def test_the_gravest_of_some_xids_is_told_with_its_own_line() -> None:
    text = "\n".join([xid(31, "MMU Fault"), xid(45), xid(48, "DBE"), xid(63)])
    [found] = recognise(Seen(text=text), place=BARE)
    assert (found.symptom, found.seen) == ("xid-hardware", xid(48, "DBE"))
    assert ids(f"{xid(31)}\n{xid(45)}") == ["xid-application"]
    assert ids(f"{xid(45)}\n{xid(14)}") == ["xid-informational", "xid-unknown"]


def test_what_the_driver_asks_for_is_read_from_its_line() -> None:
    text = xid(154, "GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)")
    [found] = recognise(Seen(text=text), place=BARE)
    assert found.symptom == "xid-recovery"
    assert found.cause.endswith("the driver asks for 0x4 (Drain and Reset)")


@pytest.mark.parametrize(
    "text",
    [
        "Xid 79",
        "XID error 79",
        "NVRM: Xid (0000:03:00): 79, x",
        "GPU 3 (GPU-4d3e): Xid 79 (hardware), told by NVML [NVIDIA, XID Errors; peers disagree on 95]; action: drain",
    ],
)
def test_an_xid_is_read_as_the_kernel_and_as_reports_write_it(text: str) -> None:
    [found] = recognise(Seen(text=text), place=BARE)
    assert (found.symptom, found.cause.partition(" (")[0]) == ("xid-hardware", "Xid 79")


def test_a_gpu_that_left_the_bus_without_a_number_is_broken() -> None:
    assert ids("NVRM: fallen off the bus and is not responding to commands.") == ["gpu-broken"]


def test_what_stood_in_a_hole_is_named() -> None:
    [found] = recognise(Seen(text="E   ModuleNotFoundError: No module named 'flash_attn'"), place=BARE)
    assert found.cause == "there is no flash_attn in this environment"
    assert "flash_attn" in found.next
    assert found.seen == "E   ModuleNotFoundError: No module named 'flash_attn'"
    assert found.anchor == f"{PAGE}#missing-package"


def test_an_exception_is_recognised_by_its_class_its_bases_and_its_cause() -> None:
    class OddMemoryError(MemoryError):
        pass

    error = RuntimeError("the load came to nothing")
    error.__cause__ = OddMemoryError()
    assert [each.symptom for each in recognise(Seen.of(error))] == ["ram"]


def test_a_cause_that_was_suppressed_is_no_part_of_an_exception() -> None:
    error = RuntimeError("something else")
    error.__context__ = MemoryError()
    assert [each.symptom for each in recognise(Seen.of(error))] == ["ram"]
    error.__suppress_context__ = True
    assert recognise(Seen.of(error)) == ()


def test_a_group_of_errors_is_seen_with_its_members() -> None:
    error = ExceptionGroup("errors while tearing down", [ValueError("no"), OSError(28, "No space left on device")])
    assert [each.symptom for each in recognise(Seen.of(error))] == ["disk-full"]


def test_values_that_pytest_compared_are_no_symptom() -> None:
    compared = "\nassert 'Connection refused' == 'Paris'"
    assert recognise(Seen.of(AssertionError(f"the answer is wrong{compared}"))) == ()
    assert [each.symptom for each in recognise(Seen.of(AssertionError(f"Network is unreachable{compared}")))] == [
        "offline"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "died: killed by SIGKILL",
        "died with <Signals.SIGKILL: 9>.",
        "exited with code -9",
        "exit code 137",
        "Exit Code:137",
        "Exited (137) 3 minutes ago",
        "exit status 137",
        "      Exit Code:    137",
        '"ExitCode": 137,',
        "make: *** [Makefile:12: tiny] Error 137",
        "command terminated with exit code 137",
        "The command '/bin/sh -c x' returned a non-zero code: 137",
        "Killed",
        "  Killed\n",
        "pytest started\nKilled: 9",
        "Killed   python -m pytest -m gpu8b",
        "Killed python3.11 -m pytest .",
        "Killed                  ./run-all --tier gpu8b",
        "run.sh: line 3:  1234 Killed                  python -m pytest",
        "[1]+  Killed                  python -m pytest",
        "zsh: killed     python -m pytest",
        "make: *** [Makefile:12: tiny] Killed",
        "srun: error: gpu01: task 0: Killed",
    ],
)
def test_a_signal_is_read_from_words_about_an_end(text: str) -> None:
    assert ids(text) == ["killed"]


def test_a_process_that_the_kernel_ended_is_told_as_memory() -> None:
    [found] = recognise(Seen(text="[9.1] Out of memory: Killed process 41 (python) total-vm:1kB\nKilled"), place=BARE)
    assert found.symptom == "ram"
    assert found.cause.endswith("the kernel ended process 41 (python)")
    assert ids("Memory cgroup out of memory: Killed process 41 (python) total-vm:1kB\nKilled") == ["group-memory"]


NOTICE = (
    "Failed to load CPU gemm_4bit_forward from kernels-community: No module named 'kernels'. Please make sure you "
    "already `pip install kernels` and the kernels >= 0.11.1"
)


@pytest.mark.parametrize("between", ["\n", " "], ids=["a line of its own", "the same line"])
def test_a_notice_of_what_goes_on_without_is_no_cause_of_the_end(between: str) -> None:
    """It stands in the log of every host on many processors, and turned each end into a package that is missing."""
    text = f"importing the model stack ended the process: killed by SIGKILL{between}{NOTICE}"
    assert ids(text) == ["killed"]
    assert ids(f"{NOTICE}\nModuleNotFoundError: No module named 'accelerate'") == ["missing-package"]


def test_the_name_of_an_exception_in_a_sentence_is_none() -> None:
    assert ids("the docs of MemoryError say more") == []
    assert ids("MemoryError") == ["ram"]
    assert ids("Load raised torch.OutOfMemoryError in the host of x: nothing more") == ["gpu-memory"]


def test_the_next_step_is_right_for_the_place() -> None:
    seen = Seen(signal="SIGKILL")
    by_place = {
        name: recognise(seen, place=Surroundings(**{name: True}))[0].next
        for name in ("container", "kubernetes", "slurm")
    }
    assert "sacct" in by_place["slurm"]
    assert "kubectl" in by_place["kubernetes"]
    assert "docker inspect" in by_place["container"]
    assert recognise(seen, place=BARE)[0].next == "see `dmesg`"
    assert "sacct" in recognise(seen, place=Surroundings(container=True, slurm=True))[0].next


def test_surroundings_are_read_from_variables_and_files(tmp_path: Path) -> None:
    assert surroundings_of({}, tmp_path) == BARE
    (tmp_path / ".dockerenv").touch()
    assert surroundings_of({}, tmp_path) == Surroundings(container=True)
    assert surroundings_of({"SLURM_JOB_ID": "7", "APPTAINER_CONTAINER": "x.sif"}) == Surroundings(
        slurm=True, container=True
    )
    assert surroundings_of({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).names == ("kubernetes",)


# No rule fires on healthy text ---------------------------------------------------------------------------------------


def test_no_rule_fires_on_the_words_of_another() -> None:
    """Causes and steps are printed into the texts that are read again: by who explains a log of ours."""
    for symptom in shipped_symptoms():
        own = [symptom.cause, symptom.next, symptom.title, *symptom.next_in.values()]
        own += [text for sign in symptom.signs for text in (sign.cause, sign.next)]
        for text in own:
            assert set(ids(text)) <= {symptom.id}, text


@pytest.mark.parametrize("path", sorted(ROOT.glob("tests/support/recorded/healthy/*")), ids=lambda path: path.name)
def test_no_rule_fires_on_the_logs_of_healthy_runs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) > 200
    assert ids(text) == []


def test_there_are_logs_of_healthy_runs() -> None:
    assert {path.name for path in ROOT.glob("tests/support/recorded/healthy/*")} == {"terminal.txt", "summary.md"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("tests/support/recorded/*.json")), ids=lambda path: path.name)
def test_no_rule_fires_on_what_is_read_of_a_healthy_node(path: Path) -> None:
    assert ids(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "Setting `pad_token_id` to `eos_token_id`:2 for open-end generation.",
        "`torch_dtype` is deprecated! Use `dtype` instead!",
        "Loading checkpoint shards: 100%|##########| 3/3 [00:01<00:00,  2.51it/s]",
        "Fetching 12 files: 100%|##########| 12/12 [00:00<00:00]",
        "[rank0] NCCL INFO NCCL watchdog thread started, timeout 600000 ms",
        "The prompt is truncated to its last 512 tokens.",
        "NVIDIA-SMI 580.65.06    Driver Version: 580.65.06    CUDA Version: 13.0",
        "oom 0\noom_kill 0\nmemory.max max",
        "Job 7 COMPLETED, exit code 0:0, MaxRSS 41 GB of 64 GB, killed 0 processes",
        "12   pytest   gpu   acct   8   COMPLETED      0:0",
        "JobState=COMPLETED Reason=None TimeLimit=01:00:00 DeadlineTime=Unknown",
        "3/3 nodes are available, nvidia.com/gpu: 8 allocatable",
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        "Warning: You are sending unauthenticated requests to the HF Hub.",
        "flash_attn is not installed, falling back to sdpa as asked",
        "INFO: No module named 'flash_attn'; falling back to sdpa",
        "cannot import the optional dependency triton: No module named 'triton' (ignored)",
        "Could not load dynamic library 'libnvinfer.so.7'; dlerror: libnvinfer.so.7: cannot open shared object file",
        NOTICE,
        "vocab_size 32000, sliding_window 4096, max_position_embeddings 32768",
        "[c10d] The client socket has failed to connect to (node-7, 29500): Connection refused",
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1",
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
        "NCCL version 2.21.5+cuda12.4",
        "Question: Who was Killed in Dallas in 1963?",
        "Killed in action in 1916",
        "Killed  by a bear",
        "Killed two birds with one stone",
        "He took exit 5 of the highway, 137 miles on",
        "a transaction with xid 748 was wrapped around, and XID Errors 3 names it",
        "NVRM: Xid error: xyz, invalid data",
        "GPU 0: no Xid since the node was started 79 hours ago",
        "64 must be divisible by 32, and N by 8",
        "RuntimeError: shape '[24, 0]' is invalid for input of size 32",
        "ValueError: a prompt with at least one token is required",
    ],
)
def test_no_rule_fires_on_what_sound_software_says_all_day(line: str) -> None:
    assert ids(line) == []


def test_nothing_is_guessed_of_what_is_not_known() -> None:
    assert ids("") == []
    assert ids("Traceback (most recent call last):\nValueError: frobnication of the 7th kind") == []


def test_a_deadline_that_was_missed_for_want_of_time_is_no_hang() -> None:
    told: dict[str, Any] = {"host": "x", "request": "Load", "seconds": 9.0, "log": Path("x.log"), "deadline": 9.0}
    missed = HostTimeout(**told, stack=None, ending="ended", exitcode=None, signal="SIGKILL", last_lines=())
    assert [each.symptom for each in recognise(missed.seen(), place=BARE)] == ["hang"]
    missed.starved = "it had 3 % of a processor"
    assert [each.symptom for each in recognise(missed.seen(), place=BARE)] == ["busy"]


# Bounds -------------------------------------------------------------------------------------------------------------


def test_of_a_long_text_beginning_and_end_are_looked_at() -> None:
    filler = "a line that says nothing\n" * 100_000
    assert ids(f"CUDA out of memory\n{filler}") == ["gpu-memory"]
    assert ids(f"{filler}CUDA out of memory") == ["gpu-memory"]
    assert ids(f"{filler}CUDA out of memory\n{filler}") == []


def test_a_text_and_a_phrase_that_are_made_to_be_slow_come_to_an_end(tmp_path: Path) -> None:
    """As a regular expression, nine holes in a line of one letter would be tried in too many ways."""
    mine = MINE.replace("No space left on device: '/scratch/{path}'", "{}".join(["aaaa"] * 10) + " {path} b")
    text = "\n".join(["a" * 2_000] * 50)
    assert recognise(Seen(text=text), catalogue(tmp_path, mine)) == ()


def test_a_long_line_is_cut() -> None:
    assert ids("x" * 5_000 + "CUDA out of memory") == []


# Phrases ------------------------------------------------------------------------------------------------------------


def test_a_phrase_is_found_within_a_line_with_what_stands_in_its_holes() -> None:
    found = phrase("has shape ({stored}), and wants ({asked})").find("W.q has Shape (2, 3), and wants (4)")
    assert found == {"stored": "2, 3", "asked": "4"}
    assert phrase("No module named '{name}'").find("no module of that name") is None
    assert phrase("found version {version}").find("(found version 11040") == {"version": "11040"}


def test_a_line_with_a_phrase_of_unless_does_not_count() -> None:
    library = "libcudart.so.13: cannot open shared object file: No such file or directory"
    probed = "no NVIDIA driver is installed (libnvidia-ml.so.1: cannot open shared object file: No such file)"
    assert ids(library) == ["missing-library"]
    assert ids(probed) == []
    assert ids(f"{probed}\n{library}") == ["missing-library"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{name} is not there", "begins with a hole"),
        ("from {a}{b} on", "two holes side by side"),
        ("a { alone", "a brace that is no hole"),
        ("- {x}", "fewer than 4 letters"),
        ("two\nlines of it", "several lines"),
        ("x" * 301, "301 characters"),
    ],
)
def test_what_is_no_phrase_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(PhraseError, match=re.escape(why)):
        phrase(text)


# Symptoms of a user's ------------------------------------------------------------------------------------------------


def test_a_users_symptom_is_told_before_the_shipped_ones(tmp_path: Path) -> None:
    text = "OSError: [Errno 28] No space left on device: '/scratch/me/model'"
    assert ids(text) == ["disk-full"]
    [found] = recognise(Seen(text=text), catalogue(tmp_path, MINE))
    assert (found.symptom, found.cause) == ("scratch-full", "/scratch/me/model found no room")
    assert found.anchor == "https://wiki.example.org/scratch"


def test_a_users_symptom_without_a_page_names_its_place_in_the_file(tmp_path: Path) -> None:
    mine = MINE.replace('see = "https://wiki.example.org/scratch"\n', "")
    [found] = recognise(Seen(text="no space left on device: '/scratch/x'"), catalogue(tmp_path, mine))
    assert found.anchor.endswith("mine.toml: symptom[0]")


def test_a_file_of_symptoms_alone_changes_no_limit(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    assert read_catalogue([path]).limits_are_shipped
    path.write_text(MINE + '\n[[statement]]\nmodels = ["tiny-llama"]\nsays = "x"\nsource = "y"\n')
    assert not read_catalogue([path]).limits_are_shipped


def test_a_shipped_symptom_can_be_replaced(tmp_path: Path) -> None:
    mine = MINE.replace('"scratch-full"', '"disk-full"').replace('explains = ["disk-full"]', "replaces = true")
    known = catalogue(tmp_path, mine)
    assert [each.id for each in known].count("disk-full") == 1
    assert len(known) == len(shipped_symptoms())


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (("title =", "titel ="), "line 3, symptom[0].titel: unknown key 'titel'; did you mean 'title'?"),
        (('message = ["No', 'message = ["{x} No'), "line 9, symptom[0].sign[0].message[0]: begins with a hole"),
        (("found no room", "{who} found no room"), "line 10, symptom[0].sign[0].cause: {who} is no hole"),
        (('explains = ["disk-full"]', 'explains = ["disk-ful"]'), "line 7, symptom[0].explains[0]: unknown symptom"),
        (("message = [", "mesage = ["), "line 9, symptom[0].sign[0].mesage: unknown key 'mesage'"),
        (('id = "scratch-full"', 'id = "disk-full"'), "line 1, symptom[0]: symptom 'disk-full' is declared already"),
        (('next = "run scratch-clean"', "next = 7"), "line 5, symptom[0].next: must be text, not 7"),
        (("scratch holds", "{path} holds"), "line 4, symptom[0].cause: {path} has no meaning here"),
    ],
)
def test_a_malformed_symptom_is_one_fault_with_its_line(tmp_path: Path, edit: tuple[str, str], fault: str) -> None:
    assert edit[0] in MINE
    found = faults(tmp_path, MINE.replace(*edit, 1))
    assert len(found) == 1, found
    assert found[0].startswith(f"mine.toml: {fault}")


def test_a_sign_that_shows_nothing_is_refused(tmp_path: Path) -> None:
    bare = MINE.partition("[[symptom.sign]]")[0] + "[[symptom.sign]]\notherwise = true\n"
    assert faults(tmp_path, bare) == [
        "mine.toml: line 8, symptom[0].sign[0]: shows nothing; give it a message, an exception, a signal or evidence"
    ]


# The table itself ----------------------------------------------------------------------------------------------------


def test_every_code_of_a_skip_has_a_symptom() -> None:
    unknown = [code for code in SkipCode if not ids("", skip=code.value)]
    assert unknown == []


def test_the_code_of_a_skip_is_read_from_its_text() -> None:
    assert ids("Skipped: skip[vram]: has 24 GB free on GPU 0, needs 43 GB of GPU memory; fix: another GPU") == [
        "gpu-memory"
    ]


def test_a_time_that_was_not_judged_for_a_suspension_is_told_with_how_long_that_was() -> None:
    seen = Seen(text="skip[suspended]: has a run that was suspended for 4 min 05 s while it timed x, needs y; fix: z")
    [found] = recognise(seen, place=BARE)
    assert (found.symptom, "the clock went on for 4 min 05 s" in found.cause) == ("suspended", True)


def test_every_answer_of_the_hub_that_is_no_yes_has_words_of_its_own() -> None:
    names = "detail endpoint page repository origin revision cache variable download option"
    known: dict[str, Any] = dict.fromkeys(names.split(), "X")
    said = {reply: told_by({**known, "reply": reply.value}) for reply in _CODES}
    assert set(said) | {Reply.GRANTED, Reply.CACHED, Reply.UNUSABLE} == set(Reply)
    assert len({each.cause for each in said.values()}) == len(said)


def test_every_error_of_nvml_that_is_known_has_a_step() -> None:
    numbers = [value for name, value in vars(driver).items() if name.isupper() and isinstance(value, int)]
    assert len(numbers) >= 11
    assert all(told_by({"nvml": number}).next for number in numbers)


def test_what_the_table_does_not_know_is_an_error_of_ours() -> None:
    with pytest.raises(LookupError, match="says nothing of"):
        told_by({"reply": "no such answer"})


def test_a_diagnosis_comes_back_from_json() -> None:
    [found] = recognise(Seen(text="CUDA out of memory"))
    assert Diagnosis.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_no_next_step_takes_something_from_others_or_removes_what_cannot_be_made_again() -> None:
    harmful = re.compile(r"\brm -|-mig 0|mkfs|kill -9|chmod 777|--privileged|--no-verify|verify=False|swapoff|\bdd of=")
    for symptom in shipped_symptoms():
        steps = [symptom.next, *symptom.next_in.values(), *(sign.next for sign in symptom.signs)]
        assert not [step for step in steps if harmful.search(step)]


def test_the_page_is_what_the_table_makes_of_it() -> None:
    present = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page.page(shipped_symptoms(), present) == present, "run python -m plimsoll.symptoms.page --write"


def test_the_example_of_the_page_is_a_catalogue(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", (ROOT / PAGE).read_text(encoding="utf-8"), re.DOTALL)
    text = "OSError: [Errno 28] No space left on device: '/scratch/me'"
    [found] = recognise(Seen(text=text), catalogue(tmp_path, example), Surroundings(slurm=True))
    assert (found.symptom, found.cause) == ("scratch-full", "/scratch/me found no room")
    assert found.next == "add --constraint=bigscratch"


def test_every_shipped_symptom_has_its_anchor_on_the_page() -> None:
    anchors = re.findall(r'<a id="([^"]+)"></a>', (ROOT / PAGE).read_text(encoding="utf-8"))
    assert anchors == [symptom.id for symptom in shipped_symptoms()]


# The control group ---------------------------------------------------------------------------------------------------


def test_what_a_control_group_killed_is_counted(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/job\n")
    mount = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    (tmp_path / "proc/self/mountinfo").write_text(mount)
    folder = tmp_path / "sys/fs/cgroup/job"
    folder.mkdir(parents=True)
    assert group_kills(tmp_path) is None
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\n")
    assert group_kills(tmp_path) == 2


def test_a_kill_that_the_control_group_counted_is_told_as_its_own() -> None:
    killed = Seen(text="killed by SIGKILL", evidence={"group_oom": True})
    assert [each.symptom for each in recognise(killed)] == ["group-memory"]
    assert recognise(Seen(text="an assertion failed", evidence={"group_oom": True})) == ()
