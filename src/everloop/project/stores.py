"""A project's stores without its module: what commands that only look need, at once and even while the code is broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from everloop.settings import find_root, load_settings
from everloop.storage.workspace import Workspace, open_workspace


@contextmanager
def stores(start: Path) -> Iterator[Workspace]:
    """Open the stores of the project here or above for the length of a block."""
    workspace = open_workspace(load_settings(find_root(start)))
    try:
        yield workspace
    finally:
        workspace.close()
