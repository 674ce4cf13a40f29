"""`everloop init`: a project that runs as it is, to be changed into one's own."""

from __future__ import annotations

import shlex
from pathlib import Path

from everloop.app.output import print_json, say
from everloop.project.examples import copy_example
from everloop.project.names import declared
from everloop.settings import load_settings

_IGNORED = ".everloop/\n__pycache__/\n"


def make_project(folder: Path, *, as_json: bool) -> None:
    """Copy the starter into a new or empty folder, and say what comes next."""
    copy_example("starter", folder)
    (folder / ".gitignore").write_text(_IGNORED)
    module = load_settings(folder).module
    pipeline = declared(folder, "pipeline")[0]
    if as_json:
        print_json({"folder": str(folder.resolve()), "module": module, "pipeline": pipeline})
        return
    say("made a project in ", (str(folder), "bold"), f": everything is in {module}.py; it runs as it is")
    go = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    for command in (*go, f"everloop run {pipeline}", "everloop up"):
        say(f"  {command}")
