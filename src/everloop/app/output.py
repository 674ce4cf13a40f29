"""How the command line speaks: tables for people, JSON for programs, one line when something is wrong.

`Printer` is the one place that turns an answer into the one or the other; nothing else asks who is listening.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from everloop.errors import EverloopError
from everloop.records.checks import CheckResult
from everloop.records.events import Event, EventType
from everloop.records.runs import RunState
from everloop.storage.codec import dumps

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Part = str | tuple[str, str] | Text
"""A piece of a line: plain, or with a style, as in `("late", "bold")`. No markup: names and errors hold brackets."""

_NO_FOLDING = 4_000
"""Width of what goes into a pipe or a file: one row is one line, for `grep` and `cut`."""

STYLES: Mapping[str, str] = {
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
_BAD_NEWS = {
    EventType.DATA_QUARANTINED,
    EventType.DATA_STOPPED,
    EventType.RUN_FAILED,
    EventType.RUN_ABORTED,
    EventType.STEP_FAILED,
    EventType.ROLLOUT_ROLLED_BACK,
    EventType.PERFORMANCE_DECAYED,
    EventType.DRIFT_DETECTED,
}


# ---- answers


def nothing() -> None:
    """What people see of an answer that is for programs alone."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command has come to: a record for programs, how people see it, and the exit code."""

    record: object
    show: Callable[[], None] = nothing
    code: int = 0
    error: EverloopError | None = None
    """What went wrong, which whoever is listening finds on standard error."""


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints for whoever is listening: a program, or a person."""

    for_programs: bool

    def print(self, reply: Reply) -> int:
        """The record or the picture; returns the exit code."""
        if self.for_programs:
            _print_json(reply.record)
        else:
            reply.show()
        if reply.error is not None:
            print_error(reply.error)
        return reply.code

    def show(self, picture: Callable[[], None]) -> None:
        """Something that a program has no use for, or will find in a later record."""
        if not self.for_programs:
            picture()

    @property
    def aside(self) -> Console:
        """Where progress is shown: not in a program's way."""
        return err if self.for_programs else out


@contextmanager
def printing(*, as_json: bool) -> Iterator[Printer]:
    """A printer for the length of a command; for a program, nothing else gets to standard output meanwhile."""
    with _json_alone() if as_json else nullcontext():
        yield Printer(as_json)


# ---- lines


def echo(*parts: Part, to: Console = out) -> None:
    """One line; a terminal folds it at words, anything else gets it whole."""
    to.print(Text.assemble(*parts), soft_wrap=not to.is_terminal)


def print_error(error: EverloopError) -> None:
    """What went wrong and what to do next, on standard error."""
    _unfolded(("everloop:", "bold red"), f" {error.reason}")
    if error.next_step:
        _unfolded(("next:", "dim"), f" {error.next_step}")


def print_warnings(warnings: Sequence[str]) -> None:
    """A line for each thing that is no error and hardly meant."""
    for warning in warnings:
        echo(("warning: ", "yellow"), warning)


def _unfolded(*parts: Part) -> None:
    """Whole even in a terminal, so that a path or a command in it can be copied."""
    err.print(Text.assemble(*parts), soft_wrap=True)


def print_event(event: Event) -> None:
    """One event of the ledger as people read it, what is folded below what it belongs to."""
    grid = Table.grid(padding=(0, 2))
    for width in (8, 18, 8, 0):
        grid.add_column(min_width=width, no_wrap=width > 0, overflow="fold")
    bad = event.short_type in _BAD_NEWS
    grid.add_row(
        Text(f"{event.time:%H:%M:%S}", style="dim"),
        Text(event.short_type, style="red" if bad else ""),
        Text(shortened(event.subject), style="bold"),
        Text(describe_data(event.data)),
    )
    print_wide(grid)


def describe_data(data: Mapping[str, object]) -> str:
    """An event's data in words: numbers and names first, then the reason, once.

    >>> describe_data({"rows": 400, "because": "the first", "reason": "the first", "version": None})
    'rows 400; the first'
    """
    given = {name: value for name, value in data.items() if value not in (None, "", [], {})}
    reasons = dict.fromkeys(str(given[name]) for name in _REASONS if name in given)
    facts = [f"{name} {value}" for name, value in given.items() if name not in (*_REASONS, *_UNSAID)]
    return shortened("; ".join(filter(None, [", ".join(facts), *reasons])))


_REASONS = ("reason", "because", "why", "error")
_UNSAID = ("digest", "worker", "epoch", "kind")


