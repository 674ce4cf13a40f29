"""`everloop.open()`: a project in the hands of a notebook or a script, where every declaration gives something back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import pyarrow as pa

from everloop.control import data, history, models, runs, status
from everloop.control.lineage import get_lineage
from everloop.control.projects import make_empty
from everloop.control.runs import RunDetails, RunReport, failure
from everloop.errors import Conflict, NotFound, ProjectError
from everloop.evaluation.records import Evaluation
from everloop.models.model import Model
from everloop.pipelines.lookup import load_artifact
from everloop.pipelines.pipeline import Pipeline
from everloop.project.opening import Project, open_project
from everloop.records.checks import CheckResult
from everloop.records.data import Batch
from everloop.records.events import Event
from everloop.records.json import Json
from everloop.records.lineage import Lineage
from everloop.records.models import CHALLENGER, CHAMPION, AliasMove, ModelVersion
from everloop.records.names import Reference
from everloop.records.runs import Run, RunState, StepRun
from everloop.settings import FILE, find_root
from everloop.storage.workspace import Workspace

T = TypeVar("T")


def open(path: str | Path | None = None, *, new: bool = False) -> OpenProject:
    """Open the project of this folder, or of the nearest one above it that holds an everloop.toml.

    `new=True` makes one here first, if there is none: an everloop.toml and a module to declare things in.

    >>> from tempfile import TemporaryDirectory
    >>> place = TemporaryDirectory()
    >>> with open(place.name, new=True) as project:
    ...     print(project.runs(), project.status().models)
    [] {}

    What is declared in the module can be run and asked for.

    >>> module = next(Path(place.name).glob("*.py"))
    >>> length = module.write_text('''
    ... import everloop as ev
    ...
    ... @ev.step
    ... def double(number: int) -> int:
    ...     return 2 * number
    ...
    ... @ev.pipeline
    ... def doubled(number: int = 21) -> None:
    ...     double(number)
    ... ''')
    >>> with open(place.name) as project:
    ...     run = project.run("doubled", {"number": 4})
    ...     print(run.artifacts["double.output"], [run.state.value for run in project.runs()])
    8 ['COMPLETE']
    >>> place.cleanup()
    """
    start = Path() if path is None else Path(path)
    if new and start.is_file():
        raise ProjectError(f"{start} is a file.", next_step="name a folder for the project.")
    if new and not (start / FILE).is_file():
        make_empty(start)
    try:
        find_root(start)
    except ProjectError as error:
        way = "ev.open(new=True)" if path is None else f"ev.open({str(path)!r}, new=True)"
        where = "here" if path is None else "there"
        raise ProjectError(
            error.reason,
            next_step=f"{way} makes a project {where}, and `everloop init DIR` one with an example.",
        ) from None
    return OpenProject(start)


class OpenProject:
    """A project and its stores, until it is closed; use it in a `with`, or call `close`."""

    def __init__(self, start: Path) -> None:
        self._stack = ExitStack()
        self._opened: Project | None = self._stack.enter_context(open_project(start))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._opened is None:
            return "<everloop project, closed>"
        settings = self._opened.settings
        return f"<everloop project {settings.module} in {settings.root}>"

    def close(self) -> None:
        """Give the stores back; what was read from them stays."""
        self._opened = None
        self._stack.close()

    @property
    def _project(self) -> Project:
        if self._opened is None:
            raise Conflict("this project is closed.", next_step="open it again with ev.open().")
        return self._opened

    @property
    def workspace(self) -> Workspace:
        """Its stores, for what is not here."""
        return self._project.workspace

    # ---- running

    def run(
        self,
        name: str,
        params: Mapping[str, Json] | None = None,
        *,
        data: Mapping[str, int] | None = None,
        register: bool | None = None,
        reason: str = runs.BY_HAND,
    ) -> RunResult:
        """Run a pipeline here and now. A model that its gate refuses is an answer; RunFailed is for what went wrong.

        `data={"renewals": 7}` reads that version instead of the newest. A run with params or data of one's own registers no
        model unless `register=True` asks for it.
        """
        report = runs.run_pipeline(self._project, name, params, data=data, register=register, reason=reason)
        if report.run.state is not RunState.COMPLETE:
            raise failure(report.run)
        details = runs.get_run(self.workspace, report.run.id)
        pipeline = self._project.declarations.pipeline(name)
        return RunResult(report=report, artifacts=_artifacts(self.workspace, pipeline, details))

    def runs(self, pipeline: str | None = None, *, limit: int | None = None) -> list[Run]:
        """Runs, the newest first."""
        return runs.list_runs(self.workspace, pipeline=pipeline, limit=limit)

    # ---- what there is

    def dataset(self, name: str) -> OpenDataset:
        """A dataset that the project declares."""
        self._project.declarations.dataset(name)
        return OpenDataset(name, self.workspace)

    def model(self, name: str) -> OpenModel:
        """A registered model; NotFound when neither the project nor its registry knows it."""
        if name not in {model.name for model in self._project.declarations.models}:
            models.list_models(self.workspace, name)
        return OpenModel(name, self.workspace)

    def load(self, text: str) -> Model:
        """The model behind `churn@3` or `churn@champion`."""
        return models.load_model(self.workspace, text)

    def status(self) -> status.Status:
        """Where everything stands."""
        return status.get_status(self.workspace)

    def events(self, *types: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """What has happened, oldest first: of these types, or everything."""
        return history.list_events(self.workspace, types, after=after, limit=limit)

    def lineage(self, thing: str) -> Lineage:
        """What a run, `churn@3`, `renewals@7`, a prediction or an artifact was made from, and what came of it."""
        return get_lineage(self.workspace, thing)

    # ---- deciding

    def promote(self, text: str, *, why: str) -> AliasMove | None:
        """Make `churn@3` champion, which must have passed its gate; None when it is champion already."""
        return models.promote(self._project, text, why=why)

    def rollback(self, model: str, *, why: str) -> AliasMove | None:
        """Make the champion before this one champion again."""
        return models.rollback(self._project, model, why=why)


@dataclass(frozen=True, slots=True)
class OpenDataset:
    """A dataset as it is kept."""

    name: str
    _workspace: Workspace = field(repr=False)

    def read(self, version: int | None = None) -> pa.Table:
        """Its rows at a version; by default the newest."""
        return data.read_dataset(self._workspace, self.name, version)

    def batches(self) -> list[Batch]:
        """Everything that arrived, with the gate's verdicts, oldest first."""
        return data.list_batches(self._workspace, self.name)


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A registered model as its registry has it now."""

    name: str
    _workspace: Workspace = field(repr=False)

    @property
    def champion(self) -> Model | None:
        """The model in production; None when there is none yet."""
        return self._behind(CHAMPION)

    @property
    def challenger(self) -> Model | None:
        """The model that may become champion; None when there is none."""
        return self._behind(CHALLENGER)

    @property
    def versions(self) -> tuple[ModelVersion, ...]:
        """Every version, oldest first, with its verdict and its metrics."""
        try:
            return models.list_models(self._workspace, self.name).versions
        except NotFound:  # it is declared, and no run has made one
            return ()

    def _behind(self, alias: str) -> Model | None:
        try:
            return models.load_model(self._workspace, str(Reference(name=self.name, alias=alias)))
        except NotFound:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """One artifact of a run, and how it is read."""

    hint: Any
    read: Callable[[], object]
    judged: bool
    """It went into the last step that gave a verdict."""


class RunArtifacts:
    """What the steps of a run made, by `step.output`; each is read when it is asked for."""

    def __init__(self, made: Mapping[str, _Made]) -> None:
        self._made = dict(made)

    def __getitem__(self, name: str) -> Any:
        """The value of an artifact; NotFound with the names there are."""
        if name not in self._made:
            have = ", ".join(self._made) or "nothing"
            raise NotFound(f"the run made no {name!r}.", next_step=f"it made: {have}.")
        return self._made[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def __contains__(self, name: object) -> bool:
        return name in self._made

    def __repr__(self) -> str:
        return f"<artifacts: {', '.join(self._made) or 'none'}>"

    def _last(self, kind: type[T]) -> T | None:
        """The last value of a type, and rather one that a verdict was given on."""
        found = [made for made in self._made.values() if made.hint is kind]
        chosen = [made for made in found if made.judged] or found
        return cast("T", chosen[-1].read()) if chosen else None


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run that is complete."""

    report: RunReport
    artifacts: RunArtifacts
    """`artifacts["train.output"]` is what the step `train` returned."""

    @property
    def run(self) -> Run:
        """Its record: the data it has read, the code, the params, how long it took."""
        return self.report.run

    @property
    def metrics(self) -> Mapping[str, float]:
        """Every number that its steps measured."""
        return self.report.metrics

    @property
    def versions(self) -> tuple[ModelVersion, ...]:
        """The model versions that it registered; none when the model was the same as the newest."""
        return self.report.versions

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation that the gate was asked about, or else the last that a step returned."""
        return self.artifacts._last(Evaluation)

    @property
    def refused(self) -> CheckResult | None:
        """The gate's verdict, if it said no: which check failed, and why."""
        verdict = self.artifacts._last(CheckResult)
        return None if verdict is None or verdict.passed else verdict


def _artifacts(workspace: Workspace, pipeline: Pipeline, details: RunDetails) -> RunArtifacts:
    hints = {(node.name, name): hint for node in pipeline.graph.nodes for name, hint in node.outputs.items()}
    judged = _judged(details.steps, hints)
    return RunArtifacts(
        {
            f"{step.step}.{ref.name}": _Made(
                hint=hints.get((step.step, ref.name), Any),
                read=partial(load_artifact, workspace, pipeline, step, ref.name),
                judged=ref.digest in judged,
            )
            for step in details.steps
            for ref in step.outputs
        }
    )


def _judged(steps: Sequence[StepRun], hints: Mapping[tuple[str, str], Any]) -> set[str]:
    """Digests of everything that went into the last step that gave a verdict."""
    judges = [
        step for step in steps if any(hints.get((step.step, r.name)) is CheckResult for r in step.outputs)
    ]
    return {ref.digest for ref in judges[-1].inputs} if judges else set()
