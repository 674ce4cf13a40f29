"""Keep it going: the whole loop, a server, a worker, each until it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from everloop.app.cli import completing
from everloop.app.cli.group import command, with_parent

if TYPE_CHECKING:
    from everloop.app.output import Printer

HEADING = "Keep it going"


@command(HEADING, "everloop up", talks=True)
def up(project: Path, printer: Printer) -> None:
    """Controller, worker and server together, until stopped.

    The whole loop of this project. With --json each line is an object: an event of the ledger, or what has come up.
    """
    from everloop.app.processes.up import run_up

    run_up(project, printer)


@command(HEADING, "everloop serve --port 8080", talks=True)
@click.argument("endpoint", required=False, shell_complete=completing.endpoints)
@click.option("--host", help="Address to listen at; by default from everloop.toml.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="By default from everloop.toml; 0 takes a free one and prints it.",
)
@with_parent
def serve(
    endpoint: str | None,
    host: str | None,
    port: int | None,
    with_parent: bool,
    project: Path,
    printer: Printer,
) -> None:
    """Answer requests for all endpoints, or for one, until stopped.

    All of them on one port, each asked by its model's name, or by its own where two serve the same model. /readyz is
    ready when every one can answer; /v2/models/NAME/ready speaks of one.
    """
    from everloop.app.processes.serve import run_server

    run_server(project, endpoint, host, port, printer, with_parent=with_parent)


@command(HEADING, "everloop worker --once", talks=True)
@click.option("--once", is_flag=True, help="Stop when there is no more work.")
@with_parent
def worker(once: bool, with_parent: bool, project: Path, printer: Printer) -> None:
    """Take runs and execute them until stopped."""
    from everloop.app.processes.worker import run_worker

    run_worker(project, printer, once=once, with_parent=with_parent)
