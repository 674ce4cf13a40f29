"""Answer inference requests: choose the revision, score, keep what happened, and never let a canary hurt a client."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Protocol

from everloop.clock import Clock
from everloop.errors import InvalidInput, NotFound, NotReady, shown
from everloop.models.compiled import Columns, CompiledSignature
from everloop.models.model import Outputs
from everloop.monitoring.inference_log import InferenceLog
from everloop.records.models import Datatype, Field, Signature
from everloop.records.serving import Arm, Outcome, Prediction, Scalar, Traffic, TrafficSplit, Value
from everloop.rollout.routing import arm as assigned_arm
from everloop.serving.errors import ModelFailed
from everloop.serving.protocol import InferenceRequest, InferenceResponse, row_id
from everloop.storage.codec import storable_text

_logger = logging.getLogger(__name__)
_NEUTRAL: Mapping[str, Scalar] = {"BOOL": False, "INT64": 0, "FP64": 0.0, "BYTES": ""}


class Scorer(Protocol):
    """What the data plane needs of a model; `models.model.Model` has it."""

    @property
    def signature(self) -> Signature:
        """What goes in and comes out."""

    def infer(self, columns: Columns, /) -> Outputs:
        """An array of shape (rows, *shape) for each output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One version, loaded and warm."""

    model: str
    version: int
    scorer: Scorer
    signature: CompiledSignature


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTraffic:
    """What is in force: the traffic and every revision that it needs. Replaced as one reference, never changed."""

    traffic: Traffic
    revisions: Mapping[int, Revision]
    stable: Revision | None
    """The revision that answers unless the canary does; None while the endpoint has no champion."""
    canary: Revision | None
    """The revision on trial."""


class Answer(NamedTuple):
    """What to send, how long the model took, and how the other revision of a rollout would score the request, too."""

    response: InferenceResponse
    seconds: float
    shadow: Callable[[], None] | None = None
    after: tuple[Callable[[], None], ...] = ()
    """What is left to do once the client has its answer."""


class _Inference(NamedTuple):
    """One request on its way: what all of its rows in the log have in common."""

    request: InferenceRequest
    prediction_id: str
    unit: str
    time: datetime
    arrived_at: datetime


class _Score(NamedTuple):
    """What a revision made of a request."""

    values: Mapping[str, Sequence[Value]]
    outcome: Outcome
    error: str | None
    seconds: float

    @property
    def failed(self) -> bool:
        """There is no answer to send."""
        return self.outcome is not Outcome.ANSWERED


class DataPlane:
    """The warm revisions of one endpoint.

    `apply` and `infer` may run in different threads: `infer` reads what is loaded once and keeps to it. A request
    whose canary fails is answered by the stable revision, and both are logged under the same prediction id.
    A client that names a version is outside the rollout: its predictions are logged with a share of 0.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        load: Callable[[str, int], Scorer],
        log: InferenceLog,
        now: Clock,
        new_id: Callable[[], str],
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.endpoint = endpoint
        self._load, self._log = load, log
        self._now, self._new_id, self._timer = now, new_id, timer
        self._loaded: LoadedTraffic | None = None

    @property
    def loaded(self) -> LoadedTraffic | None:
        """What is in force now; None before the first `apply`."""
        return self._loaded

    @property
    def generation(self) -> int:
        """The generation of the traffic in force; 0 before there is one."""
        return 0 if self._loaded is None else self._loaded.traffic.generation

    def apply(self, traffic: Traffic) -> None:
        """Put this traffic into effect: load what it needs, then switch; requests in between see what was loaded before.

        When something cannot be loaded, what was there stays and the error is raised. A server that has nothing yet
        serves the stable revision alone when only the canary cannot be loaded.
        """
        revisions = (
            {} if traffic.stable is None else {traffic.stable: self._revision(traffic, traffic.stable)}
        )
        if traffic.canary is not None:
            try:
                revisions[traffic.canary] = self._revision(traffic, traffic.canary)
            except Exception:
                if self._loaded is None and revisions:
                    alone = replace(traffic, generation=0, canary=None, split=TrafficSplit(stable=100))
                    self._loaded = _in_force(alone, revisions)
                raise
        self._loaded = _in_force(traffic, revisions)

    @property
    def model(self) -> str | None:
        """The name of its model; None before the first `apply`."""
        return None if self._loaded is None else self._loaded.traffic.model

    @property
    def versions(self) -> Sequence[int]:
        """The versions that can be asked for."""
        return [] if self._loaded is None else sorted(self._loaded.revisions)

    @property
    def ready(self) -> bool:
        """Whether there is a revision to answer with."""
        return self._loaded is not None and self._loaded.traffic.stable is not None

    def revision(self, version: int | None = None) -> Revision:
        """The revision whose signature a request must meet: the one that is named, else the stable one.

        Raises NotReady, with the next step, while there is nothing to answer with.
        """
        loaded = self._ready()
        return self._stable(loaded) if version is None else self._named(loaded, version)

    def infer(self, request: InferenceRequest, *, version: int | None = None) -> Answer:
        """Answer a request that meets the signature, and log each of its rows.

        Raises ModelFailed when the revision that had to answer cannot.
        """
        loaded = self._ready()
        inference = self._open(request)
        arm, revision, share = self._choose(loaded, inference.unit, version)
        score = self._score(revision, request)
        self._record(inference, revision, arm, share, score)
        if score.failed and arm is Arm.CANARY and share > 0:
            arm, revision, share = Arm.STABLE, self._stable(loaded), loaded.traffic.split.stable
            score = self._score(revision, request)
            self._record(inference, revision, arm, share, score)
            return self._answer(inference, revision, arm, score, None)
        return self._answer(inference, revision, arm, score, self._shadow_of(loaded, inference, arm, share))

    def _ready(self) -> LoadedTraffic:
        loaded = self._loaded
        if loaded is None or loaded.traffic.stable is None:
            raise not_ready(self.endpoint)
        return loaded

    @staticmethod
    def _stable(loaded: LoadedTraffic) -> Revision:
        stable = loaded.stable
        assert stable is not None, "it is ready only with a stable revision"
        return stable

    @staticmethod
    def _named(loaded: LoadedTraffic, version: int) -> Revision:
        if version not in loaded.revisions:
            there = ", ".join(str(number) for number in sorted(loaded.revisions))
            raise NotFound(
                f"{loaded.traffic.model} has no version {version} at this endpoint; there is {there}.",
                next_step="ask for that one, or for no version.",
            )
        return loaded.revisions[version]

    def _revision(self, traffic: Traffic, version: int) -> Revision:
        known = None if self._loaded is None else self._loaded.revisions.get(version)
        if known is not None and known.model == traffic.model:
            return known
        scorer = self._load(traffic.model, version)
        signature = CompiledSignature(scorer.signature)
        revision = Revision(model=traffic.model, version=version, scorer=scorer, signature=signature)
        _warm(revision)
        return revision

    def _open(self, request: InferenceRequest) -> _Inference:
        prediction_id, now = self._new_id(), self._now()
        return _Inference(
            request=request,
            prediction_id=prediction_id,
            unit=request.unit or prediction_id,
            time=request.time or now,
            arrived_at=now,
        )

    def _choose(self, loaded: LoadedTraffic, unit: str, version: int | None) -> tuple[Arm, Revision, int]:
        traffic, canary = loaded.traffic, loaded.canary
        if version is not None:
            named = Arm.CANARY if version == traffic.canary else Arm.STABLE
            alone = named is Arm.STABLE and canary is None
            return named, self._named(loaded, version), 100 if alone else 0
        if canary is not None and assigned_arm(unit, traffic.salt, traffic.split.canary) is Arm.CANARY:
            return Arm.CANARY, canary, traffic.split.canary
        return Arm.STABLE, self._stable(loaded), traffic.split.stable

    def _score(self, revision: Revision, request: InferenceRequest) -> _Score:
        started = self._timer()
        values: Mapping[str, Sequence[Value]] = {}
        error: str | None = None
        outcome = Outcome.FAILED
        try:
            columns = request.columns
            if request.signature is not revision.signature:
                columns = revision.signature.fit(columns)
            values, error = _checked(revision, revision.scorer.infer(columns), request.rows)
        except Exception as raised:  # whatever a model does, the endpoint keeps answering
            _logger.warning("%s@%d failed", revision.model, revision.version, exc_info=raised)
            error = f"{type(raised).__name__}: {raised}"
            outcome = Outcome.REFUSED if isinstance(raised, InvalidInput) else Outcome.FAILED
        seconds = self._timer() - started
        if error is None:
            return _Score(values, Outcome.ANSWERED, None, seconds)
        # An exception's message may quote megabytes.
        return _Score({}, outcome, storable_text(error[:500]), seconds)

    def _record(self, inference: _Inference, revision: Revision, arm: Arm, share: int, score: _Score) -> None:
        request = inference.request
        for row in range(request.rows):
            prediction = Prediction(
                id=row_id(inference.prediction_id, row, request.rows),
                request_id=request.id or inference.prediction_id,
                unit=inference.unit,
                endpoint=self.endpoint,
                model=revision.model,
                version=revision.version,
                arm=arm,
                share=share,
                time=inference.time,
                arrived_at=inference.arrived_at,
                inputs={name: values[row] for name, values in request.columns.items()},
                outputs={name: values[row] for name, values in score.values.items()} or None,
                outcome=score.outcome,
                error=score.error,
                seconds=score.seconds,
            )
            self._log.append(prediction)

    def _answer(
        self,
        inference: _Inference,
        revision: Revision,
        arm: Arm,
        score: _Score,
        shadow: Callable[[], None] | None,
    ) -> Answer:
        if score.failed:
            raise ModelFailed(
                f"{revision.model}@{revision.version} could not answer; this is prediction {inference.prediction_id}.",
                version=revision.version,
                next_step="the server's log and the inference log say why.",
            )
        response = InferenceResponse(
            id=inference.request.id or inference.prediction_id,
            prediction_id=inference.prediction_id,
            model=revision.model,
            version=revision.version,
            arm=arm,
            outputs=_wanted(revision.signature.declared.outputs, inference.request.wanted),
            values=score.values,
        )
        return Answer(response, score.seconds, shadow)

    def _shadow_of(
        self, loaded: LoadedTraffic, inference: _Inference, arm: Arm, share: int
    ) -> Callable[[], None] | None:
        """Score the request with the other revision too; the client does not wait for it."""
        if not loaded.traffic.shadow or loaded.canary is None or share == 0:
            return None
        other = loaded.canary if arm is Arm.STABLE else self._stable(loaded)
        return partial(self._score_shadow, inference, other, share)

    def _score_shadow(self, inference: _Inference, other: Revision, share: int) -> None:
        self._record(inference, other, Arm.SHADOW, share, self._score(other, inference.request))


