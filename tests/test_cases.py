"""What runs the cases can be trusted; the cases themselves are asked by `make cases`."""

import signal
import sys
import time
from pathlib import Path

import pytest

from tests.cases.run import (
    HERE,
    KNOWN,
    Known,
    Runner,
    Told,
    find_cases,
    find_changes,
    hear_interrupts,
    read_known,
    read_verdict,
)


def test_verdict() -> None:
    """The last verdict counts, whatever stands before it; none is a failure."""
    assert read_verdict("refused: no\nFAIL - not yet\nPASS: [1, 2]\n", 0) == ("PASS", "[1, 2]")
    assert read_verdict("LACK root\n", 2) == ("LACK", "root")
    assert read_verdict("PASSWORD wrong\n", 1) == ("FAIL", "no verdict, exit code 1: PASSWORD wrong")
    assert read_verdict("PASS\n", None) == ("FAIL", "it did not end in time")
    assert read_verdict("FAIL: got \0\n", 1) == ("FAIL", "got \N{SYMBOL FOR NULL}")


def test_changes() -> None:
    """A change is told in both directions; what could not be asked has not changed, and what luck decides tells nothing."""
    told = [Told("a", "FAIL", ""), Told("b", "PASS", ""), Told("c", "FAIL", ""), Told("d", "LACK", "")]
    luck = [Told("e", "FAIL", ""), Told("f", "PASS", "")]
    known = Known(failing=frozenset({"b", "c", "d"}), by_luck=frozenset({"e", "f"}))
    changes = find_changes([*told, *luck], known)
    assert [change.split()[0:2] for change in changes] == [["a", "fails"], ["b", "passes:"]]


def test_known(tmp_path: Path) -> None:
    """Every case that is named is a case; a question mark stands before what luck decides."""
    known = read_known(KNOWN)
    assert known.all <= set(find_cases())
    assert not known.failing & known.by_luck
    given = tmp_path / "known.txt"
    given.write_text("# Title\n\na.py  # D1\n? b.py  # S5\n")
    assert read_known(given) == Known(failing=frozenset({"a.py"}), by_luck=frozenset({"b.py"}))
    assert find_cases(["pipelines/33"]) == ["pipelines/33_canary_event_time.py"]


def test_limit(tmp_path: Path) -> None:
    """A case that hangs is ended with its children, and what it printed before is no verdict."""
    script = tmp_path / "hangs.py"
    left = tmp_path / "left"
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(left)!r}).touch()"
    script.write_text(
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "print('PASS too early', flush=True)\n"
        "time.sleep(60)\n"
    )
    told = Runner(Path(sys.executable), 1.0, tmp_path)(str(script))
    assert (told.verdict, told.reason) == ("FAIL", "it did not end in time")
    time.sleep(2)
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hangs.py"]


def test_surroundings(tmp_path: Path) -> None:
    """A case gets the Python that is asked for, and a folder that is taken away."""
    script = tmp_path / "asks.py"
    script.write_text(
        "import os, tempfile\nprint('PASS', os.environ['EVERLOOP_PYTHON'], tempfile.mkdtemp())\n"
    )
    python, folder = Runner(Path(sys.executable), 30.0, tmp_path)(str(script)).reason.split()
    assert python == sys.executable
    assert not Path(folder).exists()
    assert Path(folder).is_relative_to(tmp_path)


def test_started_in_the_background(tmp_path: Path) -> None:
    """A case can be interrupted, though a shell started the runner so that Ctrl-C is not heard."""
    script = tmp_path / "asks.py"
    script.write_text(
        "import signal\nprint('PASS', signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        hear_interrupts()
        told = Runner(Path(sys.executable), 30.0, tmp_path)(str(script))
    finally:
        signal.signal(signal.SIGINT, before)
    assert told.reason == "True"


@pytest.mark.parametrize("room", ["data", "pipelines", "attack"])
def test_first_line(room: str) -> None:
    """Every case begins by saying what it is about."""
    for path in find_cases([room]):
        lines = (HERE / path).read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith('"""') or lines[1].startswith("# "), path
