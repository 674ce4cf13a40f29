"""`everloop`: every command, its help with an example, and one line and a next step when something is wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from everloop.errors import EverloopError

app = typer.Typer(
    name="everloop",
    help="Keep machine-learning models fresh: data, training, serving, monitoring, and back again.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Folder = Annotated[
    Path, typer.Option("--project", "-C", help="The project's folder; here or above by default.")
]
HERE = Path()


def main() -> None:
    """Run a command; an error of ours is one line on standard error and a code above zero."""
    # Idle OpenMP threads would spin, and on a machine that is busy with something else training then takes ten
    # times as long. It must be said before any numerical library is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        app()
    except EverloopError as error:
        _complain(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        sys.stderr.close()
        sys.exit(0)


def _complain(error: EverloopError) -> None:
    from everloop.app.output import err

    err.print(f"[bold red]everloop:[/] {_escaped(error.reason)}", soft_wrap=True)
    if error.next_step:
        err.print(f"[dim]next:[/] {_escaped(error.next_step)}", soft_wrap=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


@app.command(epilog="Example: everloop init churn && cd churn && everloop run keep_fresh")
def init(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or is empty.")],
) -> None:
    """Make a project that runs as it is, to be changed into yours."""
    from everloop.app.scaffold import make_project

    make_project(folder)


@app.command(epilog="Example: everloop run keep_fresh -p trees=200")
def run(
    pipeline: Annotated[str, typer.Argument(help="Name of the pipeline.")],
    params: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="name=value; may be given again.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the ledger.")] = "asked for by hand",
    as_json: Json = False,
    project: Folder = HERE,
) -> None:
    """Run a pipeline now, to its end."""
    from everloop.app.running import run_pipeline

    sys.exit(run_pipeline(project, pipeline, params or [], reason, as_json=as_json))


@app.command(epilog="Example: everloop append flights january.parquet")
def append(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset.")],
    file: Annotated[Path, typer.Argument(help="A .parquet, .csv or .jsonl file: one batch.")],
    key: Annotated[str | None, typer.Option(help="The batch's name; from the file by default.")] = None,
    as_json: Json = False,
    project: Folder = HERE,
) -> None:
    """Hand a batch to the data gate and, if it passes, append it."""
    from everloop.app.running import append_batch

    sys.exit(append_batch(project, dataset, file, key, as_json=as_json))


@app.command(epilog="Example: everloop serve --port 8080")
def serve(
    endpoint: Annotated[
        str | None, typer.Argument(help="Name of the endpoint; the only one by default.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; from everloop.toml by default.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one and prints it.")] = None,
    project: Folder = HERE,
) -> None:
    """Answer requests for an endpoint until stopped."""
    from everloop.app.running import serve_endpoint

    serve_endpoint(project, endpoint, host, port)


@app.command(epilog="Example: everloop worker")
def worker(
    once: Annotated[bool, typer.Option(help="Stop when there is no more work.")] = False,
    project: Folder = HERE,
) -> None:
    """Take runs and execute them until stopped."""
    from everloop.app.running import work

    work(project, once=once)


@app.command(epilog="Example: everloop up")
def up(project: Folder = HERE) -> None:
    """Controller, worker and server together: the whole loop of this project, until stopped."""
    from everloop.app.running import bring_up

    bring_up(project)


@app.command(epilog="Example: everloop status --json")
def status(as_json: Json = False, project: Folder = HERE) -> None:
    """Where everything stands: models, endpoints, runs, data, monitors and waiting reasons."""
    from everloop.app.showing import show_status

    show_status(project, as_json=as_json)


@app.command(epilog="Example: everloop runs --limit 5")
def runs(
    pipeline: Annotated[str | None, typer.Option(help="Only runs of this pipeline.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    as_json: Json = False,
    project: Folder = HERE,
) -> None:
    """List runs: why each was started, and what came of it."""
    from everloop.app.showing import show_runs

    show_runs(project, pipeline, limit, as_json=as_json)


@app.command(epilog="Example: everloop show 4f2a9c1e")
def show(
    run: Annotated[str, typer.Argument(help="A run's id, its beginning or its end.")],
    as_json: Json = False,
    project: Folder = HERE,
) -> None:
    """Show one run: data, code, params, steps, metrics, and the gate's verdict."""
    from everloop.app.showing import show_run

    show_run(project, run, as_json=as_json)


@app.command(epilog="Example: everloop models late")
def models(
    model: Annotated[
        str | None, typer.Argument(help="Only this registered model, with its aliases' history.")
    ] = None,
    as_json: Json = False,
    project: Folder = HERE,
) -> None:
    """List model versions, who is champion, and who was."""
    from everloop.app.showing import show_models

    show_models(project, model, as_json=as_json)


@app.command(epilog="Example: everloop promote late@3 --why 'the canary was too short'")
def promote(
    version: Annotated[str, typer.Argument(help="model@version; it must have passed its gate.")],
    why: Annotated[str, typer.Option(help="Why, for the history.")],
    as_json: Json = False,
    project: Folder = HERE,
) -> None:
    """Make a version champion by hand."""
    from everloop.app.aliasing import promote_by_hand

    promote_by_hand(project, version, why, as_json=as_json)


@app.command(epilog="Example: everloop rollback late --why 'angry customers'")
def rollback(
    model: Annotated[str, typer.Argument(help="Name of the registered model.")],
    why: Annotated[str, typer.Option(help="Why, for the history.")],
    as_json: Json = False,
    project: Folder = HERE,
) -> None:
    """Go back to the champion before this one."""
    from everloop.app.aliasing import roll_back_by_hand

    roll_back_by_hand(project, model, why, as_json=as_json)


@app.command(epilog="Example: everloop lineage late@3")
def lineage(
    thing: Annotated[
        str, typer.Argument(help="A run, model@version, dataset@version, prediction id or digest.")
    ],
    as_json: Json = False,
    project: Folder = HERE,
) -> None:
    """What a thing was made from, and what was made from it."""
    from everloop.app.showing import show_lineage

    show_lineage(project, thing, as_json=as_json)


@app.command(epilog="Example: everloop events --type rollout.promoted")
def events(
    kind: Annotated[
        list[str] | None, typer.Option("--type", help="Only this type; may be given again.")
    ] = None,
    after: Annotated[int, typer.Option(min=0, help="Only events after this place in the ledger.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest.")] = 50,
    as_json: Json = False,
    project: Folder = HERE,
) -> None:
    """Read the ledger: everything that happened, in order."""
    from everloop.app.showing import show_events

    show_events(project, kind or [], after, limit, as_json=as_json)


@app.command(epilog="Example: everloop datasets weather")
def datasets(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset, with every batch.")] = None,
    as_json: Json = False,
    project: Folder = HERE,
) -> None:
    """List datasets and the data gate's verdicts on their batches."""
    from everloop.app.showing import show_datasets

    show_datasets(project, dataset, as_json=as_json)


@app.command(epilog="Example: everloop demo --json year.json")
def demo(
    folder: Annotated[
        Path, typer.Option(help="Where the demo's project goes; it must be new or empty.")
    ] = Path("everloop-demo"),
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the year as JSON to this file.")
    ] = None,
    months: Annotated[int, typer.Option(min=2, max=12, help="Stop after so many months.")] = 12,
) -> None:
    """A year of real flights: watch a model being kept fresh."""
    from everloop.app.demo.year import play

    play(folder, json_file=json_file, months=months)
