"""Shared by the cases: a throw-away everloop project that is driven only by its command line and HTTP.

Run a case with the Python that has everloop installed:  .venv/bin/python NN_name.py
It prints one line, PASS or FAIL and why, and exits with 0 or 1.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

BIN = str(Path(sys.executable).parent / "everloop")

DUMP = """
import pyarrow as pa
import pyarrow.parquet as pq
from everloop import pipeline, step


@step(cache=False)
def dump_rows(rows: pa.Table, to: str) -> int:
    pq.write_table(rows, to)
    return rows.num_rows


@pipeline
def dump(to: str = "dump.parquet") -> None:
    dump_rows({name}.rows, to)
"""


class Told:
    """What a command said."""

    def __init__(self, done: subprocess.CompletedProcess) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def crashed(self) -> bool:
        return "Traceback (most recent call last)" in self.err + self.out

    @property
    def last(self) -> str:
        lines = [line for line in (self.err or self.out).strip().splitlines() if line.strip()]
        return lines[-1][:220] if lines else ""

    @property
    def said(self) -> str:
        return " ".join((self.err or self.out).split())[:260]


class Batch(Told):
    """What `everloop append --json` said of a batch."""

    def __init__(self, done: subprocess.CompletedProcess) -> None:
        super().__init__(done)
        try:
            self.record = json.loads(self.out)
        except ValueError:
            self.record = {}

    @property
    def verdict(self) -> str:
        if self.crashed:
            return "crash"
        return self.record.get("verdict", "refused")

    @property
    def accepted(self) -> bool:
        return self.record.get("version") is not None

    @property
    def findings(self) -> str:
        return "; ".join(f["message"] for f in self.record.get("findings", ()))

    @property
    def why(self) -> str:
        if self.crashed:
            return f"crash: {self.last}"
        return self.findings or ("" if self.record else self.said)


class Project:
    """A project in a folder of its own."""

    def __init__(self, source: str, *, dump: str = "", root: Path | None = None, toml: str = "") -> None:
        self.root = root or Path(tempfile.mkdtemp(prefix="everloop-case-"))
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "everloop.toml").write_text('[project]\nmodule = "proj"\n' + toml)
        (self.root / "proj.py").write_text(source + (DUMP.replace("{name}", dump) if dump else ""))

    def write(self, name: str, content: str | bytes | pa.Table, **how: object) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path, **how)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_bytes(content.encode())
        return path

    def cli(self, *args: str, timeout: float = 120) -> subprocess.CompletedProcess:
        return subprocess.run([BIN, *args], cwd=self.root, capture_output=True, text=True, timeout=timeout)

    def run(self, *args: str, timeout: float = 120) -> Told:
        return Told(self.cli(*args, timeout=timeout))

    def append(
        self, dataset: str, name: str, content: str | bytes | pa.Table | None = None, **how: object
    ) -> Batch:
        if content is not None:
            self.write(name, content, **how)
        return Batch(self.cli("append", dataset, name, "--json"))

    def rows(self) -> pa.Table:
        """The dataset as a step of a pipeline gets it."""
        told = self.run("run", "dump", "-p", "to=dump.parquet")
        path = self.root / "dump.parquet"
        if not path.exists():
            raise RuntimeError(told.said)
        table = pq.read_table(path)
        path.unlink()
        return table

    def batches(self, dataset: str) -> list[dict]:
        return json.loads(self.run("datasets", dataset, "--json").out or "[]")

    def clean(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def dataset(name: str = "rows", *, keys: str = '"id"', event_time: str = "None", more: str = "") -> str:
    """Source of a module with one dataset."""
    return (
        "from everloop import Dataset, between, not_null, one_of, unique\n"
        f"{name} = Dataset({name!r}, keys={keys}, event_time={event_time}{', ' + more if more else ''})\n"
    )


@contextlib.contextmanager
def project(source: str, **options: object):
    made = Project(source, **options)
    try:
        yield made
    finally:
        made.clean()


def tell(ok: bool, reason: str) -> None:
    print("PASS" if ok else "FAIL", "-", reason)
    raise SystemExit(0 if ok else 1)


# ------------------------------------------------------------------ a project that is served and watched


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Served:
    """`everloop up` on a clock that is moved by hand."""

    def __init__(self, source: str, files: dict[str, str | bytes | pa.Table], start: datetime) -> None:
        self.port = free_port()
        toml = f'[serving]\nport = {self.port}\n[worker]\npoll_seconds = 0.3\n[clock]\nfile = "clock"\n'
        self.project = Project(source, toml=toml)
        self.set(start)
        for name, content in files.items():
            self.project.write(name, content)
        self.process: subprocess.Popen | None = None

    def set(self, now: datetime) -> None:
        fresh = self.project.root / "clock.new"
        fresh.write_text(now.astimezone(UTC).isoformat())
        stamp = int(now.timestamp() * 1e9)
        os.utime(fresh, ns=(stamp, stamp))
        fresh.replace(self.project.root / "clock")
        self.now = now

    def up(self) -> None:
        log = (self.project.root / "up.log").open("w")
        self.process = subprocess.Popen([BIN, "up"], cwd=self.project.root, stdout=log, stderr=log)
        until(lambda: self.get("/v2/health/ready") is not None, 40, "the server is ready", self.log)

    def log(self) -> str:
        return (self.project.root / "up.log").read_text()[-1500:]

    def get(self, path: str) -> object:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError):
            return None

    def post(self, path: str, body: object) -> tuple[int, dict]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def predict(self, model: str, rows: list[dict]) -> list[str]:
        """Ids of the predictions of one request."""
        status, answer = self.post(f"/v1/models/{model}:predict", {"instances": rows})
        if status != 200:
            raise RuntimeError(f"{status} {answer}")
        id = answer["prediction_id"]
        return [id] if len(rows) == 1 else [f"{id}/{i}" for i in range(len(rows))]

    def events(self, kind: str = "") -> list[dict]:
        told = self.project.run("events", "--json", *(("--type", kind) if kind else ()))
        return (
            [json.loads(line) for line in told.out.splitlines()]
            if told.out.startswith("{")
            else json.loads(told.out or "[]")
        )

    def status(self) -> str:
        return self.project.run("status").out

    def down(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.project.clean()


def until(question, seconds: float, what: str, log=lambda: "") -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = question()
        if found:
            return found
        time.sleep(0.3)
    raise TimeoutError(f"not within {seconds} s: {what}; {log()}")


MODEL = """
from datetime import timedelta
import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression
from everloop import (AllAtOnce, Dataset, DriftMonitor, Endpoint, Evaluation, Model, PerformanceMonitor, RegisteredModel,
    Split, at_most, compare, infer_signature, matrix, pipeline, register, split_by_time, step)

INPUTS = {inputs}
rows = Dataset("rows", keys="id", event_time="at", files="data/*")
late = RegisteredModel("late", gate=at_most("log_loss", 5.0))

@step
def split(t: pa.Table) -> Split:
    return split_by_time(t, "at", timedelta(days=5))

@step
def train(t: pa.Table) -> Model:
    signature = infer_signature(t, inputs=INPUTS, output="y")
    x = np.nan_to_num(np.asarray(matrix(signature, t), dtype=float))
    return Model(LogisticRegression().fit(x, t["y"].to_numpy()), signature)

@step
def evaluate(candidate: Model, t: pa.Table) -> Evaluation:
    return compare(candidate.predict(t), t["y"].to_numpy())

@pipeline
def fit() -> None:
    train_rows, test_rows = split(rows.rows)
    candidate = train(train_rows)
    register(late, candidate, evaluate(candidate, test_rows))

endpoint = Endpoint("late", model=late, rollout=AllAtOnce())
{monitors}
"""
"""A whole loop around a small model; {inputs} and {monitors} are to be filled in."""
