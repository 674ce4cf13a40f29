"""`everloop`: every command, its help with an example, and one line and a next step when something is wrong.

What a command needs is imported when it is called, so that help and tab completion answer at once.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from everloop.app import completing
from everloop.app.stopping import StartAnew
from everloop.errors import EverloopError, ProjectError

NAME = "everloop"
_SECTIONS = {
    "Begin": ("init", "run", "append"),
    "Keep it going": ("up", "serve", "worker"),
    "Look": ("status", "runs", "show", "models", "datasets", "events", "lineage"),
    "Decide": ("promote", "rollback"),
    "Watch": ("demo",),
}
Function = Callable[..., int | None]


def main() -> None:
    """The program: run the command of this process and end with its exit code."""
    # Idle OpenMP threads would spin, and on a machine that is busy with something else training then takes ten
    # times as long. It must be said before any numerical library is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ✓ shows a ? and no traceback
    try:
        code = invoke(sys.argv[1:])
        sys.stdout.flush()
    except StartAnew as wish:
        os.execv(sys.executable, [sys.executable, "-m", NAME, *wish.arguments])
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    sys.exit(code)


def invoke(words: Sequence[str]) -> int:
    """Run one command; an error of ours is one line on standard error and a code above zero."""
    try:
        result = app.main(list(words), prog_name=NAME, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except EverloopError as error:
        return _complain(error, 1, otherwise=_otherwise(error, words))
    except click.Abort:
        return _complain(EverloopError("stopped."), 130)
    except click.ClickException as error:
        return _complain(_usage(error), error.exit_code)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(EverloopError(f"{where}{error.strerror or error}."), 1)


def _complain(error: EverloopError, code: int, *, otherwise: str = "") -> int:
    from everloop.app.output import complain

    complain(error if error.next_step else EverloopError(error.reason, next_step=otherwise))
    return code


def _otherwise(error: EverloopError, words: Sequence[str]) -> str:
    """The next step when the error knows none."""
    if isinstance(error, ProjectError):
        return "correct it, and give the command again."
    command = next((word for word in words if word in app.commands), "")
    return " ".join(filter(None, [NAME, command, "--help"]))


def _usage(error: click.ClickException) -> EverloopError:
    text = error.format_message().replace("\n", " ").strip()
    context = getattr(error, "ctx", None)
    path = context.command_path if isinstance(context, click.Context) else NAME
    return EverloopError(text, next_step=f"{path} --help")


class _Everloop(click.Group):
    """Lists its commands in the order in which a person meets them."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their headings."""
        for title, names in _SECTIONS.items():
            room = formatter.width - 6 - max(map(len, self.commands))
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(room)) for name in names])


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{NAME} {version(NAME)}")
        context.exit()


def _print_completion(context: click.Context, _parameter: click.Parameter, shell: str | None) -> None:
    if shell and not context.resilient_parsing:
        from click.shell_completion import get_completion_class

        kind = get_completion_class(shell)
        assert kind is not None
        click.echo(kind(app, {}, NAME, f"_{NAME.upper()}_COMPLETE").source())
        context.exit()


