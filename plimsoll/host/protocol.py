"""Defines the protocol between controller and host: every request and its reply, as frozen values.

Each request names its reply type by `Request[Reply]`, so that a caller gets the right type without a cast. Nothing in
here imports torch: texts, numbers and tuples cross the pipe, never tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from plimsoll.catalogue.entries import Generation, Quantization, float_dtype
from plimsoll.catalogue.golden import GoldenTensor, GoldenTexts
from plimsoll.footprint.prediction import Prediction, Subject

Reply = TypeVar("Reply", covariant=True)

Prompt = str | tuple[int, ...]
"""A text, or the ids of its tokens: all that a model without a tokenizer can be asked."""


class Request(Generic[Reply]):
    """Something that a host can be asked; answered by a `Reply` or by an error."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """Everything `from_pretrained` is called with, decided by the controller, explicit to the last default."""

    checkpoint: str
    """A folder, or a Hub id; the model's name where its weights are synthetic."""
    revision: str | None
    """The commit of a folder that is a Hub snapshot, None for a user's own folder; for a Hub id, the revision to
    load."""
    auto_class: str
    architecture: str
    quantization: Quantization
    device: str
    """`cpu`, `cuda:0`, ...: where the whole model goes unless `device_map` says otherwise."""
    device_map: Mapping[str, str | int] | str | None
    attention: str
    generation: Generation
    load_options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings over the checkpoint's configuration."""
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    """Settings over the checkpoint's tokenizer."""
    trust_remote_code: bool = False
    allow_pickle: bool = False
    synthetic_config: Mapping[str, Any] | None = None
    """Keyword arguments of the configuration, with `model_type`, of weights that are made up: nothing is read then."""

    @property
    def dtype(self) -> str:
        """The torch dtype name of all that is not packed, and of what is computed."""
        return float_dtype(self.quantization, self.load_options)

    @property
    def is_synthetic(self) -> bool:
        """True where the weights are made up while they are loaded."""
        return self.synthetic_config is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheState:
    """How much of the checkpoint's files was in the page cache just before loading."""

    asked: str
    """`cold`, `warm` or `as-is`."""
    resident: float | None
    """Fraction of the files' bytes that was resident (0..1); None where the system could not tell."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Resident memory of the host around a load, in bytes, and how the peak was found."""

    before: int
    peak: int
    after: int
    method: str
    """`VmHWM, reset before loading` or `sampled every 10 ms`."""
    mapped: int | None = None
    """Bytes of the checkpoint's files that are still mapped after loading. On a CPU, weights that keep their dtype are
    views of these mappings: they are read when first used, so neither the load time nor `after` holds them yet."""
    mapped_resident: int | None = None
    """How many of `mapped` are resident and so counted in `after`: pages of the file, which the system may drop."""
    own_before: int | None = None
    """Resident memory without pages of files: what the process holds of its own. None where the system does not
    tell."""
    own_peak: int | None = None
    """The same at its highest, sampled every 10 ms: the kernel keeps no mark of it."""
    own_after: int | None = None

    @property
    def grown_peak(self) -> int:
        """The peak of loading, over what there was before; without pages of files where the system distinguishes
        them."""
        own = None if self.own_peak is None or self.own_before is None else self.own_peak - self.own_before
        return self.peak - self.before if own is None else own

    @property
    def grown_after(self) -> int:
        """What is held once the model is loaded, likewise."""
        own = None if self.own_after is None or self.own_before is None else self.own_after - self.own_before
        return self.after - self.before if own is None else own


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """One GPU around a load, in bytes: torch's allocator and NVML side by side; None where not available."""

    device: str
    """As torch names it in its process: `cuda:0`."""
    uuid: str | None
    """Of the GPU or the instance (MIG), without the prefix that NVML puts before it."""
    allocated_after: int
    allocated_peak: int
    reserved_after: int
    reserved_peak: int
    context: int | None
    """What the process held beside the allocator's pool when it had only multiplied two matrices."""
    context_by: str
    """`process`, by NVML's figure for this process; `device`, by what was in use before; empty where it is None."""
    process: int | None
    device_before: int | None
    """In use on the device by anyone, with the context and before the load."""
    device_after: int | None
    device_delta: int | None
    others_before: int | None
    """What other processes held; None where NVML does not tell processes apart."""
    others_after: int | None
    process_peak: int | None = None
    """The highest that was sampled."""
    device_peak: int | None = None
    series: tuple[tuple[float, int | None, int | None, int | None, int | None], ...] = ()
    """Seconds, and what device, process, allocator (allocated, reserved) held."""
    pcie_generation: int | None = None
    """Of the link at its best while a block was copied to the GPU: at rest it trains down."""
    pcie_width: int | None = None
    interval: float | None = None
    """The actual seconds between two samples."""
    cost: float | None = None
    """Part of a core that sampling took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterRecord:
    """One parameter or buffer as it is stored after loading, before the first forward."""

    name: str
    shape: tuple[int, ...]
    """The logical shape, not that of the packed storage."""
    data_bytes: int
    statistics_bytes: int
    """absmax, nested absmax, code books, offsets, SCB: what quantization keeps beside the packed data."""
    storage_dtype: str
    scheme: str
    """`nf4`, `nf4-dq`, `fp4`, `fp4-dq`, `int8`, `float`, or `unknown` where packed data lacks what tells its scheme:
    what the stored objects say, not what was asked."""
    device: str
    block_size: int | None = None
    compute_dtype: str | None = None
    """The dtype that a 4-bit layer unpacks to and computes in; None for all that says nothing of it."""
    faults: tuple[str, ...] = ()
    """What is wrong with how it is stored: `packed by name, but holds plain bfloat16`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Every parameter and buffer of a loaded model, tied ones once."""

    parameters: tuple[ParameterRecord, ...]
    buffers: tuple[ParameterRecord, ...]

    @property
    def stored_bytes(self) -> int:
        """Bytes of parameters and buffers, with statistics."""
        return sum(p.data_bytes + p.statistics_bytes for p in (*self.parameters, *self.buffers))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """The report of one load."""

    seconds: float
    """Of `from_pretrained` alone; tokenizer, host start and accounting are not in it."""
    cache: CacheState
    checkpoint_bytes: int
    checkpoint_files: tuple[str, ...]
    resolved_revision: str | None
    memory: HostMemory
    gpus: tuple[GpuMemory, ...]
    model_class: str
    missing_keys: tuple[str, ...]
    unexpected_keys: tuple[str, ...]
    mismatched_keys: tuple[str, ...]
    meta_parameters: tuple[str, ...]
    device_map: Mapping[str, str]
    attention: str
    """The implementation in use, as the modules of the model have it, not as it was asked; several with plus signs
    between."""
    experts: str | None
    """The experts implementation in use; None for a dense model."""
    expert_quantization: str | None
    """Who quantized the fused experts: `native`, `plimsoll`; None where there are none or none were asked for."""
    warnings: tuple[str, ...]
    inventory: Inventory
    effective: Mapping[str, Any] = field(default_factory=dict)
    """What came of the settings of the load, read off the loaded model and its tokenizer: JSON data."""
    synthetic: bool = False
    """True where the weights were made up while loading: no file was read, so `seconds` says nothing about a disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Request[LoadReport]):
    """Load the model. `cache` is `cold` (evict the files first), `warm` (read them first) or `as-is`."""

    spec: LoadSpec
    cache: str = "as-is"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadGpuMemory(Request[tuple[GpuMemory, ...]]):
    """Say again what the loaded model's GPUs hold, with all peaks since it began to load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predict(Request[Prediction]):
    """Build the model on the meta device from its configuration and cost each part; loads nothing."""

    subject: Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictPlacement(Request[Mapping[str, str | int]]):
    """Ask the planner which part of a model goes where, on GPUs with so many bytes for it each; loads nothing.

    Answered by the beginnings of parameters' names, each with a GPU's number, `cpu` or `disk`.
    """

    subject: Subject
    device_map: str
    memory: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReleased:
    """One GPU before a model was loaded and after it was dropped, in bytes; None where NVML does not say."""

    device: str
    """As torch names it in its process: `cuda:0`."""
    uuid: str | None
    allocated_before: int
    """By torch, with the workspace that libraries of matrix products keep."""
    allocated_after: int
    reserved_after: int
    """What the allocator's pool keeps once all that is empty was given back."""
    process_before: int | None
    process_after: int | None
    device_before: int | None
    device_after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    """Memory before and after the model was dropped, bytes; without pages of files where the system tells them
    apart."""

    ram_before_load: int
    ram_loaded: int
    ram_after: int
    blocks: int | None = None
    """Bytes of tensors that live on after the model is gone; None where that was not counted."""
    gpus: tuple[GpuReleased, ...] = ()
    """Every GPU that the load might touch; none where it was on the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unload(Request[Unloaded]):
    """Drop the model, collect, return memory to the system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorContent:
    """One parameter or buffer, held against the checkpoint's own tensor."""

    name: str
    scheme: str
    """How it is stored, as in `ParameterRecord`; `packed file` where the checkpoint holds it packed already."""
    blocks: int
    """What it consists of: blocks of 64 weights for 4 bit, rows for all else."""
    checked: int
    """How many of `blocks` were compared."""
    excess: float | None
    """How far the worst of them lies beyond what the arithmetic of its scheme gives, in parts of a block's or row's
    largest weight; about 0 for a sound one. None where nothing was compared."""
    where: str = ""
    """Where the worst was found: `block 17, a code`."""
    fault: str = ""
    """What is wrong that is no matter of degree; empty where nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductError:
    """What one kind of packed layer computes, beside the product with its unpacked weight in float32."""

    name: str
    """The layer that was tried."""
    kind: str
    """Class, shape and scheme; layers of one kind are tried once."""
    layers: int
    """How many there are of the kind."""
    error: float | None
    """Root mean square of the difference over that of the product; None where it could not be tried."""
    scale: float | None
    """What the output must be divided by to fit the product best; 1 for a sound layer."""
    fault: str = ""
    """Why it could not be tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a loaded model holds, compared tensor by tensor with the checkpoint, and what its packed layers compute."""

    tensors: tuple[TensorContent, ...]
    products: tuple[ProductError, ...]
    seconds: float

    @property
    def checked(self) -> int:
        """Blocks and rows that were compared."""
        return sum(tensor.checked for tensor in self.tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProveContent(Request[Content]):
    """Unpack what is packed, compare all with the checkpoint, and try a layer of each kind. Before the first forward
    pass, which repacks weights on some processors.

    `whole` compares every block; otherwise large tensors are compared in a seeded sample of theirs.
    """

    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One prompt's continuation under greedy decoding. Token ids exclude the prompt and include the end token."""

    text: str
    """Empty for a model without a tokenizer."""
    token_ids: tuple[int, ...]
    prompt_tokens: int
    ended: bool
    """True where the end-of-sequence token was produced."""
    logits_sha256: str | None = None
    """Digest over the bits of the raw logits of every step of its batch; None where it was not requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The completions in the order of the prompts, and what held for all of them."""

    completions: tuple[Completion, ...]
    finite: bool
    """False where any raw logit was NaN or infinite."""
    clean_endings: bool
    """True where nothing but padding follows an end token in any row of a batch."""
    pad_token: str | None
    eos_tokens: tuple[str, ...]
    """The texts of the tokens that padded and that ended, as the generation settings in use name them; their ids in
    digits for a model without a tokenizer."""
    seconds: float
    pads_by: str = ""
    ends_by: str = ""
    """The keys that decide the two, and their files: `eos_token in tokenizer_config.json`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate(Request[Generated]):
    """Answer each question greedily; a text goes through the chat template where the tokenizer has one."""

    questions: tuple[Prompt, ...]
    max_new_tokens: int
    batch_size: int = 64
    with_digests: bool = False
    """True to get `Completion.logits_sha256`: every logit then crosses to the CPU."""
    past_ends: bool = False
    """True to go on after an end token, so that exactly as many tokens are made as are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One answer drawn at random; `log_prob` in nats, summed over its tokens, from the distribution drawn from."""

    text: str
    log_prob: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One prompt's greedy answer with the probability of each of its tokens."""

    text: str
    """Up to the end token or the stop text, stripped."""
    token_ids: tuple[int, ...]
    """With the token that ended it, where `ended`."""
    pieces: tuple[str, ...]
    """The text of each token."""
    log_probs: tuple[float, ...]
    """Natural logarithm of the probability of each token, from raw logits in float32."""
    prompt_tokens: int
    ended: bool
    finite: bool
    """False where a raw logit was NaN or infinite in any row of the batches that it was made in."""
    samples: tuple[Sampled, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answers in the order of the prompts."""

    answers: tuple[Answer, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPrompts(Request[Answered]):
    """Answer each prompt greedily, prompts of like length together, and note the probability of each token; then draw
    `samples` answers for each.

    A prompt goes through the chat template where the tokenizer has one. `stop` is a text at which an answer ends beside
    the end token. `seed` sets the generator for the answers that are drawn.
    """

    prompts: tuple[str, ...]
    max_new_tokens: int
    stop: str
    batch_size: int = 32
    samples: int = 0
    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two ways of computing the same logits lie apart.

    At each position the largest absolute difference, over the standard deviation of the reference logits (no unit):
    `divergence` is its mean, `worst` its largest. A wrong mask or a stale cache is wrong almost everywhere; a router
    whose choice is turned by a rounding is far off in one position, which is no fault. `same_choice` is the fraction of
    positions where both pick the same next token.
    """

    divergence: float
    worst: float
    same_choice: float
    positions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareCache(Request[Agreement | None]):
    """Logits of greedy decoding token by token with the cache, against one uncached pass over the same tokens: of all
    questions together, of which a shorter one is said again and again until it is as long as the longest. None where
    the model's class has no cache."""

    questions: tuple[Prompt, ...]
    new_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareBatch(Request[Agreement]):
    """Logits of prompts of unlike length in one padded batch, against each prompt alone."""

    questions: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionWay:
    """What one attention implementation made of a padded batch."""

    name: str
    used: tuple[str, ...]
    """The implementations that were really called in the pass, each once; empty where it was not asked."""
    agreement: Agreement | None
    """With the same prompts alone and with eager attention; None where it was not asked."""
    finite: bool
    seconds: float | None
    """For one pass over the batch, after a first."""
    peak: int | None
    """Bytes of GPU memory that the pass took beside what there was; None on a processor."""
    unavailable: str = ""
    """Why it was not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareAttention(Request[tuple[AttentionWay, ...]]):
    """Logits of prompts of unlike length, padded on the left and on the right, with every attention implementation that
    the class, the device and the packages have, against each prompt alone with eager attention."""

    questions: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Next-token logits over prompts and taught answers. `mean_kl` is KL(reference || this) in nats a position; None
    when there was no reference to compare with."""

    finite: bool
    positions: int
    mean_kl: float | None
    same_choice: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score(Request[Scored]):
    """Compute next-token logits for questions and their answers, cut to the model's context; write them to a file, or
    compare with such a file."""

    questions: tuple[Prompt, ...]
    answers: tuple[Prompt, ...]
    save_to: str | None = None
    compare_with: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenLogits:
    """What the stack made of a golden model.

    `ways` has, for each attention and each way of asking (`sdpa, token by token`), the logits as little-endian float32,
    one row a token, text after text; `weights_sha256` is over the values of the weights that were made, as float32.
    """

    weights_sha256: str
    ways: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeGolden(Request[GoldenLogits]):
    """Make the weights of a golden model, load them as this quantization, and compute the logits of the texts with each
    attention: whole; token by token, with the cache; and in a padded batch (`GoldenTexts` says how). Of a long text
    those at the kept places, whole and with the cache."""

    family: str
    architecture: str
    config: Mapping[str, Any]
    tensors: tuple[GoldenTensor, ...]
    quantization: Quantization
    device: str
    """`cpu`, `cuda:0`, ..."""
    tokens: tuple[tuple[int, ...], ...]
    texts: GoldenTexts
    attentions: tuple[str, ...]
    long_tokens: tuple[int, ...] = ()
    """The long text; empty for none."""
    long_attentions: tuple[str, ...] = ()
    """Those of `attentions` that are given the long text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLikelihood:
    """The likelihood of an unseen text under a model: the negative logarithms of the probabilities of its tokens."""

    nats: float
    """Summed over the tokens that were predicted; NaN where a raw logit was not finite."""
    bytes: int
    """Of the text in UTF-8, as far as it was read, without those of a first token that nothing came before."""
    tokens: int
    faithful: bool
    """True where the tokenizer gives the text back as it was, but for white space around it."""
    decoded: str
    """What the tokenizer makes of its own tokens: the beginning of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadText(Request[tuple[TextLikelihood, ...]]):
    """Read each text as it stands, without a chat around it, up to the end of the model's context."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What a checkpoint says of how it is spoken to."""

    has_chat_template: bool
    turn_end: str | None
    """The special token that the chat template writes after an answer; None where it writes none."""
    turn_end_ends: bool | None
    """True where generation ends at it; None where there is none."""
    eos_tokens: tuple[str, ...]
    ends_by: str = ""
    """The key that decides where generation ends, and its file: `eos_token_id in generation_config.json`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TellManners(Request[Manners]):
    """Say whether the tokenizer has a chat template, and how its turns end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDifference:
    """A key of the configuration that the checkpoint has otherwise than the entry."""

    key: str
    """With dots for the parts: `text_config.rope_parameters.rope_theta`."""
    entry: str
    """What the entry leads to, in JSON."""
    checkpoint: str
    stated: bool
    """False where the entry does not name the key, so that the class's default applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareConfig(Request[tuple[ConfigDifference, ...]]):
    """Hold an entry's configuration against a checkpoint's config.json, defaults of the class filled in on both sides;
    loads nothing."""

    checkpoint: str
    revision: str | None
    config_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """How fast this node moves what a load moves, measured just before it; per second."""

    disk: float
    """Bytes that were not in the page cache."""
    memory: float
    """Bytes that were."""
    link: float | None
    """Bytes from RAM to the GPU; None on a CPU."""
    packing: float | None
    """Parameters that the scheme packs; None where it packs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureSpeeds(Request[Speeds]):
    """Read the beginning of the checkpoint from disk and from memory, copy and pack a block of it."""

    spec: LoadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeReference(Request[Scored]):
    """The next-token logits of `score` under the unquantized weights, which are brought in one part after the other and
    dropped again: no more than the largest part is there at once.

    `scratch` is a folder for what transformers converts on the way, such as experts that files keep apart.
    """

    spec: LoadSpec
    score: Score
    scratch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareLogits(Request[Scored]):
    """Compare the logits in one file with those in another; no model is needed."""

    logits: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Request[Any]):
    """Call `module:function` with keyword arguments in the host: training of the tiny checkpoints, benchmarks.

    The function must be importable, its arguments and result picklable.
    """

    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
