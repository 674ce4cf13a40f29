"""The command line as a person or a program meets it: in this process where that is enough, as a process where not."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from everloop.app.cli import invoke

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 120.0
"""Seconds after which something that should happen has not; the machine may be busy."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str


Everloop = Callable[..., Answer]


@pytest.fixture
def everloop(capfd: pytest.CaptureFixture[str]) -> Everloop:
    """Runs a command in this process."""

    def run(*words: str | Path) -> Answer:
        capfd.readouterr()
        code = invoke([str(word) for word in words])
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return run


@pytest.fixture(autouse=True)
def one_project_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Every command of a person is a process of its own; here they share one, which must forget their projects."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    home = str(tmp_path.parent.parent)
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
        if any(place is not None and place.startswith(home) for place in places):
            del sys.modules[name]


@pytest.fixture
def starter(tmp_path: Path) -> Path:
    """A fresh copy of the starter, as `everloop init` makes it."""
    return Path(shutil.copytree(EXAMPLES / "starter", tmp_path / "churn", ignore=_LEFT_OUT))


SMALL = '''
"""A project that needs no library but everloop, so that its processes start quickly."""
from datetime import timedelta

import pyarrow as pa

from everloop import Dataset, Endpoint, Triggers, on_new_data, pipeline, step

visits = Dataset("visits", keys=["id"], event_time=None, files="data/*.csv")


@step
def count(rows: pa.Table) -> int:
    """How many there are."""
    return rows.num_rows


@pipeline
def look() -> None:
    """Only look."""
    count(visits.rows)


endpoint = Endpoint("bought", model="bought")
triggers = Triggers(look, on_new_data(visits, rows=1), cooldown=timedelta(0))
'''


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small project with an endpoint that has no champion yet, on a free port, looking ten times a second."""
    folder = tmp_path / "small"
    (folder / "data").mkdir(parents=True)
    (folder / "small.py").write_text(SMALL)
    (folder / "data" / "monday.csv").write_text("id\n1\n2\n")
    (folder / "everloop.toml").write_text(
        '[project]\nmodule = "small"\n[serving]\nport = 0\n[worker]\npoll_seconds = 0.1\n'
    )
    return folder


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A starter whose pipeline was run once by a real process, and what that said."""
    folder = tmp_path_factory.mktemp("trained") / "churn"
    shutil.copytree(EXAMPLES / "starter", folder, ignore=_LEFT_OUT)
    return folder, command("run", "keep_fresh", "-C", folder)


@pytest.fixture
def trained(first_run: tuple[Path, Answer], tmp_path: Path) -> Path:
    """A starter with its first champion, the test's own to change."""
    return Path(shutil.copytree(first_run[0], tmp_path / "churn"))


@contextmanager
def process(*words: str | Path, interrupts: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A command as a process; whatever becomes of the test, it does not outlive it."""
    line = [sys.executable, "-W", "error", "-m", "everloop", *map(str, words)]
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=interrupts,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def command(*words: str | Path) -> Answer:
    """The same, to its end."""
    with process(*words) as running:
        out, err = running.communicate(timeout=PATIENCE)
    return Answer(running.returncode, out, err)


def eventually(what: str, holds: Callable[[], object]) -> None:
    """Look until it holds; the only waiting that tests do."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"it has not come about that {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def children(pid: int) -> list[int]:
    """Processes that this one has started."""
    answer = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in answer.stdout.split()]


def change(file: Path, before: str, after: str) -> None:
    """Edit a file as a person would."""
    text = file.read_text()
    assert before in text, f"{file} has no {before!r}"
    file.write_text(text.replace(before, after))


_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".everloop")
