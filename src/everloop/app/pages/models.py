"""Registered models as people see them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from everloop.app.output import echo, print_table, short, shortened
from everloop.control.models import Aliases, ModelsReport
from everloop.evaluation.metric import METRICS
from everloop.records.models import AliasMove, ModelVersion


def print_models(found: ModelsReport, *, now: datetime) -> None:
    """A table of model versions with their aliases."""
    measured = _measured(found.versions)
    rows = [_version_row(version, found.aliases[version.model], measured) for version in found.versions]
    columns = ("version", "alias", "gate", *measured.values(), "registered, UTC", "run")
    empty = "No models yet. A pipeline that calls register(…) makes them."
    print_table("models", columns, rows, empty=empty, now=now)


def print_history(found: ModelsReport, *, now: datetime) -> None:
    """Who was champion when, and who moved it why."""
    rows = [
        (m.time, m.alias, f"{m.previous or '–'} → {m.version or '–'}", f"{m.who}: {shortened(m.why)}")
        for m in found.history
    ]
    print_table("history", ("when, UTC", "alias", "moved", "who and why"), rows, now=now)


def print_move(move: AliasMove | None, wanted: str) -> None:
    """That the champion has moved, or has been where it was wanted."""
    if move is None:
        echo(f"{wanted} is champion already; nothing was changed.")
        return
    before = "nobody" if move.previous is None else f"{move.model}@{move.previous}"
    echo(f"champion of {move.model}: {before} → ", (f"{move.model}@{move.version}", "bold"))


def _measured(versions: Sequence[ModelVersion]) -> dict[str, str]:
    """The metrics that get a column, each with its heading: those of everloop that are listed, and all of the user's."""
    ours = {name: metric.heading for name, metric in METRICS.items() if metric.listed}
    # What was measured with an interval is a metric; the numbers of champion and baselines have none.
    known = [name for version in versions for name in version.metrics if f"{name}_low" in version.metrics]
    own = {name: name.replace("_", " ") for name in known if name not in METRICS}
    return {name: heading for name, heading in (ours | own).items() if name in known}


def _version_row(version: ModelVersion, aliases: Aliases, measured: Iterable[str]) -> tuple[object, ...]:
    alias = ", ".join(name for name, number in aliases.items() if number == version.version)
    gate = "none" if version.gate is None else "passed" if version.passed else "refused"
    numbers = (version.metrics.get(name) for name in measured)
    return version.name, alias, gate, *numbers, version.created_at, short(version.run_id)
