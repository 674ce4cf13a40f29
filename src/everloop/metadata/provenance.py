"""Which code and which libraries: taken from the machine once at the start of a run."""

import getpass
import platform
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from everloop.records.runs import CodeVersion, Environment
from everloop.storage.codec import digest, digest_of

_LEFT_OUT = {"__pycache__", "node_modules", "dist", "build"}


def code_version(root: Path) -> CodeVersion:
    """Digest of every Python file of the project, and its commit where git knows it."""
    return CodeVersion(commit=_git(root, "rev-parse", "HEAD"), dirty=_dirty(root), digest=_sources(root))


@cache
def environment() -> Environment:
    """Python and every installed distribution of this process."""
    found = {dist.metadata["Name"]: dist.version for dist in distributions() if dist.metadata["Name"]}
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


def _sources(root: Path) -> str:
    lines = [
        f"{path.relative_to(root).as_posix()} {digest(path.read_bytes())}" for path in _python_files(root)
    ]
    return digest("\n".join(lines).encode())


def _python_files(root: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or path.name in _LEFT_OUT or path.is_symlink():
            continue
        if path.is_dir() and not (path / "pyvenv.cfg").exists():
            found.extend(_python_files(path))
        elif path.suffix == ".py":
            found.append(path)
    return found


def _dirty(root: Path) -> bool | None:
    changes = _git(root, "status", "--porcelain", "--", ".")
    return None if changes is None else bool(changes)


def _git(root: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (
        OSError,
        subprocess.TimeoutExpired,
    ):  # no git here: the digest of the sources still says which code
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
