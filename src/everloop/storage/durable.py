"""Files that are whole or not there, and that a power cut cannot take back once they are said to be kept."""

import os
import secrets
from pathlib import Path


def fresh_name(path: Path) -> Path:
    """A hidden name beside `path` for a file that is still being written; nobody reads it under that name."""
    return path.with_name(f".{path.name[:12]}.{secrets.token_hex(4)}")


def keep(fresh: Path, path: Path) -> None:
    """Move a finished file to its name; when it returns, file and name are on the disk."""
    sync(fresh)
    os.replace(fresh, path)
    # Without it a power cut may forget the rename although the file's bytes are safe.
    sync(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and what lies above it, so that none of the names can be forgotten."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
