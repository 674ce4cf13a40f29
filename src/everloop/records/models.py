"""Registered models: signatures, numbered versions, and the aliases that point at them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from everloop.records.checks import CheckResult
from everloop.records.json import Json

CHAMPION = "champion"
CHALLENGER = "challenger"


class Datatype(StrEnum):
    """Tensor element types of the Open Inference Protocol that everloop uses.

    >>> Datatype("FP64"), Datatype.BYTES.value
    (<Datatype.FP64: 'FP64'>, 'BYTES')
    """

    BOOL = "BOOL"
    INT64 = "INT64"
    FP64 = "FP64"
    BYTES = "BYTES"


class Task(StrEnum):
    """What a model learns to tell; it decides which metrics, gates and judges fit it.

    >>> [task.value for task in Task]
    ['binary', 'regression']
    """

    BINARY = "binary"
    """Whether something is so, as a probability."""
    REGRESSION = "regression"
    """A number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One named input or output of a model.

    >>> Field(name="plan", datatype=Datatype.BYTES, categories=("basic", "team")).nullable
    False
    """

    name: str
    datatype: Datatype
    nullable: bool = False
    categories: tuple[str, ...] = ()
    """Levels of a BYTES input in the order of their codes; an unknown level reads as missing."""
    shape: tuple[int, ...] = ()
    """What one row holds: () a single value, (3,) three of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a model takes and what it gives; a request is held against it before the model sees it.

    >>> signature = Signature(
    ...     inputs=(Field(name="visits", datatype=Datatype.INT64),),
    ...     outputs=(Field(name="left", datatype=Datatype.FP64),),
    ... )
    >>> [field.name for field in signature.inputs], signature.task.value
    (['visits'], 'binary')
    """

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    """The first is the one that is measured: for a binary model the probability."""
    task: Task = Task.BINARY
    classes: tuple[bool | int | float | str, ...] = ()
    """The labels of a classifier in the order of its scores, where they are not simply 0 and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePin:
    """The feature service that made a model's inputs, and the digest of its definition at that time."""

    service: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One numbered, immutable result of a run."""

    model: str
    version: int
    digest: str
    """Digest of the bundle's manifest; it names every file of the model with its own digest."""
    flavor: str
    signature: Signature
    gate: CheckResult | None
    """The verdict this version got; None when no gate has looked at it."""
    run_id: str
    created_at: datetime
    metrics: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Json] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Only a version that passed a gate may carry an alias."""
        return self.gate is not None and self.gate.passed

    @property
    def name(self) -> str:
        """`late@3`."""
        return f"{self.model}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMove:
    """One entry of an alias's history."""

    model: str
    alias: str
    version: int | None
    """None when the alias was taken away."""
    previous: int | None
    epoch: int
    who: str
    why: str
    time: datetime
