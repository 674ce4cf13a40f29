"""What a dialect is: how requests of one protocol are read, answered and refused, as bytes; it knows no transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from everloop.models.compiled import CompiledSignature
from everloop.serving.planes import Planes
from everloop.serving.protocol import InferenceRequest, InferenceResponse

Look: TypeAlias = Callable[[Planes, Mapping[str, str]], tuple[int, bytes]]
"""What is told of the models that are served: from them and the changing parts of a path to a status and a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One protocol. What it raises while it reads is refused in its own shape; `serving.errors` has the status."""

    name: str
    """By it requests are counted."""
    routes: Mapping[str, Look | None]
    """By path, with `{names}` for its changing parts, of which `{model}` and `{version}` say who is asked: what answers a
    GET there, or None where inferences are posted."""
    read: Callable[[bytes, CompiledSignature], InferenceRequest]
    """Holds every value of a body against the signature, and raises InvalidInput for what does not fit."""
    write: Callable[[InferenceResponse], bytes]
    refuse: Callable[[Exception], bytes]
