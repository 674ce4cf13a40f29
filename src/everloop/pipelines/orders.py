"""What goes between the writer of a run and whoever does its steps: an order and its result, both plain enough for bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from everloop.records.runs import ArtifactRef, Run
from everloop.storage.codec import dumps, loads


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOrder:
    """One node of one run is to be done.

    With it a fresh interpreter can do it: it finds the stores and the module by the project's folder, and there the pipeline
    of the run, its node and the function. What is read comes as references: digests here, pins and params in the run.
    """

    root: str
    """The project's folder, which holds everloop.toml."""
    run: Run
    node: str
    inputs: tuple[ArtifactRef, ...]
    """What nodes before it have made, under the names that it has here."""
    cache_key: str
    """Who finds a node of another key under this name has found another one."""

    def to_bytes(self) -> bytes:
        """The order as it travels."""
        return dumps(self)

    @staticmethod
    def from_bytes(data: bytes) -> StepOrder:
        """The order again."""
        return loads(StepOrder, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What came of an order: what it made and measured, or why it failed, in words."""

    outputs: tuple[ArtifactRef, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None

    def to_bytes(self) -> bytes:
        """The result as it travels."""
        return msgspec.msgpack.encode(self)  # JSON has neither NaN nor infinity, and both can be measured

    @staticmethod
    def from_bytes(data: bytes) -> StepResult:
        """The result again."""
        return msgspec.msgpack.decode(data, type=StepResult)
