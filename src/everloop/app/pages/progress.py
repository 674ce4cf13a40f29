"""What a person sees while a run goes on: a live list in a terminal, plain lines anywhere else."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from everloop.app.output import Printer, duration, echo, short
from everloop.app.pages.data import print_batch
from everloop.control.runs import RunListener
from everloop.pipelines.pipeline import Pipeline
from everloop.records.data import Batch
from everloop.records.runs import Run, RunState, StepRun

_MARKS = {RunState.COMPLETE: ("✓", "green"), RunState.FAIL: ("✗", "red"), RunState.ABORT: ("■", "yellow")}


class ProgressDisplay(RunListener):
    """New batches, the run's name, and its steps as they begin and end."""

    def __init__(self, printer: Printer, pipeline: Pipeline) -> None:
        self.run: Run | None = None
        """The run, once it has been asked for."""
        self._printer = printer
        self._nodes = pipeline.graph.nodes
        self._names: list[str] = []
        self._steps: dict[str, StepRun] = {}
        self._console = printer.aside
        self._live = Live(console=self._console, refresh_per_second=8) if self._console.is_terminal else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def collected(self, batch: Batch) -> None:
        """A file of a dataset was new."""
        self._printer.show(partial(print_batch, batch))

    def requested(self, run: Run) -> None:
        """The run has its id; from here on there are steps to be seen."""
        self.run = run
        self._names = [node.name for node in self._nodes if run.register or node.registers is None]
        self._printer.show(lambda: echo((run.pipeline, "bold"), f"  run {short(run.id)}  {run.reason}"))
        if self._live is not None:
            self._live.start()

    def stepped(self, run: Run, step: StepRun, /) -> None:
        """A step began or ended."""
        self._steps[step.step] = step
        if self._live is not None:
            self._live.update(self._picture())
        elif step.state is not RunState.RUNNING:
            self._console.print(self._describe(step), soft_wrap=True)

    def _picture(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for name in self._names:
            step = self._steps.get(name)
            if step is None:
                table.add_row(Text("·", style="dim"), Text(name, style="dim"), "")
            elif step.state is RunState.RUNNING:
                table.add_row(Spinner("dots", style="cyan"), Text(name, style="cyan"), "")
            else:
                table.add_row(*self._line(step))
        return table

    def _line(self, step: StepRun) -> tuple[Text, Text, Text]:
        mark, style = _MARKS[step.state]
        return (
            Text(mark, style=style),
            Text(step.step),
            Text(_ending(step), style="red" if step.error else "dim"),
        )

    def _describe(self, step: StepRun) -> Text:
        mark, name, ending = self._line(step)
        name.pad_right(max(map(len, self._names)) - len(name))
        return Text(" ").join((mark, name, ending))


def _ending(step: StepRun) -> str:
    if step.error is not None:
        return "failed"  # why is told below the steps
    if step.cached_from is not None:
        return f"as in run {short(step.cached_from)}"
    return duration(step.seconds or 0.0)
