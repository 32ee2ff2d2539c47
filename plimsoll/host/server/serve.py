"""The loop of a host: one request in, one reply out, until the controller closes the connection.

Handlers import what they need when they are first asked, so that a host which only predicts never loads what only
generation needs. Whatever a handler raises becomes a reply: the host stays usable.
"""

from __future__ import annotations

import importlib
import pickle
import socket
import traceback
from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, Final, cast

from plimsoll.errors import PlimsollError
from plimsoll.host.channel import Inbox, pack, receive
from plimsoll.host.describing import Describe, Description, Fit, TryFolder
from plimsoll.host.failures import Raised
from plimsoll.host.protocol import (
    Agreement,
    Answered,
    AnswerPrompts,
    AttentionWay,
    Call,
    CompareAttention,
    CompareBatch,
    CompareCache,
    CompareConfig,
    CompareLogits,
    ComputeGolden,
    ConfigDifference,
    Content,
    Generate,
    Generated,
    GoldenLogits,
    GpuMemory,
    Load,
    LoadReport,
    MakeReference,
    Manners,
    MeasureSpeeds,
    Predict,
    PredictPlacement,
    ProveContent,
    ReadGpuMemory,
    ReadText,
    Score,
    Scored,
    Speeds,
    TellManners,
    TextLikelihood,
    Unload,
    Unloaded,
)
from plimsoll.host.rates import (
    Bits,
    ComputeBits,
    GenerationSpeed,
    MeasureAllReduce,
    MeasureLink,
    MeasureMatmul,
    MeasureMemory,
    MeasurePeer,
    Rates,
    TimeGeneration,
)
from plimsoll.host.training import CompareSteps, PredictStep, StepsCompared, Train, Trained
from plimsoll.redaction import Redactor, shortened

if TYPE_CHECKING:
    from plimsoll.footprint.prediction import Prediction
    from plimsoll.footprint.training import StepPrediction
    from plimsoll.host.server.loading import LoadedModel


_LONGEST_MESSAGE: Final = 8_000
"""Characters of an error's text that leave the host: libraries put whole tensors, pages and files into theirs."""
_LONGEST_TRACEBACK: Final = 40_000


class OutOfOrderError(Exception):
    """A request that needs a loaded model came before, or a second load without an unload between."""


def serve(connection: socket.socket) -> None:
    """Answer until the controller closes the connection."""
    session = Session()
    inbox = Inbox()
    while True:
        try:
            request = receive(connection, inbox)
        except EOFError:
            return
        connection.sendall(_answer(session, request))
        del request


def _answer(session: Session, request: object) -> bytes:
    """The reply as a message; an error in place of what was raised, also of a reply that cannot be pickled."""
    try:
        return pack(("ok", session.handle(request)))
    except (Exception, SystemExit) as error:  # noqa: BLE001  libraries raise anything; the controller decides what it means
        return pack(("error", _in_words(error)))


def _in_words(error: BaseException) -> Raised:
    redact = Redactor.from_environment()
    told = traceback.TracebackException.from_exception(error)
    module, name = type(error).__module__, type(error).__qualname__
    return Raised(
        kind=name if module == "builtins" else f"{module}.{name}",
        message=redact(shortened(str(told), _LONGEST_MESSAGE)),
        traceback=redact(shortened("".join(told.format()), _LONGEST_TRACEBACK)),
        mistake=_portable(error) if isinstance(error, PlimsollError) else None,
    )


def _portable(mistake: PlimsollError) -> PlimsollError:
    """The same, if it comes through pickle as it was: an exception whose class takes other arguments does not."""
    try:
        copy = pickle.loads(pickle.dumps(mistake))  # noqa: S301  our own bytes
    except Exception:  # noqa: BLE001  rebuilding an exception calls its class with arguments it may not take
        return PlimsollError(str(mistake))
    return mistake if str(copy) == str(mistake) else PlimsollError(str(mistake))


