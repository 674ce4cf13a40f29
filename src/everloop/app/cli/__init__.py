"""`everloop`: every command, its help with an example, and one line and a next step when something is wrong.

A file for each heading of the help. What a command needs is imported when it is called, so that help and tab completion
answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import click

from everloop.app.cli import begin, decide, keep_going, look, watch
from everloop.app.cli.group import NAME, app
from everloop.app.processes.stopping import StartAnew
from everloop.errors import EverloopError, ProjectError

__all__ = ["app", "begin", "decide", "invoke", "keep_going", "look", "main", "watch"]


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
        return _print_failure(error, 1, otherwise=_otherwise(error, words))
    except click.Abort:
        return _print_failure(EverloopError("stopped.", next_step="give the command again."), 130)
    except click.ClickException as error:
        return _print_failure(_usage(error), error.exit_code)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _print_failure(
            EverloopError(
                f"{where}{error.strerror or error}.",
                next_step="see that the path is right, and that it may be read and written.",
            ),
            1,
        )


def _print_failure(error: EverloopError, code: int, *, otherwise: str = "") -> int:
    from everloop.app.output import print_error

    print_error(error if error.next_step else EverloopError(error.reason, next_step=otherwise))
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