# ---- tables


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    empty: str = "",
    now: datetime | None = None,
) -> None:
    """A table, or what to do when there is nothing to show; only the last column is folded, at words.

    Times of the day and the year of `now` are told the short way in a terminal.
    """
    lines = [[_cell(value, now) for value in row] for row in rows]
    if not lines:
        if empty:
            echo((empty, "dim"))
        return
    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False
    )
    for place, column in enumerate(columns):
        last = place == len(columns) - 1
        table.add_column(column, no_wrap=not last, overflow="fold" if last else "ellipsis")
    for line in lines:
        table.add_row(*line)
    print_wide(table)


def print_checks(result: CheckResult) -> None:
    """Every single answer of a gate or judge, one line each, what is folded below what it belongs to."""
    grid = Table.grid(padding=(0, 1))
    for leaf in result.leaves():
        mark, style = ("✓", "green") if leaf.passed else ("✗", "red")
        grid.add_row(Text(f"  {mark}", style=style), Text(leaf.name, style="bold"), Text(leaf.because))
    print_wide(grid)


def print_facts(facts: Mapping[str, str]) -> None:
    """Names and values below each other; what is empty is left out."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value:
            grid.add_row(Text(f"  {name}", style="dim"), Text(value))
    print_wide(grid)


def print_wide(shown: RenderableType) -> None:
    """As wide as the terminal; where there is none, every line is whole, and ends with its last letter."""
    if out.is_terminal:
        out.print(shown)
        return
    page = Console(file=io.StringIO(), width=_NO_FOLDING, highlight=False)
    with page.capture() as drawn:
        page.print(shown)
    out.file.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))


def _cell(value: object, now: datetime | None) -> Text:
    if value is None:
        return Text("–", style="dim")
    if isinstance(value, Text):
        return value
    if isinstance(value, datetime):
        return Text(moment(value, now if out.is_terminal else None), style="dim", justify="right")
    if isinstance(value, RunState):
        value = value.value
    if isinstance(value, float):
        return Text(f"{value:.4g}")
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(f"{value:,}")
    text = str(value)
    return Text(text, style=STYLES.get(text, ""))


# ---- words


def moment(time: datetime, now: datetime | None = None) -> str:
    """A time in UTC as people read it; the shorter, the nearer it is to now.

    >>> from datetime import UTC
    >>> new_year = datetime(2013, 1, 1, 6, 30, tzinfo=UTC)
    >>> [moment(new_year, now) for now in (None, new_year.replace(hour=9), new_year.replace(month=5))]
    ['2013-01-01 06:30', '06:30', '1 Jan 06:30']
    """
    if now is None or time.year != now.year:
        return f"{time:%Y-%m-%d %H:%M}"
    return f"{time:%H:%M}" if time.date() == now.date() else f"{time.day} {time:%b %H:%M}"


def duration(seconds: float | None) -> str:
    """A span as people read it.

    >>> duration(0.04), duration(75), duration(7300), duration(None)
    ('0.0 s', '1 min 15 s', '2 h 1 min', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def counted(things: Sequence[object], name: str) -> str:
    """How many there are of a thing.

    >>> counted([1], "endpoint"), counted([], "monitor")
    ('1 endpoint', '0 monitors')
    """
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def short(run_id: str) -> str:
    """The end of a run's id: enough to name it, and different even for runs of the same millisecond."""
    return run_id[-8:]


_RUN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_FILE_KEY = re.compile(r"(?<=\S)@[0-9a-f]{16}\b")
_TIME = re.compile(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d):[0-9.]+(\+00:00|Z)")


def shortened(text: str) -> str:
    """A text for people: a run's id cut down to what names it, no digest behind a file's name, times to the minute.

    >>> shortened("run 01920000-0000-7000-8000-00000000abcd, batch may.csv@0123456789abcdef")
    'run 0000abcd, batch may.csv'
    >>> shortened("until 2026-11-22T17:32:34.627893+00:00")
    'until 2026-11-22 17:32 UTC'
    """
    text = _RUN_ID.sub(lambda match: short(match[0]), text)
    return _TIME.sub(r"\1 \2 UTC", _FILE_KEY.sub("", text))


# ---- JSON

_programs: list[TextIO] = []
"""Where JSON goes while nothing else may go there."""


def _print_json(value: object) -> None:
    """One JSON document on standard output, on one line."""
    stream = _programs[-1] if _programs else sys.stdout
    stream.write(dumps(value).decode() + "\n")
    stream.flush()


@contextmanager
def _json_alone() -> Iterator[None]:
    """For the length of a block only a reply reaches standard output.

    Whatever else is printed there, by a step, by a library in C or by a process that a step starts, goes to
    standard error; a program that reads the output must not stumble over it.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    printed, sys.stdout = sys.stdout, sys.stderr
    os.dup2(2, 1)
    try:
        with open(kept, "w", encoding="utf-8", closefd=False) as stream:
            _programs.append(stream)
            try:
                yield
            finally:
                _programs.remove(stream)
    finally:
        sys.stdout = printed
        os.dup2(kept, 1)
        os.close(kept)
