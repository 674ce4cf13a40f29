"""The program: its headings, the options that all commands have, and the one place where their answers are printed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from everloop.app.output import Reply

NAME = "everloop"
_HEADINGS = ("Begin", "Keep it going", "Look", "Decide", "Watch")
"""In the order in which a person meets them; each is a file of this folder."""

Function = Callable[..., "Reply | int | None"]


class Everloop(click.Group):
    """Lists its commands under their headings, each where its file puts it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.headings: dict[str, list[str]] = {title: [] for title in _HEADINGS}

    def list_under(self, heading: str, command: click.Command) -> None:
        """Show a command under a heading, below those that came before it."""
        assert command.name is not None
        self.headings[heading].append(command.name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under their headings."""
        for title, names in self.headings.items():
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
    cls=Everloop,
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


def command(
    heading: str, example: str, *, project: bool = True, talks: bool = False
) -> Callable[[Function], click.Command]:
    """A command under a heading, with `--json`, with `--project` if it works on one, and with an example below its help.

    Its function returns a `Reply`, which is printed here. One that has something to say before its end `talks`: it is
    given a `printer`, and returns a last reply or its exit code.
    """

    def make(function: Function) -> click.Command:
        @functools.wraps(function)
        def called(*args: Any, as_json: bool, **kwargs: Any) -> int:
            from everloop.app.output import Reply, printing

            with printing(as_json=as_json) as printer:
                if talks:
                    kwargs["printer"] = printer
                answer = function(*args, **kwargs)
                if isinstance(answer, Reply):
                    return printer.print(answer)
                return answer or 0

        wrapped = _json(called)
        if project:
            wrapped = _project(wrapped)
        made = app.command(epilog=f"\b\nExample:\n  {example}")(wrapped)
        app.list_under(heading, made)
        return made

    return make


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_project = click.option(
    "--project",
    "-C",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The project's folder; by default here or above.",
)
with_parent = click.option("--with-parent", is_flag=True, hidden=True)
"""For a process that works for another one and ends with it."""