def not_ready(*endpoints: str) -> NotReady:
    """What is said of endpoints that cannot answer yet."""
    named = ", ".join(map(repr, endpoints))
    return NotReady(
        f"endpoint {named} has no model version to answer with yet."
        if len(endpoints) == 1
        else f"endpoints {named} have no model version to answer with yet.",
        next_step="run the pipeline that registers one and promote it; `everloop status` shows where it is.",
    )


def _in_force(traffic: Traffic, revisions: Mapping[int, Revision]) -> LoadedTraffic:
    stable = None if traffic.stable is None else revisions[traffic.stable]
    canary = None if traffic.canary is None else revisions[traffic.canary]
    return LoadedTraffic(traffic=traffic, revisions=revisions, stable=stable, canary=canary)


def _wanted(outputs: Sequence[Field], names: Sequence[str]) -> Sequence[Field]:
    return [field for field in outputs if field.name in names] if names else outputs


def _checked(
    revision: Revision, outputs: Outputs, rows: int
) -> tuple[Mapping[str, Sequence[Value]], str | None]:
    """The answers as plain values, and what is wrong with them, if anything is."""
    values: dict[str, Sequence[Value]] = {}
    for field in revision.signature.declared.outputs:
        values[field.name] = answered = outputs[field.name].tolist()
        if len(answered) != rows or (field.datatype is Datatype.FP64 and not _finite(answered, field)):
            return {}, f"answered {shown(answered)} to {rows} rows; expected as many finite numbers"
    return values, None


def _finite(values: Sequence[Any], field: Field) -> bool:
    for _ in field.shape:
        values = [inner for outer in values for inner in outer]
    return all(map(math.isfinite, values))


def _warm(revision: Revision) -> None:
    """Let the first request not be the one that waits for threads to start and caches to fill."""
    row: Columns = {
        field.name: [None if field.nullable else _NEUTRAL[field.datatype.value]]
        for field in revision.signature.declared.inputs
    }
    try:
        revision.scorer.infer(row)
    except Exception as error:  # noqa: BLE001 - a made-up row may mean nothing to a model that answers real ones
        _logger.info("%s@%d does not answer a neutral row: %s", revision.model, revision.version, error)
