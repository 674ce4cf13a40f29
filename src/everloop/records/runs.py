"""Runs of pipelines: the run, its steps, and the artifacts they made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from everloop.records.data import DatasetPin
from everloop.records.json import Json


class RunState(StrEnum):
    """States of OpenLineage; START is a run that waits for a worker."""

    START = "START"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    ABORT = "ABORT"

    @property
    def ended(self) -> bool:
        """No worker will touch it again."""
        return self in (RunState.COMPLETE, RunState.FAIL, RunState.ABORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeVersion:
    """Which code ran: the commit, whether the tree was dirty, and the digest of the project's sources."""

    commit: str | None
    dirty: bool | None
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where it ran: Python and the version of every installed distribution."""

    python: str
    platform: str
    libraries: Mapping[str, str]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPin:
    """The model version that an alias meant when the run began; None when there was none."""

    model: str
    alias: str
    version: int | None
    digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a pipeline."""

    id: str
    pipeline: str
    key: str
    """Idempotency key: one trigger firing makes one run."""
    state: RunState
    trigger: str
    reason: str
    who: str
    params: Mapping[str, Json]
    requested_at: datetime
    register: bool = True
    """Whether its models become versions; False for an experiment, which is no release."""
    data: Mapping[str, int] = field(default_factory=dict)
    """Versions of datasets that it was asked to read; of every other dataset it reads the newest."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None
    worker: str | None = None
    epoch: int = 0
    """Raised by every claim; a worker with an older epoch can no longer write."""
    resumed: int = 0
    """How often a worker took it over from a dead one."""
    datasets: tuple[DatasetPin, ...] = ()
    models: tuple[ModelPin, ...] = ()
    code: CodeVersion | None = None
    environment: Environment | None = None
    error: str | None = None

    @property
    def freshens(self) -> bool:
        """Whether it registers what it makes of the newest data; any other is an experiment and answers no reason."""
        return self.register and not self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRef:
    """A file a run made or read: what it is, and the digest that names its bytes."""

    name: str
    digest: str
    format: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """One step of one run."""

    run_id: str
    step: str
    position: int
    state: RunState
    cache_key: str
    started_at: datetime
    ended_at: datetime | None = None
    seconds: float | None = None
    cached_from: str | None = None
    """Run whose result was taken; None when the function ran."""
    error: str | None = None
    inputs: tuple[ArtifactRef, ...] = ()
    outputs: tuple[ArtifactRef, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
