"""Which code and which libraries: taken from the machine once at the start of a run."""

import getpass
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from everloop.records.runs import CodeVersion, Environment
from everloop.storage.codec import digest, digest_of

_LEFT_OUT = {"__pycache__", "node_modules"}


def code_version(root: Path) -> CodeVersion:
    """Digest of every Python file of the project, and its commit where git knows it."""
    return CodeVersion(
        commit=_git(root, "rev-parse", "HEAD"), dirty=_dirty(root), digest=sources_digest(root)
    )


@cache
def environment() -> Environment:
    """Python and every installed distribution of this process."""
    known = (dist.metadata for dist in distributions())  # each is parsed whenever it is asked for
    found = {about["Name"]: about["Version"] for about in known if about["Name"]}
    libraries = dict(sorted(found.items(), key=lambda item: item[0].lower()))
    python, machine = platform.python_version(), platform.platform()
    return Environment(
        python=python,
        platform=machine,
        libraries=libraries,
        digest=digest_of([sys.implementation.name, python, machine, libraries]),
    )


def who() -> str:
    """The person or service at this machine: `ann@desk`."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may know no names
        name = "unknown"
    return f"{name}@{socket.gethostname()}"


def sources_digest(root: Path) -> str:
    """The digest alone, which asks git for nothing."""
    files = python_files(root)
    lines = [f"{path.relative_to(root).as_posix()} {digest(path.read_bytes())}" for path in files]
    return digest("\n".join(lines).encode())


def python_files(root: Path) -> list[Path]:
    """Every Python file of the project; environments and folders with a dot are none of it."""
    return sorted(_python_files(root, set()))


def _python_files(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Everything that could be imported from here; a link is followed, and no folder is visited twice."""
    here = folder.resolve()
    if here in seen or (folder / "pyvenv.cfg").exists():
        return
    seen.add(here)
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _LEFT_OUT:
            continue
        if path.is_dir():
            yield from _python_files(path, seen)
        elif path.suffix == ".py" and path.is_file():
            yield path


def _dirty(root: Path) -> bool | None:
    changes = _git(root, "status", "--porcelain", "--", ".")
    return None if changes is None else bool(changes)


def _git(root: Path, *words: str) -> str | None:
    # Inside a hook git's own variables would point at another repository.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False, env=outside, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # no git here: the digest of the sources still says which code
    return answer.stdout.strip() if answer.returncode == 0 else None
