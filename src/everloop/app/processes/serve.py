"""`everloop serve`: answer requests for all endpoints, or for one, until stopped."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from everloop.app.output import Printer, Reply, echo
from everloop.app.processes.stopping import stop_with_parent
from everloop.control.runs import first_command
from everloop.project.opening import Project, open_project
from everloop.records.models import CHAMPION
from everloop.registry.aliases import find_alias
from everloop.rollout.controller import settle
from everloop.rollout.endpoint import Endpoint
from everloop.serving.server import serve


def run_server(
    start: Path, name: str | None, host: str | None, port: int | None, printer: Printer, *, with_parent: bool
) -> None:
    """Serve every endpoint, or the one of this name, until stopped; follows the traffic that the controller asks for."""
    if with_parent:
        stop_with_parent()
    with open_project(start) as project:
        endpoints = project.declarations.endpoints_to_serve(name)
        for endpoint in endpoints:
            settle(project.workspace, endpoint)
        settings = project.settings.serving
        chosen = settings.port if port is None else port

        def ready(url: str) -> None:
            for endpoint in endpoints:
                record = {"type": "serving", "endpoint": endpoint.name, "url": url}
                printer.print(Reply(record, partial(_print_ready, project, endpoint, url)))

        names = tuple(endpoint.name for endpoint in endpoints)
        serve(project.workspace, names, host or settings.host, chosen, on_ready=ready)
    printer.show(lambda: echo("stopped"))


def _print_ready(project: Project, endpoint: Endpoint, url: str) -> None:
    echo("serving ", (endpoint.name, "bold"), f" at {url}  (Ctrl-C stops)")
    with project.workspace.database.read() as tx:
        champion = find_alias(tx, endpoint.model, CHAMPION)
    if champion is None:
        echo(
            ("no champion yet, so it cannot answer; ", "yellow"), f"next: {first_command(project.workspace)}"
        )
