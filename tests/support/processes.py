"""Other processes, for what only they can show: races, deaths, and what is left on the disk."""

import subprocess
import sys
from collections.abc import Sequence

from everloop.settings import Settings

_OPEN = """
import sys
from pathlib import Path
from everloop.settings import Settings, Storage
from everloop.storage.workspace import open_workspace
root, address, *arguments = sys.argv[1:]
place = Settings(root=Path(root), module="project", storage=Storage(database=address))
"""


def start(place: Settings, code: str, *arguments: str) -> subprocess.Popen[str]:
    """Run code in a process of its own; it has `place`, `arguments`, and `open_workspace`."""
    given = [str(place.root), place.storage.database, *arguments]
    command = [sys.executable, "-W", "error", "-c", _OPEN + code, *given]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Let all of them go on, and wait for them to succeed; returns what they printed."""
    said = [process.communicate("\n", timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return said


def heard(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Give it a line to read, which lets it go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def kill(process: subprocess.Popen[str]) -> None:
    """End it as a power cut or the kernel would, with nothing said and nothing cleaned up."""
    process.kill()
    process.communicate(timeout=60)
