"""Values to files and back: what a step returns is kept in a format that runs no code when it is read."""

from __future__ import annotations

import logging
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from everloop.errors import Corrupted, InvalidInput, NotFound, Unsupported
from everloop.pipelines.formats import FORMATS, Format, Slot
from everloop.pipelines.hints import SINGLE, describe_type, fits, is_record, output_fields
from everloop.records.runs import ArtifactRef
from everloop.settings import Trust
from everloop.storage.blobs import Blobs

_logger = logging.getLogger(__name__)


class Saved(NamedTuple):
    """What was written, and the value itself where the next step may have it without reading it again."""

    ref: ArtifactRef
    value: object | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """Writes and reads the artifacts of one pipeline.

    A step gets what was kept, never the object that another step returned: a fresh run, a cached and a resumed one see the
    same value, what is judged is what will be served, and nobody can change a value under somebody else's hands. Only a
    table, which cannot be changed, is handed on without reading it, where reading would give the same table.
    """

    blobs: Blobs
    trust: Trust
    pipeline: str

    def save(self, name: str, value: object, hint: Any) -> Saved:
        """Keep a value; raises InvalidInput when it is not of the type that the step promised."""
        check_type(name, value, hint)
        format = next(format for format in FORMATS if format.owns(value, hint))
        with self.blobs.writing() as blob:
            format.write(value, blob, self._slot(name, hint))
        ref = ArtifactRef(name=name, digest=blob.digest, format=format.name, size=blob.size)
        return Saved(ref, value if format.comes_back(value) else None)

    def load(self, ref: ArtifactRef, hint: Any) -> object:
        """The value again, its bytes checked against the digest first."""
        with self.blobs.reading(ref.digest) as file:
            return _format(ref).read(file, self._slot(ref.name, hint))

    def is_intact(self, ref: ArtifactRef) -> bool:
        """Whether all of it can still be read."""
        try:
            with self.blobs.reading(ref.digest) as file:
                if _format(ref).names_others:
                    _format(ref).read(file, self._slot(ref.name, Any))
        except (NotFound, Corrupted) as error:
            _logger.warning("%s, so it is made anew", error.reason.rstrip("."))
            return False
        return True

    def _slot(self, name: str, hint: Any) -> Slot:
        return Slot(name=name, hint=hint, pipeline=self.pipeline, trust=self.trust, blobs=self.blobs)


def _format(ref: ArtifactRef) -> Format:
    for format in FORMATS:
        if format.name == ref.format:
            return format
    raise Unsupported(
        f"artifact {ref.name!r} is in the format {ref.format!r}.", next_step="upgrade everloop."
    )


def check_type(name: str, value: object, hint: Any) -> None:
    """Refuse a value that is not what the type hint says."""
    if isinstance(value, types.GeneratorType):
        raise InvalidInput(
            f"output {name!r} is a generator, which can be read once only.", next_step="return a list."
        )
    if not fits(type(value), hint):
        raise InvalidInput(
            f"output {name!r} is a {type(value).__name__}; its type hint says {describe_type(hint)}.",
            next_step="return what the hint says, or change the hint.",
        )


def take_apart(value: object, returns: Any) -> dict[str, object]:
    """The named outputs of what a step returned."""
    fields = output_fields(returns)
    if not fields and value is not None:
        raise InvalidInput(
            f"it returned a {type(value).__name__}; its type hint says None.",
            next_step="say in the hint what it returns.",
        )
    if not is_record(returns):
        return {SINGLE: value} if fields else {}
    if not isinstance(value, tuple) or len(value) != len(fields):
        raise InvalidInput(
            f"it returned a {type(value).__name__}; its type hint says {describe_type(returns)} with {', '.join(fields)}.",
            next_step="return all of these, or change the hint.",
        )
    return dict(zip(fields, value, strict=True))


def collect_metrics(outputs: Mapping[str, object]) -> dict[str, float]:
    """What the outputs say was measured: those with a method `metrics` that gives numbers by name."""
    found: dict[str, float] = {}
    for value in outputs.values():
        measure = getattr(value, "metrics", None)
        if callable(measure) and not isinstance(value, type):
            found |= {str(name): float(number) for name, number in measure().items()}
    return found
