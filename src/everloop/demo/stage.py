"""The terminal while the year goes by: the date, what is being done, and a row for each month that is over."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from everloop.demo.report import Month, month_line, year_table
from everloop.demo.terminal import out


class Stage:
    """A live picture in a terminal; anywhere else one line for each month."""

    def __init__(self, months: int) -> None:
        self._total = months
        self._months: list[Month] = []
        self._activity = "beginning"
        self._date: datetime | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(console=out, get_renderable=self._picture, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if out.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if out.is_terminal:
            self._live.stop()

    def show(self, what: str) -> None:
        """What is being done now."""
        self._activity = what

    def date(self, now: datetime) -> None:
        """The simulated clock has moved."""
        self._date = now
        self._activity = "flights ask for predictions; labels come as they land"

    def month(self, month: Month) -> None:
        """A month is over."""
        self._months.append(month)
        if not out.is_terminal:
            out.print(month_line(month), " · ".join(month.events), soft_wrap=True, markup=False)

    def _picture(self) -> Group:
        head = Table.grid(padding=(0, 2))
        day = "2013" if self._date is None else self._date.strftime("%d %B %Y")
        head.add_row(
            Text(day, style="bold"), ProgressBar(total=self._total, completed=len(self._months), width=36)
        )
        doing = Table.grid(padding=(0, 1))
        doing.add_row(self._spinner, Text(self._activity, style="cyan"))
        parts: list[object] = [head, doing]
        if self._months:
            parts += [Text(), year_table(self._months)]
        return Group(*parts)  # type: ignore[arg-type]
