"""Datasets and batches as people see them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from everloop.app.output import STYLES, echo, print_table, shortened
from everloop.control.data import DatasetSummary, KeptOut, batch_name
from everloop.records.data import Batch


def print_datasets(found: Sequence[DatasetSummary]) -> None:
    """A table of datasets, or how to bring the first rows."""
    rows = [(one.name, one.version, one.rows, _counts(one) or "nothing has arrived") for one in found]
    empty = "No data yet. everloop append DATASET FILE"
    print_table("datasets", ("dataset", "version", "rows", "batches"), rows, empty=empty)


def print_batches(dataset: str, batches: Sequence[Batch], *, now: datetime) -> None:
    """Every batch of a dataset and what the gate found in it."""
    rows = [
        (shortened(b.key), b.arrived_at, b.rows, b.verdict.value, b.version, _findings(b)) for b in batches
    ]
    columns = ("batch", "arrived, UTC", "rows", "verdict", "version", "findings")
    empty = f"Nothing has arrived. everloop append {dataset} FILE"
    print_table(f"batches of {dataset}", columns, rows, empty=empty, now=now)


def print_batch(batch: Batch) -> None:
    """What became of a batch that was handed over."""
    kept = (
        "kept out" if batch.version is None else f"version {batch.version}, {batch.total_rows:,} rows in all"
    )
    said = f"  {batch_name(batch)}, {batch.rows:,} rows: "
    verdict = batch.verdict.value
    echo((batch.dataset, "bold"), said, (verdict, STYLES[verdict]), f", {kept}")
    for finding in batch.findings:
        echo(f"  {finding.message}")


def print_kept_out(found: KeptOut) -> None:
    """The first rows of a batch that was kept out, or where they are now."""
    batch = found.batch
    print_batch(batch)
    if found.file is not None:
        echo(f"{batch.rows:,} rows are in ", (found.file, "bold"))
    elif found.rows:
        title = f"the first {len(found.rows)} of {batch.rows:,} rows"
        # A number of the data may be an identifier: it is shown as it came.
        rows = [
            [str(value) if isinstance(value, int) else value for value in row.values()] for row in found.rows
        ]
        print_table(title, list(found.rows[0]), rows)


def _counts(summary: DatasetSummary) -> str:
    return ", ".join(f"{number} {verdict}" for verdict, number in summary.verdicts.items())


def _findings(batch: Batch) -> str:
    return "; ".join(finding.message for finding in batch.findings)
