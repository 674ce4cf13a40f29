"""Run the cases side by side, one line each, and hold what came of them against `known.txt`.

    python tests/cases/run.py                      all of them, two at a time
    python tests/cases/run.py --only pipelines/33  those whose path begins so; may be given more than once
    python tests/cases/run.py --jobs 4 --python .venv/bin/python

A case is a script that prints PASS or FAIL and why. What it prints is one line here, `PASS|FAIL path: reason`, or
`LACK path: what` where the machine has not what the case needs. The sorted list goes to `out/cases.txt`.
`known.txt` names the cases that fail today; the exit code is 0 when exactly those failed, but for those by luck.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
KNOWN = HERE / "known.txt"
LIST = HERE.parents[1] / "out" / "cases.txt"
ROOMS = ("data", "pipelines", "attack")
NO_CASE = ("26_fuzz_body.py",)  # what 26_fuzz.sh runs
SECONDS = 600.0
_VERDICT = re.compile(r"^(PASS|FAIL|LACK)\b[\s:-]*(.*)$")
_WORDS = 400
"""So much of a reason is kept."""


@dataclass(frozen=True, slots=True, order=True)
class Told:
    """What one case said."""

    path: str
    verdict: str
    reason: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.verdict} {self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Known:
    """The cases that fail today, and those that pass or fail by luck."""

    failing: frozenset[str]
    by_luck: frozenset[str] = frozenset()

    @property
    def all(self) -> frozenset[str]:
        """Every case that is named."""
        return self.failing | self.by_luck


@dataclass(frozen=True, slots=True)
class Runner:
    """How a case is started: by which Python, for how long, and where it may write."""

    python: Path
    limit: float
    scratch: Path
    running: set[int] = field(default_factory=set)
    """The groups of processes that are under way."""

    def __call__(self, path: str) -> Told:
        """Run one, and end whatever it leaves running."""
        began = time.monotonic()
        scratch = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            output, code = self._run(HERE / path, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        verdict, reason = read_verdict(output, code)
        return Told(path, verdict, reason, time.monotonic() - began)

    def _run(self, script: Path, scratch: Path) -> tuple[str, int | None]:
        shell = script.suffix == ".sh"
        with (scratch / "output").open("w+b") as output:
            process = subprocess.Popen(
                ["bash", script.name] if shell else [self.python, script.name],
                cwd=script.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(scratch),
                start_new_session=True,  # so that its children can be ended with it, and with nobody else's
            )
            self.running.add(process.pid)
            code: int | None
            try:
                code = process.wait(self.limit)
            except subprocess.TimeoutExpired:
                code = None
                _signal(process.pid, signal.SIGTERM)  # what it mounted, it takes away
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
            finally:
                _signal(process.pid, signal.SIGKILL)
                process.wait()
                self.running.discard(process.pid)
            output.seek(0)
            return output.read().decode(errors="replace"), code

    def stop(self) -> None:
        """End all that are under way."""
        for group in list(self.running):
            _signal(group, signal.SIGTERM)

    def _environment(self, scratch: Path) -> dict[str, str]:
        own = {
            "EVERLOOP": str(self.python.parent / "everloop"),
            "EVERLOOP_PYTHON": str(self.python),
            "CASES_SHARED": str(self.scratch),
            "TMPDIR": str(scratch),
        }
        return {**os.environ, **own}


def _signal(group: int, which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, which)


def read_verdict(output: str, code: int | None) -> tuple[str, str]:
    """The last verdict that was printed, and its reason on one line; none is a FAIL."""
    seen = output.replace("\0", "\N{SYMBOL FOR NULL}")  # the list stays a text
    lines = [line.strip() for line in seen.splitlines() if line.strip()]
    if code is None:
        return "FAIL", "it did not end in time"
    for line in reversed(lines):
        if found := _VERDICT.match(line):
            return found[1], found[2][:_WORDS]
    return "FAIL", f"no verdict, exit code {code}: {lines[-1][:_WORDS] if lines else 'nothing was printed'}"


def find_cases(only: Sequence[str] = ()) -> list[str]:
    """Paths below this folder, of all cases or of those whose path begins with one of `only`."""
    found = (
        path.relative_to(HERE).as_posix()
        for room in ROOMS
        for path in (HERE / room).glob("[0-9]*")
        if path.suffix in (".py", ".sh") and path.name not in NO_CASE
    )
    return sorted(path for path in found if not only or path.startswith(tuple(only)))


def read_known(path: Path) -> Known:
    """A path a line, after it and a `#` what is to mend it; a `?` before it when luck has a part in its verdict."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    given = [line for line in lines if line]
    return Known(
        failing=frozenset(line for line in given if not line.startswith("?")),
        by_luck=frozenset(line.removeprefix("?").strip() for line in given if line.startswith("?")),
    )


def find_changes(told: Iterable[Told], known: Known) -> list[str]:
    """A sentence for each case whose verdict is another than known; what could not be asked has not changed."""
    changes = []
    for one in sorted(told):
        if one.path in known.by_luck:
            continue
        if one.verdict == "FAIL" and one.path not in known.failing:
            changes.append(f"{one.path} fails and is not in {KNOWN.name}")
        elif one.verdict == "PASS" and one.path in known.failing:
            changes.append(f"{one.path} passes: take it out of {KNOWN.name}")
    return changes


def run_all(paths: Sequence[str], runner: Runner, jobs: int) -> list[Told]:
    """All of them, `jobs` at a time; each is printed when it ends."""
    told = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for done in as_completed([pool.submit(runner, path) for path in paths]):
                one = done.result()
                told.append(one)
                sys.stdout.write(f"{one}  ({one.seconds:.0f} s)\n")
                sys.stdout.flush()
        except BaseException:  # Ctrl-C does not reach the cases, for each has a session of its own
            pool.shutdown(wait=False, cancel_futures=True)
            runner.stop()
            raise
    return sorted(told)


def hear_interrupts() -> None:
    """A shell that starts us in the background lets us ignore Ctrl-C, and each case would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> int:
    """0 when exactly the known cases failed."""
    hear_interrupts()
    parser = argparse.ArgumentParser(description="Run the cases.")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument(
        "--only", nargs="*", default=[], help="the beginning of a path, as data/0 or pipelines/33"
    )
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="the Python that has everloop"
    )
    parser.add_argument("--limit", type=float, default=SECONDS, help=f"seconds for each ({SECONDS:.0f})")
    given = parser.parse_args()
    paths = find_cases(given.only)
    if not paths:
        parser.error(f"no case begins with {' or '.join(given.only)}")
    known = read_known(KNOWN)
    if unknown := sorted(known.all - set(find_cases())):
        parser.error(f"{KNOWN.name} names what is no case: {', '.join(unknown)}")
    scratch = Path(tempfile.mkdtemp(prefix="cases-"))
    try:
        # Not resolved: a virtual environment is known by the path of its Python.
        told = run_all(paths, Runner(given.python.absolute(), given.limit, scratch), given.jobs)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    LIST.parent.mkdir(exist_ok=True)
    LIST.write_text("".join(f"{one}\n" for one in told), encoding="utf-8")
    changes = find_changes(told, known)
    counts = {verdict: sum(one.verdict == verdict for one in told) for verdict in ("PASS", "FAIL", "LACK")}
    sys.stdout.write(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + f"; {LIST}\n")
    sys.stdout.writelines(f"changed: {change}\n" for change in changes)
    return 1 if changes else 0


if __name__ == "__main__":
    raise SystemExit(main())
