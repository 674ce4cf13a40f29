"""A project on disk that a test writes, edits and runs, as a user would."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest

from everloop.data.datasets import append
from everloop.metadata.runs import get_run, request_run
from everloop.metadata.steps import list_steps
from everloop.pipelines.pipeline import Pipeline
from everloop.pipelines.worker import Worker
from everloop.records.datasets import Dataset
from everloop.records.json import Json
from everloop.records.runs import Run, StepRun
from everloop.settings import Settings, Trust, load_settings
from everloop.storage.workspace import Workspace, open_workspace

PRELUDE = '''
import pathlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple
import numpy as np
import pyarrow as pa
from everloop import Dataset, FeatureService, FeatureView, History, Model, RegisteredModel, Check, CheckResult
from everloop import pipeline, register, step

HERE = pathlib.Path(__file__).parent
rows = Dataset("rows", keys="id", event_time=None)


def called(name: str) -> None:
    """Leave a mark on the disk, which survives whatever happens to the process."""
    with (HERE / "calls.log").open("a") as log:
        log.write(name + "\\n")


def times(name: str) -> int:
    """How often it has left its mark."""
    return (HERE / "calls.log").read_text().split().count(name)

'''


class Project:
    """A project's folder with an open workspace in it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.root = workspace.settings.root

    def write(self, source: str, *, file: str = "project.py") -> ModuleType:
        """Put the project's code on the disk and load it anew, as a fresh process would."""
        (self.root / file).write_text(PRELUDE + source)
        return self.load(file)

    def load(self, file: str = "project.py") -> ModuleType:
        """Load what is on the disk."""
        name = Path(file).stem
        spec = importlib.util.spec_from_file_location(name, self.root / file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        source = (self.root / file).read_bytes()
        exec(compile(source, str(self.root / file), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - never from a stale .pyc
        return module

    def line_of(self, text: str, *, file: str = "project.py") -> str:
        """`file:line` of the only line that holds this text."""
        lines = (self.root / file).read_text().splitlines()
        (place,) = [n for n, line in enumerate(lines, 1) if text in line]
        return f"{self.root / file}:{place}"

    def ask(self, name: str = "main", *, key: str | None = None, **params: Json) -> Run:
        """Ask for a run by hand."""
        with self.workspace.database.write() as tx:
            return request_run(
                tx,
                self.workspace,
                pipeline=name,
                key=key or self.workspace.new_id(),
                trigger="on_demand",
                reason="a test",
                who="a test",
                values=self.pipeline(name).fill(params),
            )

    def run(self, name: str = "main", **params: Json) -> Run:
        """Ask for a run and take it to its end."""
        asked = self.ask(name, key=None, **params)
        worker = self.worker()
        try:
            ended = worker.run_next(only=asked.id)
        finally:
            worker.close()
        assert ended is not None
        return ended

    def worker(self, progress: Callable[[Run, StepRun], None] = lambda run, step: None) -> Worker:
        """A worker that has loaded what was last loaded."""
        found = {
            name: value for name, value in vars(sys.modules["project"]).items() if isinstance(value, Pipeline)
        }
        return Worker(self.workspace, found, progress=progress)

    def pipeline(self, name: str = "main") -> Pipeline:
        """A pipeline of the project."""
        found = vars(sys.modules["project"])[name]
        assert isinstance(found, Pipeline)
        return found

    def steps(self, run: Run) -> dict[str, StepRun]:
        """The steps of a run by name."""
        with self.workspace.database.read() as tx:
            return {step.step: step for step in list_steps(tx, run.id)}

    def look_up(self, run: Run) -> Run:
        """The run as it is now."""
        with self.workspace.database.read() as tx:
            return get_run(tx, run.id)

    def calls(self) -> list[str]:
        """The marks that steps have left."""
        log = self.root / "calls.log"
        return log.read_text().split() if log.exists() else []

    def append(self, *, key: str, start: int = 0, count: int = 40) -> None:
        """Append a batch to the dataset `rows`."""
        table = pa.table(
            {"id": range(start, start + count), "x": [float(n % 7) for n in range(start, start + count)]}
        )
        append(self.workspace, Dataset("rows", keys="id", event_time=None), table, key=key)

    def trusting(self, pipeline: str) -> Project:
        """The same project, whose operator allows a pipeline to pickle."""
        settings = replace(self.workspace.settings, trust=Trust(pickle=(pipeline,)))
        return Project(replace(self.workspace, settings=settings))

    def using(self, executor: str) -> Project:
        """The same project, whose everloop.toml names an executor."""
        text = f'[project]\nmodule = "project"\n[worker]\nexecutor = "{executor}"\n'
        (self.root / "everloop.toml").write_text(text)
        return Project(replace(self.workspace, settings=load_settings(self.root)))


@pytest.fixture(scope="session")
def open_project() -> Callable[[Path], Project]:
    """Opens the project in a folder; whoever opens it closes its workspace."""
    return lambda root: Project(open_workspace(Settings(root=root, module="project")))


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_project: Callable[[Path], Project]
) -> Iterator[Project]:
    """An empty project with an open workspace."""
    for name in ("project", "other"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))  # taken back at the end
    opened = open_project(tmp_path)
    yield opened
    opened.workspace.close()
