"""The gate on recorded nodes: each code with its whole text, and that nothing unknown is taken for enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plimsoll.catalogue.entries import Quantization, WeightSource
from plimsoll.gate.decide import Admitted, Decision, awaits_hub, decide
from plimsoll.gate.need import Need, need_of
from plimsoll.gate.skip import Skip, SkipCode
from plimsoll.hub.access import Access, HubFile, Query, Reply
from plimsoll.node.node import MigInstance, Node, Unread
from plimsoll.node.probe import RecordedProbe
from plimsoll.symptoms.recognise import Seen, recognise
from tests.support.gate_subjects import GB, RECORDED, variant_of, with_environment, with_gpu

NEED = Need(
    device="cuda",
    packages=("torch", "transformers"),
    ram=4 * GB,
    disk=150 * GB,
    vram={0: 40 * GB},
    vram_context=GB,
    bf16=True,
    source=WeightSource.SYNTHETIC,
)


@pytest.fixture
def h100() -> Node:
    return RecordedProbe(RECORDED / "synthetic-8xh100-80g.json").probe()


@pytest.fixture
def rtx4090() -> Node:
    return RecordedProbe(RECORDED / "synthetic-rtx4090-24g.json").probe()


def text_of(decision: Decision) -> str:
    assert isinstance(decision, Skip)
    return str(decision)


def code_of(decision: Decision) -> SkipCode | None:
    return decision.code if isinstance(decision, Skip) else None


def test_a_node_with_all_that_is_needed_runs(h100: Node) -> None:
    assert decide(variant_of(), h100, NEED) == Admitted()


def test_a_cpu_variant_does_not_ask_for_a_gpu(rtx4090: Node) -> None:
    need = replace(NEED, device="cpu", vram=None, min_capability="99.0")
    assert decide(variant_of("cpu"), replace(rtx4090, gpus=()), need) == Admitted()


# --- the codes, in the order in which they are looked at


def test_package(h100: Node) -> None:
    node = replace(h100, packages={**h100.packages, "torch": None, "transformers": "4.57.1", "pytest-html": None})
    assert text_of(decide(variant_of(), node, NEED)) == (
        "skip[package]: has no torch, transformers 4.57.1, needs torch>=2.6, transformers<6,>=5.0; "
        "fix: pip install 'torch>=2.6' 'transformers<6,>=5.0'"
    )


def test_package_torch_without_cuda(h100: Node) -> None:
    node = replace(h100, packages={**h100.packages, "torch": "2.13.0+cpu"})
    assert text_of(decide(variant_of(), node, NEED)) == (
        "skip[package]: has torch 2.13.0+cpu, built without CUDA, needs torch built with CUDA; "
        "fix: install the CUDA build of torch that pytorch.org/get-started names for this driver"
    )
    assert decide(variant_of("cpu"), node, replace(NEED, device="cpu")) == Admitted()


def test_no_gpu(h100: Node) -> None:
    why = "no NVIDIA driver is installed (libnvidia-ml.so.1: cannot open shared object file: No such file or directory)"
    node = replace(h100, gpus=(), unread=(Unread(what="gpus", why=why),))
    assert text_of(decide(variant_of(), node, NEED)) == (
        f"skip[no_gpu]: has no GPU to use: {why}, needs a CUDA GPU; "
        "fix: install the NVIDIA driver, or give the container its GPUs (--gpus all); "
        "or let RAM stand in for it: --device=cpu"
    )
    of_files = decide(variant_of(), node, replace(NEED, source=WeightSource.LOCAL))
    assert text_of(of_files).endswith("(--gpus all)"), "the hint is for weights that need no download"


def test_no_gpu_because_all_are_hidden(rtx4090: Node) -> None:
    assert text_of(decide(variant_of(), with_environment(rtx4090, CUDA_VISIBLE_DEVICES=""), NEED)) == (
        "skip[no_gpu]: has no GPU to use: CUDA_VISIBLE_DEVICES='' names none of the node's 1 GPUs, needs a CUDA GPU; "
        "fix: unset CUDA_VISIBLE_DEVICES, or name one of: 0 or GPU-00000000-0000-0000-0000-000000000000; "
        "or let RAM stand in for it: --device=cpu"
    )


def test_no_gpu_of_the_number_that_the_device_map_names(h100: Node) -> None:
    node = with_environment(h100, CUDA_VISIBLE_DEVICES="4,5")
    assert text_of(decide(variant_of(), node, replace(NEED, vram={0: GB, 2: GB}))) == (
        "skip[no_gpu]: has 2 GPUs that CUDA sees, needs cuda:2, which the entry's device map names; "
        "fix: make more GPUs visible (CUDA_VISIBLE_DEVICES), or change the entry's device_map"
    )


def test_capability(rtx4090: Node) -> None:
    node = with_gpu(rtx4090, 0, compute_capability="7.5", name="Tesla T4")
    assert text_of(decide(variant_of(), node, replace(NEED, min_capability="7.5"))) == (
        "skip[capability]: has GPU 0 (Tesla T4) of compute capability 7.5, needs compute capability 8.0 for bfloat16; "
        "fix: run it on a newer GPU, or choose a variant in fp16"
    )
    assert code_of(decide(variant_of(), node, replace(NEED, bf16=False, min_capability="7.5"))) is SkipCode.VRAM


def test_capability_compares_numbers_and_not_texts(h100: Node) -> None:
    assert decide(variant_of(), with_gpu(h100, 0, compute_capability="10.0"), NEED) == Admitted()


def test_vram(rtx4090: Node) -> None:
    assert text_of(decide(variant_of(), rtx4090, NEED)) == (
        "skip[vram]: has 24.60 GB (22.91 GiB) free on GPU 0 (NVIDIA GeForce RTX 4090), "
        "needs 41.00 GB (38.18 GiB) of GPU memory; fix: choose a smaller quantization, or a node with more GPU memory"
    )


def test_vram_that_others_hold_and_another_gpu_has(h100: Node) -> None:
    busy = with_gpu(h100, 0, memory_free=3 * GB)
    skip = decide(variant_of(), busy, NEED)
    assert isinstance(skip, Skip)
    assert skip.fix == "export CUDA_VISIBLE_DEVICES=GPU-00000000-0000-0000-0000-000000000001, which has the room"
    alone = with_environment(busy, CUDA_VISIBLE_DEVICES="0")
    skip = decide(variant_of(), alone, NEED)
    assert isinstance(skip, Skip)
    assert skip.fix == "end what else uses the GPU (nvidia-smi lists it)"


def test_vram_is_that_of_the_gpu_that_cuda_calls_zero(h100: Node) -> None:
    busy = with_gpu(h100, 0, memory_free=3 * GB)
    assert decide(variant_of(), with_environment(busy, CUDA_VISIBLE_DEVICES="3,0"), NEED) == Admitted()
    assert code_of(decide(variant_of(), with_environment(busy, CUDA_VISIBLE_DEVICES="0,3"), NEED)) is SkipCode.VRAM


def test_vram_spread_over_all_gpus_counts_a_context_on_each(h100: Node) -> None:
    free = sum(gpu.memory_free or 0 for gpu in h100.gpus)
    assert decide(variant_of(), h100, replace(NEED, vram=free - 8 * GB)) == Admitted()
    assert text_of(decide(variant_of(), h100, replace(NEED, vram=free - 8 * GB + 10**7))) == (
        "skip[vram]: has 679.20 GB (632.55 GiB) free on 8 GPUs together, needs 679.21 GB (632.56 GiB) of GPU memory; "
        "fix: end what else uses the GPU (nvidia-smi lists it)"
    )


def test_vram_of_each_gpu_that_the_device_map_names(h100: Node) -> None:
    node = with_gpu(h100, 1, memory_free=3 * GB)
    assert decide(variant_of(), node, replace(NEED, vram={0: 40 * GB, 2: 40 * GB})) == Admitted()
    skip = decide(variant_of(), node, replace(NEED, vram={0: 40 * GB, 1: 40 * GB}))
    assert isinstance(skip, Skip)
    assert skip.have == "3.00 GB (2.79 GiB) free on GPU 1 (NVIDIA H100 80GB HBM3)"
    assert skip.fix == "end what else uses the GPU (nvidia-smi lists it)"


def test_ram(h100: Node) -> None:
    node = replace(h100, memory=replace(h100.memory, available=2 * GB))
    assert text_of(decide(variant_of(), node, NEED)) == (
        "skip[ram]: has 2.00 GB (1.86 GiB) of RAM available, needs 4.00 GB (3.73 GiB) of RAM; "
        "fix: end other processes, or use a node with more memory"
    )


def test_ram_within_a_container(h100: Node) -> None:
    node = replace(h100, memory=replace(h100.memory, available=2 * GB, limit=3 * GB))
    assert text_of(decide(variant_of(), node, NEED)) == (
        "skip[ram]: has 2.00 GB (1.86 GiB) of RAM available, within the control group's limit of 3.00 GB (2.79 GiB), "
        "needs 4.00 GB (3.73 GiB) of RAM; fix: raise the container's memory limit"
    )


def test_disk(h100: Node) -> None:
    node = replace(h100, disk=replace(h100.disk, free=149 * GB))
    assert text_of(decide(variant_of(), node, NEED)) == (
        "skip[disk]: has 149.00 GB (138.77 GiB) free at /data/huggingface/hub, needs 150.00 GB (139.70 GiB) for the "
        "checkpoint; fix: free space there, or set PLIMSOLL_CACHE to a folder on a larger disk"
    )


def test_the_hub_that_nobody_asked_is_no_permission(h100: Node) -> None:
    need = replace(NEED, source=WeightSource.HUB, gated=True)
    assert text_of(decide(variant_of(source=WeightSource.HUB), h100, need)) == (
        "skip[offline]: has no answer from the Hub, which was not asked, "
        "needs access to meta-llama/Llama-3.1-70B, whose licence must be accepted; "
        "fix: hf download meta-llama/Llama-3.1-70B --local-dir FOLDER, and --model-dir=llama-3.1-70b=FOLDER"
    )


def access_of(answer: Reply, **fields: Any) -> Access:
    query = Query(repository="meta-llama/Llama-3.1-70B", revision=fields.pop("revision", None))
    return Access(
        query=query,
        answer=answer,
        endpoint="https://huggingface.co",
        cache="/data/huggingface/hub",
        **{"free": 200 * GB, **fields},
    )


def test_what_the_hub_said_decides_last(h100: Node) -> None:
    need = replace(NEED, source=WeightSource.HUB)
    variant = variant_of(source=WeightSource.HUB)
    refused = access_of(Reply.NO_TOKEN)
    assert code_of(decide(variant, h100, need, refused)) is SkipCode.NOT_LOGGED_IN
    assert decide(variant, h100, need, access_of(Reply.GRANTED)) == Admitted()
    assert decide(variant, h100, need, access_of(Reply.CACHED)) == Admitted()
    assert decide(variant_of(), h100, NEED, refused) == Admitted()
    assert code_of(decide(variant, h100, replace(need, ram=10**16), refused)) is SkipCode.RAM
    assert awaits_hub(variant, h100, need)
    assert not awaits_hub(variant, h100, replace(need, ram=10**16))
    assert not awaits_hub(variant_of(), h100, NEED)


@pytest.mark.parametrize(
    ("answer", "fields", "code", "have", "fix"),
    [
        (
            Reply.NO_TOKEN,
            {},
            "not_logged_in",
            "no token for the Hub",
            "hf auth login; then accept its licence at {page}",
        ),
        (
            Reply.NO_TOKEN,
            {"token_ignored": True},
            "not_logged_in",
            "no token for the Hub: HUGGINGFACE_HUB_TOKEN is set, but huggingface_hub does not read it",
            'export HF_TOKEN="$HUGGINGFACE_HUB_TOKEN"; then accept its licence at {page}',
        ),
        (
            Reply.TOKEN_REFUSED,
            {"detail": "HTTP 401"},
            "not_logged_in",
            "a token that the Hub refuses (HTTP 401)",
            "hf auth login with a token of {hub}/settings/tokens (HF_TOKEN, where set, goes first)",
        ),
        (
            Reply.TOKEN_TOO_NARROW,
            {"detail": "HTTP 403"},
            "licence_not_accepted",
            "a token without the right to it (HTTP 403)",
            "let the token read public gated repositories, at {hub}/settings/tokens",
        ),
        (
            Reply.NOT_ACCEPTED,
            {},
            "licence_not_accepted",
            "a token of an account that has not accepted its licence",
            "accept the licence at {page} with the account of the token",
        ),
        (
            Reply.PENDING,
            {},
            "licence_not_accepted",
            "a request for access that its owners have yet to answer",
            "wait for its owners; {hub}/settings/gated-repos shows the state",
        ),
        (
            Reply.REJECTED,
            {},
            "licence_not_accepted",
            "a request for access that its owners have rejected",
            "ask its owners at {page}, or use the account that was let in",
        ),
        (
            Reply.NOT_FOUND,
            {},
            "wrong_id",
            "no repository meta-llama/Llama-3.1-70B at {hub} that may be seen without a token",
            "correct hub_id in catalogue/test.toml: model[0], or hf auth login if it is private",
        ),
        (
            Reply.NOT_FOUND,
            {"logged_in": True},
            "wrong_id",
            "no repository meta-llama/Llama-3.1-70B at {hub} that this token may see",
            "correct hub_id in catalogue/test.toml: model[0]",
        ),
        (
            Reply.NO_REVISION,
            {"revision": "v9"},
            "wrong_id",
            "no revision 'v9' in meta-llama/Llama-3.1-70B",
            "correct revision in catalogue/test.toml: model[0]",
        ),
        (
            Reply.OFFLINE_MODE,
            {},
            "offline",
            "HF_HUB_OFFLINE set, and no whole copy in /data/huggingface/hub",
            "unset HF_HUB_OFFLINE, or {bring}",
        ),
        (
            Reply.UNREACHABLE,
            {"detail": "ConnectError: refused"},
            "offline",
            "no connection to {hub} (ConnectError: refused), and no whole copy in /data/huggingface/hub",
            "connect the node, or {bring}",
        ),
        (
            Reply.FAILED,
            {"detail": "HTTP 500"},
            "offline",
            "no usable answer from {hub} (HTTP 500), and no whole copy in /data/huggingface/hub",
            "try again later, or {bring}",
        ),
        (
            Reply.RATE_LIMITED,
            {"detail": "HTTP 429, asking to wait 300 s"},
            "rate_limited",
            "too many requests, says {hub} (HTTP 429, asking to wait 300 s)",
            "run again later; hf auth login raises the limit",
        ),
    ],
)
def test_what_the_hub_refuses(
    h100: Node, answer: Reply, fields: dict[str, Any], code: str, have: str, fix: str
) -> None:
    names = {
        "hub": "https://huggingface.co",
        "page": "https://huggingface.co/meta-llama/Llama-3.1-70B",
        "bring": "'hf download meta-llama/Llama-3.1-70B --local-dir FOLDER' where there is one, and "
        "--model-dir=llama-3.1-70b=FOLDER here",
    }
    need = replace(NEED, source=WeightSource.HUB, gated=True)
    variant = variant_of(source=WeightSource.HUB, gated=True)
    assert text_of(decide(variant, h100, need, access_of(answer, **fields))) == (
        f"skip[{code}]: has {have.format(**names)}, needs access to meta-llama/Llama-3.1-70B, whose licence must be "
        f"accepted; fix: {fix.format(**names)}"
    )


def test_every_answer_of_the_hub_is_decided(h100: Node) -> None:
    need = replace(NEED, source=WeightSource.HUB)
    for answer in Reply:
        decision = decide(variant_of(source=WeightSource.HUB), h100, need, access_of(answer))
        assert isinstance(decision, Admitted) is answer.is_yes


def test_disk_for_what_is_still_to_be_fetched(h100: Node) -> None:
    need = replace(NEED, source=WeightSource.HUB)
    variant = variant_of(source=WeightSource.HUB)
    files = (HubFile(path="model.safetensors", size=150 * GB, digest=None),)
    granted = access_of(Reply.GRANTED, files=files)
    assert decide(variant, h100, need, granted) == Admitted()
    # The disk of the Hub's cache counts, and not the one where tiny checkpoints land.
    crowded = replace(h100, disk=replace(h100.disk, free=0))
    assert decide(variant, crowded, need, granted) == Admitted()
    assert text_of(decide(variant, h100, need, replace(granted, free=149 * GB))) == (
        "skip[disk]: has 149.00 GB (138.77 GiB) free at /data/huggingface/hub, needs 150.00 GB (139.70 GiB) for the "
        "files of meta-llama/Llama-3.1-70B; fix: free space there, or set HF_HOME to a folder on a larger disk"
    )
    assert decide(variant, h100, need, replace(granted, free=149 * GB, present=GB)) == Admitted()
    skip = decide(variant, h100, need, replace(granted, promised=51 * GB))
    assert isinstance(skip, Skip)
    assert skip.have == (
        "200.00 GB (186.26 GiB) free at /data/huggingface/hub, of which other models of this run take "
        "51.00 GB (47.50 GiB)"
    )


@pytest.mark.parametrize(
    ("source", "key", "option"),
    [
        (WeightSource.HUB, "hub_id", ""),
        (WeightSource.LOCAL, "path", "; or --model-dir=llama-3.1-70b=FOLDER"),
        (WeightSource.TRAINED, "recipe", ""),
    ],
)
def test_weights_of_a_source_that_the_entry_does_not_have(
    h100: Node, source: WeightSource, key: str, option: str
) -> None:
    variant = variant_of(source=source)
    variant = replace(variant, model=replace(variant.model, hub_id=None))
    assert text_of(decide(variant, h100, replace(NEED, source=source))) == (
        f"skip[weights]: has no {key} in its entry (catalogue/test.toml: model[0]), needs weights of the source that "
        f"was asked for, --weights={source}; fix: leave --weights out, or select other models{option}"
    )


def test_the_first_reason_is_the_one_that_must_be_mended_first(h100: Node) -> None:
    node = replace(
        h100,
        gpus=(),
        packages={**h100.packages, "torch": None},
        memory=replace(h100.memory, available=0),
        disk=replace(h100.disk, free=0),
    )
    mended: list[SkipCode | None] = []
    old = tuple(replace(gpu, compute_capability="7.0", memory_free=0) for gpu in h100.gpus)
    changes: list[dict[str, Any]] = [
        {},
        {"packages": h100.packages},
        {"gpus": old},
        {"gpus": tuple(replace(gpu, compute_capability="9.0") for gpu in old)},
        {"gpus": h100.gpus},
        {"memory": h100.memory},
        {"disk": h100.disk},
    ]
    for change in changes:
        node = replace(node, **change)
        mended.append(code_of(decide(variant_of(), node, NEED)))
    assert mended == ["package", "no_gpu", "capability", "vram", "ram", "disk", None]


# --- what is not known is not enough


def test_free_memory_that_was_not_read(h100: Node) -> None:
    node = replace(
        with_gpu(h100, 0, memory_free=None, memory_total=None),
        unread=(Unread(what="gpus[0].memory", why="NVML says: Uninitialized", code=1),),
    )
    assert text_of(decide(variant_of(), node, NEED)) == (
        "skip[vram]: has GPU 0 (NVIDIA H100 80GB HBM3), whose free memory could not be read: NVML says: Uninitialized, "
        "needs 41.00 GB (38.18 GiB) of GPU memory; fix: find out with nvidia-smi -q"
    )
    assert code_of(decide(variant_of(), node, replace(NEED, vram=GB))) is SkipCode.VRAM


def test_a_gpu_that_may_be_split(h100: Node) -> None:
    skip = decide(variant_of(), with_gpu(h100, 0, mig=None), NEED)
    assert isinstance(skip, Skip)
    assert skip.code is SkipCode.VRAM
    assert "split (MIG)" in skip.have


INSTANCES = tuple(
    MigInstance(uuid=f"MIG-{number}", name="MIG 3g.40gb", memory_total=42 * GB, memory_free=size * GB)
    for number, size in enumerate((42, 20))
)


def test_an_instance_of_a_split_gpu_is_a_gpu_with_its_own_memory(h100: Node) -> None:
    node = with_gpu(h100, 3, mig=True, instances=INSTANCES)
    assert decide(variant_of(), with_environment(node, CUDA_VISIBLE_DEVICES="MIG-0"), NEED) == Admitted()
    assert text_of(decide(variant_of(), with_environment(node, CUDA_VISIBLE_DEVICES="MIG-1"), NEED)) == (
        "skip[vram]: has 20.00 GB (18.63 GiB) free on GPU 3 (MIG 3g.40gb), needs 41.00 GB (38.18 GiB) of GPU memory; "
        "fix: end what else uses the GPU (nvidia-smi lists it)"
    )


@pytest.mark.parametrize("instances", [(), INSTANCES], ids=["hidden", "seen"])
@pytest.mark.parametrize("named", [None, "0", "MIG-9", "MIG-", "GPU-00000000-0000-0000-0000-000000000000"])
def test_nobody_is_told_to_undo_the_split_of_a_gpu(
    h100: Node, instances: tuple[MigInstance, ...], named: str | None
) -> None:
    node = replace(h100, gpus=tuple(replace(gpu, mig=True, instances=instances) for gpu in h100.gpus))
    if named is not None:
        node = with_environment(node, CUDA_VISIBLE_DEVICES=named)
    skip = decide(variant_of(), node, NEED)
    assert isinstance(skip, Skip)
    assert skip.code is SkipCode.NO_GPU
    assert "-mig" not in skip.fix
    assert "unset" not in skip.fix
    assert "CUDA_VISIBLE_DEVICES" in skip.fix


def test_the_only_instance_of_the_only_gpu_needs_no_name(h100: Node) -> None:
    alone = replace(h100, gpus=(replace(h100.gpus[0], mig=True, instances=INSTANCES[:1]),))
    assert decide(variant_of(), alone, NEED) == Admitted()


def test_a_gpu_beside_a_split_one_is_whole(h100: Node) -> None:
    node = with_gpu(h100, 3, mig=True, instances=INSTANCES)
    assert decide(variant_of(), with_environment(node, CUDA_VISIBLE_DEVICES="0"), NEED) == Admitted()


def unified(node: Node, available: int) -> Node:
    """A machine whose GPU uses its RAM: NVML has no figure, and a probe leaves none."""
    gpu = replace(node.gpus[0], name="NVIDIA GB10", memory_total=None, memory_free=None, unified=True, mig=False)
    return replace(node, gpus=(gpu,), memory=replace(node.memory, available=available, total=128 * GB))


def test_a_gpu_without_memory_of_its_own_is_asked_for_ram(h100: Node) -> None:
    """One pool holds the weights, the context and the host: 41 + 4 GB."""
    assert decide(variant_of(), unified(h100, 45 * GB), NEED) == Admitted()
    assert text_of(decide(variant_of(), unified(h100, 45 * GB - 1), NEED)) == (
        "skip[vram]: has 45.00 GB (41.91 GiB) free on GPU 0 (NVIDIA GB10), which is the machine's RAM, "
        "needs 41.00 GB (38.18 GiB) of GPU memory beside the RAM of the host process; "
        "fix: end other processes, whose RAM is the GPU's memory too"
    )


@pytest.mark.parametrize(
    ("cuda", "torch", "built", "runs"),
    [
        ("12.2", "2.13.0+cu130", None, False),
        ("12.2", "2.13.0", "13.0", False),
        ("11.4", "2.6.0+cu126", None, False),
        ("12.2", "2.9.0+cu128", None, True),
        ("13.0", "2.9.0+cu128", None, True),
        ("13.0", "2.13.0", "13.2", True),
        ("12.2", "2.13.0", None, True),
        (None, "2.13.0+cu130", None, True),
    ],
)
def test_a_driver_that_is_older_than_the_cuda_of_torch(
    h100: Node, cuda: str | None, torch: str, built: str | None, runs: bool
) -> None:
    """Any driver of a major version runs what was built for another minor one. What is not known is not judged here:
    a load would say it."""
    node = replace(h100, cuda=cuda, torch_cuda=built, packages={**h100.packages, "torch": torch})
    assert (decide(variant_of(), node, NEED) == Admitted()) is runs


def test_skips_of_the_stack_and_the_gpu_show_symptoms_of_their_own(h100: Node) -> None:
    old = replace(h100, cuda="12.2", packages={**h100.packages, "torch": "2.13.0"}, torch_cuda="13.0")
    without = replace(h100, packages={**h100.packages, "torch": "2.13.0+cpu"})
    turing = with_gpu(h100, 0, compute_capability="7.5")
    full = with_gpu(h100, 0, memory_free=GB)
    shown = {
        name: [each.symptom for each in recognise(Seen(text=text_of(decide(variant_of(), node, NEED))))]
        for name, node in {"old": old, "without": without, "turing": turing, "full": full}.items()
    }
    assert shown == {
        "old": ["driver-too-old"],
        "without": ["torch-without-cuda"],
        "turing": ["unsupported-dtype"],
        "full": ["gpu-memory"],
    }


def test_the_step_for_an_old_driver(h100: Node) -> None:
    node = replace(
        h100, driver="535.183.01", cuda="12.2", packages={**h100.packages, "torch": "2.13.0"}, torch_cuda="13.0"
    )
    assert text_of(decide(variant_of(), node, NEED)) == (
        "skip[package]: has driver 535.183.01, which supports CUDA up to 12.2, "
        "needs a driver for CUDA 13, which torch 2.13.0 was built for; "
        "fix: update the driver (branch 580 or newer), or install a build of torch for CUDA 12 "
        "(pytorch.org/get-started)"
    )
    assert decide(variant_of("cpu"), node, replace(NEED, device="cpu", vram=None)) == Admitted()
    in_a_job = decide(variant_of(), with_environment(node, SLURM_JOB_ID="7"), NEED)
    assert text_of(in_a_job).endswith("for CUDA 12 (pytorch.org/get-started): the driver is the operator's")


@pytest.mark.parametrize(
    ("capability", "built", "need"),
    [
        ("7.0", "13.0", "compute capability 7.5, the least that torch for CUDA 13.0 has code for"),
        ("6.1", "13.2", "compute capability 7.5, the least that torch for CUDA 13.2 has code for"),
        ("3.7", "12.6", "compute capability 5.0, the least that torch for CUDA 12.6 has code for"),
        ("10.0", "12.6", "torch built for CUDA 12.8 or newer, the first with code for it, not for CUDA 12.6"),
        ("12.0", "12.1", "torch built for CUDA 12.8 or newer, the first with code for it, not for CUDA 12.1"),
        ("9.0", "11.7", "torch built for CUDA 11.8 or newer, the first with code for it, not for CUDA 11.7"),
        ("7.0", "12.6", None),
        ("7.5", "13.0", None),
        ("8.9", "12.1", None),
        ("12.1", "13.0", None),
        ("7.0", None, None),
    ],
)
def test_a_gpu_that_the_build_of_torch_has_no_code_for(
    h100: Node, capability: str, built: str | None, need: str | None
) -> None:
    node = replace(with_gpu(h100, 0, compute_capability=capability), torch_cuda=built)
    decision = decide(variant_of(), node, replace(NEED, bf16=False))
    assert (decision.need if isinstance(decision, Skip) else None) == need


def test_the_step_for_a_v100_under_cuda_13(h100: Node) -> None:
    node = replace(with_gpu(h100, 0, compute_capability="7.0"), torch_cuda="13.0")
    skip = decide(variant_of(), node, replace(NEED, bf16=False))
    assert isinstance(skip, Skip)
    assert skip.fix == ("install a build of torch for CUDA 12 (pytorch.org/get-started), or run it on a newer GPU")


def test_a_lost_gpu_is_not_used_for_what_it_had_before(h100: Node) -> None:
    why = "NVML says: GPU is lost"
    node = replace(with_gpu(h100, 0, lost=why), unread=(Unread(what="gpus[0].serial", why=why, code=15),))
    assert text_of(decide(variant_of(), node, NEED)) == (
        "skip[vram]: has GPU 0 (NVIDIA H100 80GB HBM3), which is lost: NVML says: GPU is lost, "
        "needs 41.00 GB (38.18 GiB) of GPU memory; fix: take the node out of service and reboot it "
        "(dmesg names the Xid); a GPU that is lost again needs repair"
    )


def test_a_capability_that_was_not_read(h100: Node) -> None:
    skip = decide(variant_of(), with_gpu(h100, 0, compute_capability=None), NEED)
    assert isinstance(skip, Skip)
    assert skip.code is SkipCode.CAPABILITY
    assert "could not be read: the probe gives no reason" in skip.have


@pytest.mark.parametrize(
    ("unknown", "code"), [({"vram": None}, "vram"), ({"ram": None}, "ram"), ({"disk": None}, "disk")]
)
def test_a_need_that_was_not_predicted(h100: Node, unknown: dict[str, Any], code: str) -> None:
    skip = decide(variant_of(), h100, replace(NEED, **unknown))
    assert isinstance(skip, Skip)
    assert (skip.code, skip.need) == (code, "an amount that was not predicted")


def test_without_a_prediction_any_fault_of_the_stack_is_the_reason(h100: Node) -> None:
    node = replace(h100, packages={**h100.packages, "pytest-html": None})
    assert decide(variant_of(), node, NEED) == Admitted()
    assert code_of(decide(variant_of(), node, need_of(variant_of(), None))) is SkipCode.PACKAGE


# --- attention


@pytest.mark.parametrize(
    ("attention", "capability", "least"),
    [("flash_attention_2", "7.5", "8.0"), ("flash_attention_3", "8.9", "9.0"), ("flex_attention", "6.1", "7.0")],
)
def test_attention_that_a_gpu_has_no_kernels_for_is_skipped(
    rtx4090: Node, attention: str, capability: str, least: str
) -> None:
    need = replace(NEED, vram={0: GB}, ram=GB, bf16=False, attention=attention, attention_capability=least)
    assert decide(variant_of(), with_gpu(rtx4090, 0, compute_capability=least), need) == Admitted()
    older = with_gpu(rtx4090, 0, compute_capability=capability)
    decision = decide(variant_of(), older, need)
    assert code_of(decision) is SkipCode.CAPABILITY
    assert f"compute capability {least} for {attention}" in text_of(decision)


def test_attention_for_gpus_alone_is_skipped_on_the_processor(rtx4090: Node) -> None:
    need = need_of(replace(variant_of("cpu"), attention="flash_attention_2"), None)
    decision = decide(variant_of("cpu"), rtx4090, replace(need, ram=GB, disk=0, packages=("torch",)))
    assert code_of(decision) is SkipCode.CAPABILITY
    assert "flash_attention_2 has kernels for GPUs alone" in text_of(decision)


def test_attention_asks_for_its_package_and_for_16_bits() -> None:
    for attention, package in (("flash_attention_2", "flash-attn"), ("flash_attention_3", "flash-attn-3")):
        need = need_of(replace(variant_of(), attention=attention), None)
        assert package in need.packages
        assert need.obstacle is None
    wide = need_of(replace(variant_of(), attention="flash_attention_2", quantization=Quantization.FP32), None)
    assert wide.obstacle is not None
    assert "16 bits alone" in wide.obstacle.need
    assert need_of(variant_of(), None).attention_capability is None
