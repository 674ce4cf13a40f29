"""Where the example projects are: beside the package in a wheel, in the repository of a source tree."""

import shutil
from pathlib import Path

from everloop.errors import Conflict, ProjectError

_LEFT_OUT = ("__pycache__", ".everloop", ".*_cache", "*.part")


def copy_example(name: str, folder: Path) -> None:
    """Copy an example project into a new or empty folder."""
    if folder.exists() and not folder.is_dir():
        raise Conflict(f"{folder} is a file.", next_step="choose another name for the folder.")
    if folder.exists() and any(folder.iterdir()):
        raise Conflict(f"{folder} is not empty.", next_step="choose another folder, or empty this one.")
    shutil.copytree(_examples() / name, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))


def _examples() -> Path:
    package = Path(__file__).parents[1]
    for place in (package / "examples", package.parents[1] / "examples"):
        if place.is_dir():
            return place
    raise ProjectError(
        "this installation of everloop has no examples.", next_step="pip install --force-reinstall everloop"
    )
