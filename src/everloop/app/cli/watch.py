"""Watch: the demonstration."""

from __future__ import annotations

from pathlib import Path

import click

from everloop.app.cli.group import app

HEADING = "Watch"


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


app.list_under(HEADING, demo)
