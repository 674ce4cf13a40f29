"""How the command line speaks: tables for people, JSON for programs, one line when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from everloop.records.checks import CheckResult
from everloop.records.runs import RunState
from everloop.storage.codec import dumps

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)

_STATE_STYLES = {
    "COMPLETE": "green",
    "RUNNING": "cyan",
    "START": "cyan",
    "FAIL": "red",
    "ABORT": "yellow",
    "pass": "green",
    "retrain": "cyan",
    "quarantine": "yellow",
    "stop": "red",
    "passed": "green",
    "refused": "red",
    "promoted": "green",
    "rolled_back": "red",
    "inconclusive": "yellow",
    "running": "cyan",
    "ok": "green",
    "alarm": "red",
    "unknown": "yellow",
}


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(dumps(value).decode() + "\n")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table, or what to do when there is nothing to show."""
    lines = [[_cell(value) for value in row] for row in rows]
    if not lines:
        out.print(Text(empty, style="dim"))
        return
    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*line)
    out.print(table)


def _cell(value: object) -> Text:
    if value is None:
        return Text("–", style="dim")
    if isinstance(value, datetime):
        return Text(moment(value), style="dim")
    if isinstance(value, RunState):
        value = value.value
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(f"{value:,}")
    text = str(value)
    return Text(text, style=_STATE_STYLES.get(text, ""))


def moment(time: datetime) -> str:
    """A time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M")


def short(run_id: str) -> str:
    """The end of a run's id: enough to name it, and different even for runs of the same millisecond."""
    return run_id[-8:]


def check_lines(result: CheckResult) -> list[Text]:
    """Every single answer of a gate or judge, one line each."""
    lines = []
    for leaf in result.leaves():
        mark, style = ("✓", "green") if leaf.passed else ("✗", "red")
        lines.append(Text.assemble((f"{mark} ", style), (leaf.name, "bold"), f"  {leaf.because}"))
    return lines
