"""Datasets as they are kept: columns, schemas, findings, and the batches that arrived."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DataVerdict(StrEnum):
    """What the data gate says of a batch; the worst finding decides."""

    PASS = "pass"
    RETRAIN = "retrain"
    QUARANTINE = "quarantine"
    STOP = "stop"

    @property
    def severity(self) -> int:
        """0 for pass up to 3 for stop."""
        return list(DataVerdict).index(self)

    @property
    def keeps_out(self) -> bool:
        """Whether a batch with this verdict stays out of its dataset."""
        return self in (DataVerdict.QUARANTINE, DataVerdict.STOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing the data gate noticed, and what it is worth."""

    verdict: DataVerdict
    rule: str
    column: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataColumn:
    """A column of a dataset: its Arrow type by name and whether nulls belong in it."""

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a dataset's batches look like."""

    columns: tuple[DataColumn, ...]

    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that arrived together: their verdict, and the dataset version that they became."""

    dataset: str
    key: str
    """The sender's name for the batch; the same key twice is the same batch."""
    arrived_at: datetime
    rows: int
    verdict: DataVerdict
    findings: tuple[Finding, ...]
    version: int | None
    """Version of the dataset after the append; None when the batch was kept out."""
    content: str | None
    """Digest of the rows kept aside when the batch was kept out."""
    profile: str | None
    """Digest of the batch's profile."""
    total_rows: int = 0
    """Rows of the dataset at this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPin:
    """The version of a dataset that a run reads."""

    dataset: str
    version: int
    rows: int = 0
