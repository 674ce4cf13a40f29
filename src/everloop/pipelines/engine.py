"""Walk the graph of a claimed run: look up, call, keep, complete; killed anywhere, go on from the last finished step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import pyarrow as pa
from sqlalchemy import Connection

from everloop.data.datasets import latest_version
from everloop.errors import EverloopError, ProjectError
from everloop.features.history import History
from everloop.features.views import FeatureService
from everloop.metadata import provenance, runs, steps
from everloop.pipelines.artifacts import Artifacts, is_safe_to_share, take_apart
from everloop.pipelines.graph import Constant, Input, Node, Output, Param
from everloop.pipelines.pipeline import Pipeline
from everloop.records.checks import CheckResult
from everloop.records.data import DatasetPin
from everloop.records.datasets import Dataset
from everloop.records.json import Json
from everloop.records.models import CHALLENGER, CHAMPION, ModelVersion
from everloop.records.runs import ArtifactRef, ModelPin, Run, RunState, StepRun
from everloop.registry.aliases import find_alias, move_alias
from everloop.registry.model_names import ModelAlias
from everloop.registry.versions import get_version, register_version
from everloop.storage.codec import digest_of
from everloop.storage.workspace import Workspace
from everloop.training.model import Model, load_model


class Progress(Protocol):
    """Hears of each step as it begins and ends; the terminal draws it."""

    def __call__(self, run: Run, step: StepRun) -> None:
        """A step has reached a new state."""


class _Measured(Protocol):
    def metrics(self) -> Mapping[str, float]: ...


def execute(workspace: Workspace, pipeline: Pipeline, run: Run, *, progress: Progress) -> Run:
    """Take a claimed run to its end; what goes wrong in a step ends the run and is written on it.

    Ctrl-C ends the run as ABORT; a killed process leaves it RUNNING, for the next worker to resume.
    """
    started = time.perf_counter()
    try:
        pinned = _pin(workspace, pipeline, run)
        walk = _Walk(workspace=workspace, pipeline=pipeline, run=pinned, progress=progress)
        for place, node in enumerate(pipeline.graph.nodes):
            walk.take(place, node)
    except KeyboardInterrupt:
        _end(workspace, run, RunState.ABORT, started, "interrupted by hand")
        raise
    except Exception as error:  # noqa: BLE001 - whatever a user's step raises belongs on the run's record
        return _end(workspace, run, RunState.FAIL, started, _told(error))
    return _end(workspace, run, RunState.COMPLETE, started, None)


def _end(workspace: Workspace, run: Run, state: RunState, started: float, error: str | None) -> Run:
    with workspace.database.write() as tx:
        return runs.end_run(tx, workspace, run, state, seconds=time.perf_counter() - started, error=error)


def _pin(workspace: Workspace, pipeline: Pipeline, run: Run) -> Run:
    if run.code is not None:
        return _refuse_other_code(workspace, run)
    sources = pipeline.graph.sources()
    with workspace.database.write() as tx:
        return runs.pin_run(
            tx,
            run,
            code=provenance.code_version(workspace.settings.root),
            env=provenance.environment(),
            datasets=[latest_version(tx, name) for name in _dataset_names(sources)],
            models=[_pin_model(tx, source) for source in sources if isinstance(source, ModelAlias)],
        )


def _refuse_other_code(workspace: Workspace, run: Run) -> Run:
    now = provenance.code_version(workspace.settings.root)
    assert run.code is not None
    if now.digest != run.code.digest:
        raise ProjectError(
            "the project's code has changed since this run began, so it cannot be resumed.",
            next_step=f"start it anew: everloop run {run.pipeline}.",
        )
    return run


def _dataset_names(sources: tuple[Input, ...]) -> list[str]:
    names: dict[str, None] = {}
    for source in sources:
        if isinstance(source, Dataset):
            names[source.name] = None
        if isinstance(source, FeatureService):
            names.update(dict.fromkeys(view.source for view in source.views))
    return sorted(names)


def _pin_model(tx: Connection, alias: ModelAlias) -> ModelPin:
    version = find_alias(tx, alias.model, alias.alias)
    digest = None if version is None else get_version(tx, alias.model, version).digest
    return ModelPin(model=alias.model, alias=alias.alias, version=version, digest=digest)


@dataclass(slots=True)
class _Walk:
    """One worker's way through one run; everything that matters is in the database after each step."""

    workspace: Workspace
    pipeline: Pipeline
    run: Run
    progress: Progress
    done: dict[str, StepRun] = field(default_factory=dict)
    values: dict[tuple[str, str], object] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)

    def take(self, place: int, node: Node) -> None:
        """Bring one step to its end: from an earlier run, or by calling its function."""
        step = self._row(place, node)
        known = self._known(step, node)
        if known is not None:
            self._reuse(step, node, known)
            return
        with self.workspace.database.write() as tx:
            steps.begin_step(tx, self.run, step)
        self.progress(self.run, step)
        self._call(step, node)

    def _reuse(self, step: StepRun, node: Node, known: StepRun) -> None:
        """Take a finished step's outputs; one of this very run, finished before a restart, is already written."""
        if known.run_id != self.run.id:
            known = replace(
                step,
                state=RunState.COMPLETE,
                ended_at=self.workspace.now(),
                seconds=0.0,
                outputs=known.outputs,
                metrics=known.metrics,
                cached_from=known.cached_from or known.run_id,
            )
            with self.workspace.database.write() as tx:
                steps.begin_step(tx, self.run, known)
                steps.end_step(tx, self.workspace, self.run, known)
        self.done[node.name] = known
        self.progress(self.run, known)

    def _known(self, step: StepRun, node: Node) -> StepRun | None:
        with self.workspace.database.read() as tx:
            if not node.step.cache:
                mine = [row for row in steps.list_steps(tx, self.run.id) if row.step == step.step]
                return next((row for row in mine if row.state is RunState.COMPLETE), None)
            return steps.find_completed(tx, step.cache_key)

    def _call(self, step: StepRun, node: Node) -> None:
        started = time.perf_counter()
        try:
            if node.registers is not None:
                self._register(step, node, started)
                return
            arguments = {name: self._value(node, name, source) for name, source in node.inputs.items()}
            outputs = take_apart(_tried(node, arguments), node.outputs)
            refs = tuple(
                self._artifacts.save(name, value, node.outputs[name]) for name, value in outputs.items()
            )
        except Exception as error:
            failed = replace(
                step, state=RunState.FAIL, error=_told(error), seconds=time.perf_counter() - started
            )
            self._write(replace(failed, ended_at=self.workspace.now()))
            raise
        for name, value in outputs.items():
            if is_safe_to_share(value):
                self.values[node.name, name] = value
        measured = {k: v for value in outputs.values() for k, v in _metrics(value).items()}
        self._write(self._ended(step, started, outputs=refs, metrics=measured))

    def _ended(self, step: StepRun, started: float, **more: Any) -> StepRun:
        seconds = time.perf_counter() - started
        return replace(step, state=RunState.COMPLETE, ended_at=self.workspace.now(), seconds=seconds, **more)

    def _write(self, step: StepRun) -> None:
        with self.workspace.database.write() as tx:
            steps.end_step(tx, self.workspace, self.run, step)
        self._note(step)

    def _note(self, step: StepRun) -> None:
        if step.state is RunState.COMPLETE:
            self.done[step.step] = step
        self.progress(self.run, step)

    def _register(self, step: StepRun, node: Node, started: float) -> None:
        """Version, alias and step end in one transaction: killed before it, nothing; after it, all."""
        model = cast(Model, self._value(node, "candidate", node.inputs["candidate"]))
        verdict = cast(CheckResult, self._value(node, "verdict", node.inputs["verdict"]))
        if not isinstance(model, Model) or not isinstance(verdict, CheckResult):
            raise ProjectError(
                f"register takes a Model and a verdict, not {type(model).__name__} and {type(verdict).__name__}."
            )
        digest = next(ref.digest for ref in step.inputs if ref.name == "candidate")
        ended = replace(
            step,
            state=RunState.COMPLETE,
            ended_at=self.workspace.now(),
            seconds=time.perf_counter() - started,
        )
        with self.workspace.database.write() as tx:
            version = register_version(
                tx,
                self.workspace,
                model=node.registers or "",
                digest=digest,
                flavor=model.flavor,
                signature=model.signature,
                gate=verdict,
                run_id=self.run.id,
                metrics={name: value for done in self.done.values() for name, value in done.metrics.items()},
                facts=_facts(self.run, model),
            )
            _challenge(tx, self.workspace, version, self.run)
            steps.end_step(tx, self.workspace, self.run, ended)
        self._note(ended)

    def _row(self, place: int, node: Node) -> StepRun:
        refs = tuple(
            replace(self._ref(part), name=name if part is source else f"{name}.{part.field}")
            for name, source in node.inputs.items()
            if isinstance(source, Output)
            for part in source.parts()
        )
        return StepRun(
            run_id=self.run.id,
            step=node.name,
            position=place,
            state=RunState.RUNNING,
            cache_key=self._key(node),
            started_at=self.workspace.now(),
            inputs=refs,
        )

    def _key(self, node: Node) -> str:
        assert self.run.code is not None and self.run.environment is not None
        inputs = {name: self._identity(source) for name, source in node.inputs.items()}
        # The digest covers all of the project's sources, so no helper of a step can change unseen.
        return digest_of([node.step.name, self.run.code.digest, self.run.environment.digest, inputs])

    def _identity(self, source: Input) -> Any:
        if isinstance(source, Output):
            refs = [self._ref(part) for part in source.parts()]
            return ["artifact", *((ref.format, ref.digest) for ref in refs)]
        if isinstance(source, Param):
            return ["value", self.run.params[source.name]]
        if isinstance(source, Constant):
            return ["value", source.value]
        if isinstance(source, Dataset):
            return ["dataset", source.name, self._dataset(source.name).version]
        if isinstance(source, ModelAlias):
            return ["model", self._model(source).digest]
        pins = {view.source: self._dataset(view.source).version for view in source.views}
        return ["features", source.definition(), pins]

    def _value(self, node: Node, name: str, source: Input) -> object:
        if isinstance(source, Output):
            values = [self._output(part) for part in source.parts()]
            return values[0] if source.parts() == (source,) else source.hint(*values)
        if isinstance(source, Param):
            return self.run.params[source.name]
        if isinstance(source, Constant):
            return source.value
        if isinstance(source, Dataset):
            return self._table(source.name)
        if isinstance(source, ModelAlias):
            return self._load(self._model(source))
        return History(source, {view.source: self._table(view.source) for view in source.views})

    def _output(self, output: Output) -> object:
        shared = self.values.get((output.node, output.field))
        return shared if shared is not None else self._artifacts.load(self._ref(output), output.hint)

    def _ref(self, output: Output) -> ArtifactRef:
        return next(ref for ref in self.done[output.node].outputs if ref.name == output.field)

    def _dataset(self, name: str) -> DatasetPin:
        return next(pin for pin in self.run.datasets if pin.dataset == name)

    def _model(self, alias: ModelAlias) -> ModelPin:
        return next(pin for pin in self.run.models if (pin.model, pin.alias) == (alias.model, alias.alias))

    def _table(self, name: str) -> pa.Table:
        if name not in self.tables:
            self.tables[name] = self.workspace.tables.read(name, self._dataset(name).version)
        return self.tables[name]

    def _load(self, pin: ModelPin) -> Model | None:
        if pin.digest is None:
            return None
        return load_model(self.workspace.blobs, pin.digest, trust=self.workspace.settings.trust)

    @property
    def _artifacts(self) -> Artifacts:
        return Artifacts(
            blobs=self.workspace.blobs, trust=self.workspace.settings.trust, pipeline=self.pipeline.name
        )


def _tried(node: Node, arguments: Mapping[str, object]) -> object:
    for left in range(node.step.retries, -1, -1):
        try:
            return cast(Callable[..., object], node.step.function)(**arguments)
        except Exception:
            if left == 0:
                raise
    raise AssertionError("unreachable")


def _metrics(value: object) -> Mapping[str, float]:
    return cast(_Measured, value).metrics() if callable(getattr(value, "metrics", None)) else {}


def _facts(run: Run, model: Model) -> dict[str, Json]:
    return {
        "trained_until": None if model.trained_until is None else model.trained_until.isoformat(),
        "params": dict(run.params),
        "datasets": {pin.dataset: pin.version for pin in run.datasets},
        "trigger": run.trigger,
    }


def _challenge(tx: Connection, workspace: Workspace, version: ModelVersion, run: Run) -> None:
    if version.passed and version.version != find_alias(tx, version.model, CHAMPION):
        move_alias(
            tx,
            workspace,
            model=version.model,
            alias=CHALLENGER,
            version=version.version,
            who=run.who,
            why=f"run {run.id} passed its gate",
        )


def _told(error: Exception) -> str:
    if isinstance(error, EverloopError):
        return str(error)
    return f"{type(error).__name__}: {error}"
