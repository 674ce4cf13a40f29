"""Begin: make a project, run a pipeline, hand a batch to the data gate."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from everloop.app.cli import completing
from everloop.app.cli.group import command
from everloop.errors import EverloopError, InvalidInput

if TYPE_CHECKING:
    from everloop.app.output import Printer, Reply
    from everloop.control.projects import NewProject
    from everloop.pipelines.pipeline import Pipeline
    from everloop.project.opening import Project
    from everloop.records.json import Json
    from everloop.records.runs import Run

HEADING = "Begin"
INTERRUPTED = 130


@command(HEADING, "everloop init churn && cd churn && everloop run keep_fresh", project=False)
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> Reply:
    """Make a project that runs as it is.

    FOLDER must be new or empty; what is in it afterwards is yours to change.
    """
    from everloop.app.output import Reply
    from everloop.control.projects import make_starter

    made = make_starter(folder)
    return Reply(made, lambda: _print_new(folder, made))


@command(HEADING, "everloop run keep_fresh -p trees=200", talks=True)
@click.argument("pipeline", shell_complete=completing.pipelines)
@click.option(
    "--param",
    "-p",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=completing.params,
    help="A param; may be given again.",
)
@click.option(
    "--data",
    "-d",
    "pins",
    multiple=True,
    metavar="DATASET@VERSION",
    shell_complete=completing.dataset_versions,
    help="Read this version instead of the newest; may be given again.",
)
@click.option(
    "--register/--no-register",
    default=None,
    help="Whether the model gets a number. By default it does, unless params or data are your own.",
)
@click.option("--reason", default="asked for by hand", show_default=True, help="Why, for the ledger.")
def run(
    pipeline: str,
    params: Sequence[str],
    pins: Sequence[str],
    register: bool | None,
    reason: str,
    project: Path,
    printer: Printer,
) -> Reply | int:
    """Run a pipeline now, to its end."""
    from everloop.app.output import Reply
    from everloop.app.pages.progress import ProgressDisplay
    from everloop.app.pages.runs import print_report
    from everloop.control.runs import failure, run_pipeline
    from everloop.project.opening import open_project
    from everloop.records.runs import RunState

    with open_project(project) as opened:
        found = opened.declarations.pipeline(pipeline)
        progress = ProgressDisplay(printer, found)
        try:
            with progress:
                report = run_pipeline(
                    opened,
                    pipeline,
                    _params(found, params),
                    data=_pins(pins),
                    register=register,
                    reason=reason,
                    listener=progress,
                )
        except KeyboardInterrupt:
            if progress.run is None:
                raise
            return _interrupted(opened, progress.run)
    if report.run.state is not RunState.COMPLETE:
        return Reply(report, code=1, error=failure(report.run))
    return Reply(report, lambda: print_report(report, found))


@command(HEADING, "everloop append flights january.parquet")
@click.argument("dataset", shell_complete=completing.datasets)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", help="The batch's name; by default from the file.")
def append(dataset: str, file: Path, key: str | None, project: Path) -> Reply:
    """Hand a batch to the data gate and, if it passes, append it.

    FILE is .parquet, .csv or .jsonl. Ends with 1 when the gate keeps the batch out.
    """
    from everloop.app.output import Reply
    from everloop.app.pages.data import print_batch
    from everloop.control.data import append_file
    from everloop.project.opening import open_project

    with open_project(project) as opened:
        batch = append_file(opened, dataset, file, key=key)
    return Reply(batch, lambda: print_batch(batch), code=1 if batch.verdict.keeps_out else 0)


def _print_new(folder: Path, made: NewProject) -> None:
    from everloop.app.output import echo

    echo(
        "made a project in ", (str(folder), "bold"), f": everything is in {made.module}.py; it runs as it is"
    )
    go = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    for line in (*go, f"everloop run {made.pipeline}", "everloop up"):
        echo(f"  {line}")


def _params(pipeline: Pipeline, given: Sequence[str]) -> dict[str, Json]:
    values: dict[str, Json] = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals:
            known = next(iter(pipeline.params), None)
            how = f"write it like -p {known}=…" if known else f"{pipeline.name} takes no params."
            raise InvalidInput(f"-p {pair!r} is not name=value.", next_step=how)
        if name in values:
            raise InvalidInput(f"param {name!r} is given twice.", next_step="give it once.")
        values[name] = pipeline.read(name, text)
    return values


def _pins(given: Sequence[str]) -> dict[str, int]:
    from everloop.records.names import find_reference

    pins: dict[str, int] = {}
    for text in given:
        meant = find_reference(text)
        if meant is None or meant.version is None:
            raise InvalidInput(f"{text!r} is not dataset@version.", next_step="write it like renewals@2.")
        if meant.name in pins:
            raise InvalidInput(f"dataset {meant.name} is given twice.", next_step="give one version of it.")
        pins[meant.name] = meant.version
    return pins


def _interrupted(project: Project, run: Run) -> int:
    from everloop.app.output import print_error, short
    from everloop.control.runs import get_run

    state = get_run(project.workspace, run.id).run.state.value
    print_error(
        EverloopError(
            f"stopped by hand; run {short(run.id)} is {state}.",
            next_step=f"`everloop run {run.pipeline}` does it again, without the steps that were finished.",
        )
    )
    return INTERRUPTED
