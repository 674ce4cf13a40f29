"""Look: at everything, at runs, models, data, events, and at what was made from what.

They open the stores and leave the project's module alone, so they answer at once, and also while its code is broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from everloop.app.cli import completing
from everloop.app.cli.group import command

if TYPE_CHECKING:
    from everloop.app.output import Reply
    from everloop.storage.workspace import Workspace

HEADING = "Look"


@command(HEADING, "everloop status --json")
def status(project: Path) -> Reply:
    """Where everything stands, on one page.

    Models, endpoints, runs, data, monitors, and reasons to train that wait.
    """
    from everloop.app.output import Reply, print_warnings
    from everloop.app.pages.status import print_status
    from everloop.control.data import list_datasets
    from everloop.control.models import list_models
    from everloop.control.runs import first_command
    from everloop.control.status import find_warnings, get_status
    from everloop.project.opening import open_stores

    with open_stores(project) as stores:
        found, models, datasets = get_status(stores), list_models(stores), list_datasets(stores)
        begin = first_command(stores)

    def page() -> None:
        print_status(found, models, datasets, begin=begin)
        print_warnings(find_warnings(project))  # last, because the module has to be imported for them

    return Reply(found, page)


@command(HEADING, "everloop runs --limit 5")
@click.option("--pipeline", shell_complete=completing.pipelines, help="Only runs of this pipeline.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest first."
)
def runs(pipeline: str | None, limit: int, project: Path) -> Reply:
    """List runs: why each was started, and what came of it."""
    from everloop.app.output import Reply
    from everloop.app.pages.runs import print_runs
    from everloop.control.runs import first_command, list_runs
    from everloop.project.opening import open_stores

    with open_stores(project) as stores:
        found, begin, now = (
            list_runs(stores, pipeline=pipeline, limit=limit),
            first_command(stores),
            stores.now(),
        )
    return Reply(found, lambda: print_runs(found, "runs", begin=begin, now=now))


@command(HEADING, "everloop show 4f2a9c1e")
@click.argument("run", required=False, shell_complete=completing.runs)
def show(run: str | None, project: Path) -> Reply:
    """Show one run: data, code, params, steps, metrics, verdict.

    RUN is a run's id, its beginning or its end; without it, the newest run is shown.
    """
    from everloop.app.output import Reply
    from everloop.app.pages.runs import print_run
    from everloop.control.runs import get_run
    from everloop.project.opening import open_stores

    with open_stores(project) as stores:
        found = get_run(stores, run)
    return Reply(found, lambda: print_run(found))


@command(HEADING, "everloop models late")
@click.argument("model", required=False, shell_complete=completing.models)
def models(model: str | None, project: Path) -> Reply:
    """List model versions, and who is champion.

    With a MODEL, also who was champion when, and who moved it why.
    """
    from everloop.app.output import Reply
    from everloop.app.pages.models import print_history, print_models
    from everloop.control.models import list_models
    from everloop.project.opening import open_stores

    with open_stores(project) as stores:
        found, now = list_models(stores, model), stores.now()

    def page() -> None:
        print_models(found, now=now)
        print_history(found, now=now)

    return Reply(found, page)


@command(HEADING, "everloop datasets weather --kept-out 2013-08 -o august.csv")
@click.argument("dataset", required=False, shell_complete=completing.datasets)
@click.option("--kept-out", "key", metavar="BATCH", help="Show the rows of a batch that was kept out.")
@click.option(
    "--output",
    "-o",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --kept-out: write the rows to a .parquet or .csv file.",
)
def datasets(dataset: str | None, key: str | None, file: Path | None, project: Path) -> Reply:
    """List datasets and the data gate's verdicts.

    With a DATASET, every batch and what the gate found in it.
    """
    from everloop.project.opening import open_stores

    if key is None and file is not None:
        raise click.UsageError("-o is for the rows of --kept-out.", click.get_current_context())
    if key is not None and dataset is None:
        raise click.UsageError("--kept-out needs the name of the DATASET.", click.get_current_context())
    with open_stores(project) as stores:
        if dataset is not None and key is not None:
            return _kept_out(stores, dataset, key, file)
        return _datasets(stores, dataset)


def _datasets(stores: Workspace, dataset: str | None) -> Reply:
    from everloop.app.output import Reply
    from everloop.app.pages.data import print_batches, print_datasets
    from everloop.control.data import list_batches, list_datasets

    batches, now = list_batches(stores, dataset), stores.now()
    if dataset is not None:
        return Reply(batches, lambda: print_batches(dataset, batches, now=now))
    summaries = list_datasets(stores)
    return Reply(batches, lambda: print_datasets(summaries))


def _kept_out(stores: Workspace, dataset: str, key: str, file: Path | None) -> Reply:
    from everloop.app.output import Reply
    from everloop.app.pages.data import print_kept_out
    from everloop.control.data import save_kept_out, show_kept_out

    found = save_kept_out(stores, dataset, key, file) if file else show_kept_out(stores, dataset, key)
    return Reply(found, lambda: print_kept_out(found))


@command(HEADING, "everloop events --type rollout.promoted")
@click.option(
    "--type",
    "kinds",
    multiple=True,
    shell_complete=completing.event_types,
    help="Only this type; may be given again.",
)
@click.option(
    "--after", type=click.IntRange(0), default=0, help="Only events after this place in the ledger."
)
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most, the newest."
)
def events(kinds: Sequence[str], after: int, limit: int, project: Path) -> Reply:
    """Read the ledger: everything that happened, in order."""
    from everloop.app.output import Reply
    from everloop.app.pages.history import print_events
    from everloop.control.history import list_events
    from everloop.project.opening import open_stores

    with open_stores(project) as stores:
        found, now = list_events(stores, kinds, after=after, limit=limit), stores.now()
    empty = "No such events." if kinds else "No events yet."
    return Reply(found, lambda: print_events(found, empty=empty, now=now))


@command(HEADING, "everloop lineage late@3")
@click.argument("thing", shell_complete=completing.things)
def lineage(thing: str, project: Path) -> Reply:
    """What a thing was made from, and what was made from it.

    THING is a run, model@version, dataset@version, a prediction's id or an artifact's digest.
    """
    from everloop.app.output import Reply
    from everloop.app.pages.history import print_lineage
    from everloop.control.lineage import get_lineage
    from everloop.project.opening import open_stores

    with open_stores(project) as stores:
        found = get_lineage(stores, thing)
    return Reply(found, lambda: print_lineage(found))
