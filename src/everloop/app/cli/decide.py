"""Decide: move the champion by hand, with a reason, and never past the gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from everloop.app.cli import completing
from everloop.app.cli.group import command

if TYPE_CHECKING:
    from everloop.app.output import Reply

HEADING = "Decide"


@command(HEADING, "everloop promote late@3 --why 'the canary was too short'")
@click.argument("version", shell_complete=completing.versions)
@click.option("--why", required=True, help="Why, for the history.")
def promote(version: str, why: str, project: Path) -> Reply:
    """Make a version champion by hand.

    VERSION is model@version, or model@challenger; it must have passed its gate.
    """
    from everloop.app.output import Reply
    from everloop.app.pages.models import print_move
    from everloop.control import models
    from everloop.project.opening import open_project

    with open_project(project) as opened:
        move = models.promote(opened, version, why=why)
    return Reply(move, lambda: print_move(move, version))


@command(HEADING, "everloop rollback late --why 'angry customers'")
@click.argument("model", shell_complete=completing.models)
@click.option("--why", required=True, help="Why, for the history.")
def rollback(model: str, why: str, project: Path) -> Reply:
    """Go back to the champion before this one."""
    from everloop.app.output import Reply
    from everloop.app.pages.models import print_move
    from everloop.control import models
    from everloop.project.opening import open_project

    with open_project(project) as opened:
        move = models.rollback(opened, model, why=why)
    return Reply(move, lambda: print_move(move, model))
