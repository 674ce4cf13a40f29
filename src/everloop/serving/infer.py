"""One `Infer` under every protocol: a plain function from what is asked to its answer, inside a visible list of wrappers.

Whoever brings requests, over HTTP or any other way, makes an `InferenceCall` and calls this. What is wrapped here is
inference: it knows no bytes on a wire, no connections and no event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from everloop.models.compiled import CompiledSignature
from everloop.serving.dataplane import Answer, DataPlane, Revision
from everloop.serving.errors import ModelFailed, status_of
from everloop.serving.metrics import ServerMetrics
from everloop.serving.planes import Planes
from everloop.serving.protocol import InferenceRequest, version_number


@dataclass(slots=True)
class InferenceCall:
    """One inference that is asked for, and what is learned about it on the way."""

    dialect: str
    """Who brings it; it is counted by that."""
    model: str
    """Whom it asks: an endpoint, or a model that one endpoint alone serves."""
    read: Callable[[CompiledSignature], InferenceRequest]
    """Reads the request and holds it against a signature: that of the revision that is asked, which nobody knows before."""
    version: str | None = None
    """The version that it asks for, as it was sent."""
    plane: DataPlane = field(init=False)
    """The endpoint that is meant, as `admitted` has found it."""
    revision: Revision = field(init=False)
    reading: float = field(init=False)
    """Seconds that `read` took."""


Infer: TypeAlias = Callable[[InferenceCall], Answer]


@dataclass(frozen=True, slots=True)
class InferContext:
    """What a wrapper may work with."""

    planes: Planes
    metrics: ServerMetrics


def measured(context: InferContext, infer: Infer) -> Infer:
    """Count and time every inference, refused ones as well, by names that clients cannot make up."""
    planes, metrics = context.planes, context.metrics

    def call(asked: InferenceCall) -> Answer:
        started = time.perf_counter()
        try:
            answer = infer(asked)
        except Exception as error:
            version = str(error.version) if isinstance(error, ModelFailed) else ""
            labels = (planes.model_of(asked.model), version, asked.dialect, str(status_of(error)))
            metrics.inference.observe(labels, time.perf_counter() - started)
            raise
        model, version = answer.response.model, str(answer.response.version)
        metrics.inference.observe((model, version, asked.dialect, "200"), time.perf_counter() - started)
        metrics.preprocess.observe((model,), asked.reading)
        metrics.predict.observe((model,), answer.seconds)
        return answer

    return call


def admitted(context: InferContext, infer: Infer) -> Infer:
    """Find out who is asked, and refuse what cannot be answered before any of it is read."""
    planes = context.planes

    def call(asked: InferenceCall) -> Answer:
        asked.plane = plane = planes.get(asked.model)
        asked.revision = plane.revision(version_number(asked.version))
        return infer(asked)

    return call


def shadowed(_context: InferContext, infer: Infer) -> Infer:
    """Let the other revision of a rollout score the request, too, when the client has its answer."""

    def call(asked: InferenceCall) -> Answer:
        answer = infer(asked)
        return answer if answer.shadow is None else answer._replace(after=(*answer.after, answer.shadow))

    return call


INFER: tuple[Callable[[InferContext, Infer], Infer], ...] = (measured, admitted, shadowed)
"""Outermost first. Adding one is a line here and a function."""


def compose_infer(context: InferContext) -> Infer:
    """The data planes' own `infer` inside of all wrappers; done once, when a server starts."""
    infer: Infer = _answer
    for wrap in reversed(INFER):
        infer = wrap(context, infer)
    return infer


def _answer(asked: InferenceCall) -> Answer:
    started = time.perf_counter()
    request = asked.read(asked.revision.signature)
    asked.reading = time.perf_counter() - started
    return asked.plane.infer(request, version=None if asked.version is None else asked.revision.version)