@click.group(
    cls=_Everloop,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='Tab completion: eval "$(everloop --completion bash)", best in your shell\'s start file.',
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Its version."
)
@click.option(
    "--completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    is_eager=True,
    expose_value=False,
    callback=_print_completion,
    help="Print the script for tab completion in a shell.",
)
@click.pass_context
def app(context: click.Context) -> None:
    """Keep machine-learning models fresh: data, training, serving, monitoring, and back again."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _command(example: str, *, project: bool = True) -> Callable[[Function], click.Command]:
    """A command with `--json`, with `--project` if it works on one, and with an example below its help."""

    def make(function: Function) -> click.Command:
        @functools.wraps(function)
        def called(*args: Any, as_json: bool, **kwargs: Any) -> int | None:
            if as_json:
                from everloop.app.output import json_alone
            with json_alone() if as_json else nullcontext():
                return function(*args, as_json=as_json, **kwargs)

        wrapped = _json(called)
        if project:
            wrapped = _project(wrapped)
        return app.command(epilog=f"\b\nExample:\n  {example}")(wrapped)

    return make


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_project = click.option(
    "--project",
    "-C",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The project's folder; by default here or above.",
)
_with_parent = click.option("--with-parent", is_flag=True, hidden=True)


# ---- begin


@_command("everloop init churn && cd churn && everloop run keep_fresh", project=False)
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path, as_json: bool) -> None:
    """Make a project that runs as it is.

    FOLDER must be new or empty; what is in it afterwards is yours to change.
    """
    from everloop.app.scaffold import make_project

    make_project(folder, as_json=as_json)


@_command("everloop run keep_fresh -p trees=200")
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
@click.option("--reason", default="asked for by hand", show_default=True, help="Why, for the ledger.")
def run(pipeline: str, params: Sequence[str], reason: str, project: Path, as_json: bool) -> int:
    """Run a pipeline now, to its end."""
    from everloop.app.running import run_pipeline

    return run_pipeline(project, pipeline, params, reason, as_json=as_json)


@_command("everloop append flights january.parquet")
@click.argument("dataset", shell_complete=completing.datasets)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", help="The batch's name; by default from the file.")
def append(dataset: str, file: Path, key: str | None, project: Path, as_json: bool) -> int:
    """Hand a batch to the data gate and, if it passes, append it.

    FILE is .parquet, .csv or .jsonl. Ends with 1 when the gate keeps the batch out.
    """
    from everloop.app.running import append_batch

    return append_batch(project, dataset, file, key, as_json=as_json)


# ---- keep it going


@_command("everloop up")
def up(project: Path, as_json: bool) -> None:
    """Controller, worker and servers together, until stopped.

    The whole loop of this project. With --json each line is an object: an event of the ledger, or what has come up.
    """
    from everloop.app.up import bring_up

    bring_up(project, as_json=as_json)


@_command("everloop serve --port 8080")
@click.argument("endpoint", required=False, shell_complete=completing.endpoints)
@click.option("--host", help="Address to listen at; by default from everloop.toml.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="By default from everloop.toml; 0 takes a free one and prints it.",
)
@_with_parent
def serve(
    endpoint: str | None, host: str | None, port: int | None, with_parent: bool, project: Path, as_json: bool
) -> None:
    """Answer requests for an endpoint until stopped."""
    from everloop.app.services import serve_endpoint

    serve_endpoint(project, endpoint, host, port, as_json=as_json, with_parent=with_parent)


@_command("everloop worker --once")
@click.option("--once", is_flag=True, help="Stop when there is no more work.")
@_with_parent
def worker(once: bool, with_parent: bool, project: Path, as_json: bool) -> None:
    """Take runs and execute them until stopped."""
    from everloop.app.services import work

    work(project, once=once, as_json=as_json, with_parent=with_parent)


# ---- look


@_command("everloop status --json")
def status(project: Path, as_json: bool) -> None:
    """Where everything stands, on one page.

    Models, endpoints, runs, data, monitors, and reasons to train that wait.
    """
    from everloop.app.overview import show_status

    show_status(project, as_json=as_json)


@_command("everloop runs --limit 5")
@click.option("--pipeline", shell_complete=completing.pipelines, help="Only runs of this pipeline.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="How many, the newest first."
)
def runs(pipeline: str | None, limit: int, project: Path, as_json: bool) -> None:
    """List runs: why each was started, and what came of it."""
    from everloop.app.showing import show_runs

    show_runs(project, pipeline, limit, as_json=as_json)


@_command("everloop show 4f2a9c1e")
@click.argument("run", required=False, shell_complete=completing.runs)
def show(run: str | None, project: Path, as_json: bool) -> None:
    """Show one run: data, code, params, steps, metrics, verdict.

    RUN is a run's id, its beginning or its end; without it, the newest run is shown.
    """
    from everloop.app.showing import show_run

    show_run(project, run, as_json=as_json)


@_command("everloop models late")
@click.argument("model", required=False, shell_complete=completing.models)
def models(model: str | None, project: Path, as_json: bool) -> None:
    """List model versions, and who is champion.

    With a MODEL, also who was champion when, and who moved it why.
    """
    from everloop.app.showing import show_models

    show_models(project, model, as_json=as_json)


@_command("everloop datasets weather")
@click.argument("dataset", required=False, shell_complete=completing.datasets)
def datasets(dataset: str | None, project: Path, as_json: bool) -> None:
    """List datasets and the data gate's verdicts.

    With a DATASET, every batch and what the gate found in it.
    """
    from everloop.app.overview import show_datasets

    show_datasets(project, dataset, as_json=as_json)


@_command("everloop events --type rollout.promoted")
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
def events(kinds: Sequence[str], after: int, limit: int, project: Path, as_json: bool) -> None:
    """Read the ledger: everything that happened, in order."""
    from everloop.app.showing import show_events

    show_events(project, kinds, after, limit, as_json=as_json)


@_command("everloop lineage late@3")
@click.argument("thing", shell_complete=completing.things)
def lineage(thing: str, project: Path, as_json: bool) -> None:
    """What a thing was made from, and what was made from it.

    THING is a run, model@version, dataset@version, a prediction's id or an artifact's digest.
    """
    from everloop.app.showing import show_lineage

    show_lineage(project, thing, as_json=as_json)


# ---- decide


@_command("everloop promote late@3 --why 'the canary was too short'")
@click.argument("version", shell_complete=completing.versions)
@click.option("--why", required=True, help="Why, for the history.")
def promote(version: str, why: str, project: Path, as_json: bool) -> None:
    """Make a version champion by hand.

    VERSION is model@version; it must have passed its gate.
    """
    from everloop.app.aliasing import promote_by_hand

    promote_by_hand(project, version, why, as_json=as_json)


@_command("everloop rollback late --why 'angry customers'")
@click.argument("model", shell_complete=completing.models)
@click.option("--why", required=True, help="Why, for the history.")
def rollback(model: str, why: str, project: Path, as_json: bool) -> None:
    """Go back to the champion before this one."""
    from everloop.app.aliasing import roll_back_by_hand

    roll_back_by_hand(project, model, why, as_json=as_json)


# ---- watch


@app.command(epilog="\b\nExample:\n  everloop demo --json year.json")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("everloop-demo"),
    show_default=True,
    help="Where the demo's project goes; it must be new or empty.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the year as JSON to this file.",
)
@click.option(
    "--months", type=click.IntRange(2, 12), default=12, show_default=True, help="Stop after so many months."
)
def demo(folder: Path, json_file: Path | None, months: int) -> None:
    """A year of real flights: watch a model being kept fresh."""
    from everloop.demo.year import play

    play(folder, json_file=json_file, months=months)