class Session:
    """What a host holds between requests: at most one loaded model."""

    def __init__(self) -> None:
        self._loaded: LoadedModel | None = None
        self._handlers: dict[type[object], Callable[[Any], object]] = {
            Load: self._load,
            Predict: self._predict,
            PredictPlacement: self._place,
            Describe: self._describe,
            TryFolder: self._try_folder,
            ReadGpuMemory: self._read_gpu_memory,
            Unload: self._unload,
            Generate: self._generate,
            AnswerPrompts: self._answer_prompts,
            CompareCache: self._compare_cache,
            CompareBatch: self._compare_batch,
            CompareAttention: self._compare_attention,
            Score: self._score,
            ProveContent: self._prove_content,
            ComputeGolden: self._compute_golden,
            ReadText: self._read_text,
            TellManners: self._tell_manners,
            CompareConfig: self._compare_config,
            CompareLogits: self._compare_logits,
            MakeReference: self._make_reference,
            MeasureSpeeds: self._measure_speeds,
            MeasureMatmul: self._measure_matmul,
            MeasureMemory: self._measure_memory,
            MeasureLink: self._measure_link,
            MeasurePeer: self._measure_peer,
            MeasureAllReduce: self._measure_all_reduce,
            ComputeBits: self._compute_bits,
            TimeGeneration: self._time_generation,
            Train: self._train,
            CompareSteps: self._compare_steps,
            PredictStep: self._predict_step,
            Call: self._call,
        }

    def handle(self, request: object) -> object:
        """The reply to one request; raises what its handler raises."""
        return self._handlers[type(request)](request)

    @property
    def _model(self) -> LoadedModel:
        if self._loaded is None:
            raise OutOfOrderError("no model is loaded: ask Load first")
        return self._loaded

    def _load(self, request: Load) -> LoadReport:
        from plimsoll.host.server import loading

        if self._loaded is not None:
            raise OutOfOrderError("a model is loaded already: ask Unload first, or start another host")
        self._loaded = loading.load(request.spec, request.cache)
        return self._loaded.report

    def _unload(self, request: Unload) -> Unloaded:  # noqa: ARG002  handlers have one signature
        memory = self._model.report.memory
        from plimsoll.host.server import unloading
        from plimsoll.host.server.memory import own_bytes, resident_bytes

        told_apart = memory.own_before is not None
        loaded = (own_bytes() if told_apart else None) or resident_bytes()
        gpus = self._model.gpus
        gpus.stop()
        self._loaded = None
        blocks = unloading.release()
        return Unloaded(
            ram_before_load=memory.before if memory.own_before is None else memory.own_before,
            ram_loaded=loaded,
            ram_after=(own_bytes() if told_apart else None) or resident_bytes(),
            blocks=blocks,
            gpus=gpus.released(),
        )

    def _read_gpu_memory(self, request: ReadGpuMemory) -> tuple[GpuMemory, ...]:  # noqa: ARG002  one signature
        return self._model.gpus.result()

    def _predict(self, request: Predict) -> Prediction:
        from plimsoll.host.server.predict import variant

        return variant.predict_all(request.subject)

    def _place(self, request: PredictPlacement) -> Mapping[str, str | int]:
        from plimsoll.host.server.predict import variant

        return variant.predict_placement(request.subject, request.device_map, request.memory)

    def _describe(self, request: Describe) -> Description:
        from plimsoll.host.server import describing

        return describing.describe(request)

    def _try_folder(self, request: TryFolder) -> Fit:
        from plimsoll.host.server import fitting

        return fitting.fit(request)

    def _generate(self, request: Generate) -> Generated:
        loaded = self._model
        from plimsoll.host.server import generation

        return generation.generate(loaded, request)

    def _answer_prompts(self, request: AnswerPrompts) -> Answered:
        loaded = self._model
        from plimsoll.host.server import answering

        return answering.answer(loaded, request)

    def _compare_cache(self, request: CompareCache) -> Agreement | None:
        loaded = self._model
        from plimsoll.host.server import caching

        return caching.compare_cache(loaded, request)

    def _compare_batch(self, request: CompareBatch) -> Agreement:
        loaded = self._model
        from plimsoll.host.server import generation

        return generation.compare_batch(loaded, request)

    def _compare_attention(self, request: CompareAttention) -> tuple[AttentionWay, ...]:
        loaded = self._model
        from plimsoll.host.server import attention

        return attention.compare(loaded, request)

    def _score(self, request: Score) -> Scored:
        loaded = self._model
        from plimsoll.host.server import generation

        return generation.score(loaded, request)

    def _prove_content(self, request: ProveContent) -> Content:
        loaded = self._model
        from plimsoll.host.server.content import proof

        return proof.prove(loaded, request)

    def _compute_golden(self, request: ComputeGolden) -> GoldenLogits:
        from plimsoll.host.server import golden

        return golden.compute(request)

    def _read_text(self, request: ReadText) -> tuple[TextLikelihood, ...]:
        loaded = self._model
        from plimsoll.host.server import meaning

        return meaning.read(loaded, request)

    def _tell_manners(self, request: TellManners) -> Manners:  # noqa: ARG002  handlers have one signature
        loaded = self._model
        from plimsoll.host.server import meaning

        return meaning.manners(loaded)

    def _compare_config(self, request: CompareConfig) -> tuple[ConfigDifference, ...]:
        from plimsoll.host.server import configuration

        return configuration.differences(request)

    def _compare_logits(self, request: CompareLogits) -> Scored:
        from plimsoll.host.server import generation

        return generation.compare_logits(request)

    def _make_reference(self, request: MakeReference) -> Scored:
        from plimsoll.host.server import reference

        return reference.make(request)

    def _measure_speeds(self, request: MeasureSpeeds) -> Speeds:
        from plimsoll.host.server import speeds

        return speeds.measure(request.spec)

    def _measure_matmul(self, request: MeasureMatmul) -> Rates:
        from plimsoll.host.server import device_speed

        return device_speed.matmul(request)

    def _measure_memory(self, request: MeasureMemory) -> Rates:
        from plimsoll.host.server import device_speed

        return device_speed.memory(request)

    def _measure_link(self, request: MeasureLink) -> Rates:
        from plimsoll.host.server import device_speed

        return device_speed.link(request)

    def _measure_peer(self, request: MeasurePeer) -> Rates:
        from plimsoll.host.server import device_speed

        return device_speed.peer(request)

    def _measure_all_reduce(self, request: MeasureAllReduce) -> Rates:
        from plimsoll.host.server import all_reduce

        return all_reduce.measure(request)

    def _compute_bits(self, request: ComputeBits) -> Bits:
        from plimsoll.host.server import agreement

        return agreement.compute_bits(request)

    def _time_generation(self, request: TimeGeneration) -> GenerationSpeed | None:
        loaded = self._model
        from plimsoll.host.server import generation_speed

        return generation_speed.time_generation(loaded, request)

    def _train(self, request: Train) -> Trained:
        from plimsoll.host.server.training import steps

        return steps.train(request)

    def _compare_steps(self, request: CompareSteps) -> StepsCompared:
        from plimsoll.host.server.training import steps

        return steps.compare(request)

    def _predict_step(self, request: PredictStep) -> StepPrediction:
        from plimsoll.host.server.predict import variant

        return variant.predict_training(request.training, request.subject, request.partner)

    def _call(self, request: Call) -> object:
        module, _, path = request.target.partition(":")
        function = cast("Callable[..., object]", reduce(getattr, path.split("."), importlib.import_module(module)))
        return function(**request.arguments)
