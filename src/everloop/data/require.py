"""The data gate inside a pipeline: rows that break the dataset's promises end the run."""

from collections.abc import Sequence

import pyarrow as pa

from everloop.data.expect import judge_expectations
from everloop.errors import Refused
from everloop.records.data import DataVerdict, Finding
from everloop.records.datasets import Dataset


def require(dataset: Dataset, rows: pa.Table) -> pa.Table:
    """The same rows, if they keep what the dataset promises; raises Refused with every broken promise otherwise.

    >>> from everloop.records.datasets import between
    >>> weather = Dataset("weather", keys="id", event_time=None, expect=[between("temp", -60, 130)])
    >>> require(weather, pa.table({"temp": [39.0, 41.0]})).num_rows
    2
    """
    refusal = find_refusal(dataset, judge_expectations(dataset.expect, rows))
    if refusal is not None:
        raise refusal
    return rows


def find_refusal(dataset: Dataset, findings: Sequence[Finding]) -> Refused | None:
    """What is raised over these findings, with every broken promise; None where all of them are tolerated."""
    broken = [f.message for f in findings if f.verdict.severity >= DataVerdict.QUARANTINE.severity]
    if not broken:
        return None
    return Refused(
        f"the rows break what dataset {dataset.name} promises: {'; '.join(broken)}.",
        next_step=f"`everloop datasets {dataset.name}` shows what each batch held; mend it, or what is expected.",
    )
