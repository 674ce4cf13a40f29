"""What a user's module declares, found by type; made by `loading`, asked for by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar, get_args

from everloop.errors import InvalidInput, NotFound, ProjectError
from everloop.evaluation.metric import Metric, check_names
from everloop.features.views import FeatureService, ServiceHistory, duplicates
from everloop.loop.triggers import Triggers
from everloop.monitoring.monitors import Monitor
from everloop.pipelines.executors import check_executor
from everloop.pipelines.nodes import RegisterNode
from everloop.pipelines.pipeline import Pipeline
from everloop.records.datasets import Dataset, DatasetRows
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.endpoint import Endpoint
from everloop.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """Everything that a module declares at its top level, and the settings that it was loaded under."""

    settings: Settings
    sources: str
    """Digest of the project's Python files when they were loaded: what runs, whatever becomes of the files."""
    datasets: Sequence[Dataset]
    models: Sequence[RegisteredModel]
    pipelines: Sequence[Pipeline]
    endpoints: Sequence[Endpoint]
    monitors: Sequence[Monitor]
    triggers: Sequence[Triggers]
    services: Sequence[FeatureService]
    metrics: Sequence[Metric]

    def pipeline(self, name: str) -> Pipeline:
        """The pipeline of this name, or NotFound with the names there are."""
        return _named(self.pipelines, name, "pipeline")

    def dataset(self, name: str) -> Dataset:
        """The dataset of this name, or NotFound with the names there are."""
        return _named(self.datasets, name, "dataset")

    def endpoint(self, name: str) -> Endpoint:
        """The endpoint of this name, or NotFound with the names there are."""
        return _named(self.endpoints, name, "endpoint")

    def endpoints_to_serve(self, name: str | None) -> Sequence[Endpoint]:
        """All of them, or the one of this name; NotFound when there is none."""
        if name is not None:
            return [self.endpoint(name)]
        if not self.endpoints:
            raise NotFound(
                "the project has no endpoint.", next_step='declare one: Endpoint("name", model=…).'
            )
        return self.endpoints

    def warnings(self) -> list[str]:
        """What is no error and hardly meant: feature views that compute the same under two names, a model that is registered
        on the word of a gate that was asked about something else.
        """
        services: dict[FeatureService, None] = dict.fromkeys(self.services)
        for pipeline in self.pipelines:
            services |= {s.service: None for s in pipeline.graph.sources() if isinstance(s, ServiceHistory)}
        repeats = [(service.name, said) for service in services for said in duplicates(service)]
        unjudged = [
            (pipeline.name, model) for pipeline in self.pipelines for model in pipeline.graph.unjudged()
        ]
        return [
            *(f"feature service {name}: {said[0].lower()}{said[1:]}" for name, said in repeats),
            *(
                f"pipeline {name}: the model that it registers as {model} has no part in what the gate is asked about; "
                "evaluate the one that is registered."
                for name, model in unjudged
            ),
        ]


def find_declarations(settings: Settings, values: Iterable[object], *, sources: str) -> Declarations:
    """Collect what a module's values declare, and check that it hangs together."""
    values = list(values)
    found = Declarations(
        settings=settings,
        sources=sources,
        datasets=_found(values, Dataset),
        models=_found(values, RegisteredModel),
        pipelines=_found(values, Pipeline),
        endpoints=_found(values, Endpoint),
        monitors=[monitor for kind in get_args(Monitor) for monitor in _found(values, kind)],
        triggers=_found(values, Triggers),
        services=_found(values, FeatureService),
        metrics=_found(values, Metric),
    )
    for check in _CHECKS:
        check(found)
    return found


def _found(values: Iterable[object], kind: type[T]) -> list[T]:
    found: list[T] = []
    for value in values:
        parts = value if isinstance(value, list | tuple) else (value,)
        found.extend(
            part for part in parts if isinstance(part, kind) and not any(part is known for known in found)
        )
    return found


def _check_names(declared: Declarations) -> None:
    for what, things in _named_things(declared).items():
        names = [str(getattr(thing, "name", "")) for thing in things]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ProjectError(
                f"{declared.settings.module} declares two {what}s named {name!r}.",
                next_step="give one of them another name, or take it out.",
            )


def _named_things(declared: Declarations) -> Mapping[str, Sequence[object]]:
    return {
        "dataset": declared.datasets,
        "model": declared.models,
        "pipeline": declared.pipelines,
        "endpoint": declared.endpoints,
        "monitor": declared.monitors,
    }


def _check_metrics(declared: Declarations) -> None:
    """A number in a run's record is known by its metric's name alone."""
    try:
        check_names(declared.metrics)
    except InvalidInput as error:
        raise ProjectError(f"{declared.settings.module}: {error.reason}", next_step=error.next_step) from None


def _check_datasets(declared: Declarations) -> None:
    """Whatever is read must be declared in the module, or nobody would ever collect it."""
    known = {dataset.name for dataset in declared.datasets}
    read = [pair for pipeline in declared.pipelines for pair in _read_by(pipeline)]
    for triggers in declared.triggers:
        asked = [(rule.kind, rule.dataset) for rule in triggers.rules]
        read += [(f"on_{kind} of {triggers.pipeline}", name) for kind, name in asked if name is not None]
    for reader, name in read:
        if name not in known:
            raise ProjectError(
                f"{reader} reads dataset {name!r}, which {declared.settings.module} does not declare.",
                next_step=_meant(name, known, f'declare it at the top level: Dataset("{name}", …).'),
            )


def _read_by(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    for source in pipeline.graph.sources():
        if isinstance(source, DatasetRows):
            yield f"pipeline {pipeline.name}", source.dataset.name
        for view in source.service.views if isinstance(source, ServiceHistory) else ():
            yield f"feature view {view.name!r}", view.source


def _check_monitors(declared: Declarations) -> None:
    endpoints, monitors = ({e.name for e in declared.endpoints}, {m.name for m in declared.monitors})
    for monitor in declared.monitors:
        if monitor.endpoint not in endpoints:
            raise ProjectError(
                f"monitor {monitor.name!r} watches endpoint {monitor.endpoint!r}, {_NOT_THERE}.",
                next_step=_meant(monitor.endpoint, endpoints, "give the endpoint a name in the module."),
            )
    for triggers in declared.triggers:
        declared.pipeline(triggers.pipeline)
        for rule in triggers.rules:
            if rule.monitor is not None and rule.monitor not in monitors:
                raise ProjectError(
                    f"trigger {rule.name!r} reads a monitor, {_NOT_THERE}.",
                    next_step=_meant(rule.monitor, monitors, "give the monitor a name in the module."),
                )


def _check_gates(declared: Declarations) -> None:
    """A version is registered under the gate that the module declares for its model, and no pipeline goes round it."""
    known = {model.name: model for model in declared.models}
    for pipeline in declared.pipelines:
        for node in pipeline.graph.nodes:
            if isinstance(node, RegisterNode) and known.get(node.model.name) != node.model:
                name = node.model.name
                one = "another model of that name" if name in known else "it nowhere at its top level"
                raise ProjectError(
                    f"pipeline {pipeline.name} registers model {name!r}, and {declared.settings.module} declares {one}.",
                    next_step=f'declare one RegisteredModel("{name}", gate=…) in the module, and register that.',
                )


def _check_models(declared: Declarations) -> None:
    """An endpoint of a model that no pipeline makes would wait for ever; a project without pipelines only serves."""
    made = {node.registers for pipeline in declared.pipelines for node in pipeline.graph.nodes} - {None}
    for endpoint in declared.endpoints:
        if made and endpoint.model not in made:
            names = {name for name in made if name is not None}
            raise ProjectError(
                f"endpoint {endpoint.name!r} serves model {endpoint.model!r}, which no pipeline registers.",
                next_step=_meant(endpoint.model, names, "call register(…) with it in a pipeline."),
            )


def _check_settings(declared: Declarations) -> None:
    """What everloop.toml names and only a later room knows: told before anything is asked for."""
    check_executor(declared.settings.worker.executor)


def _meant(name: str, known: Iterable[str], otherwise: str) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


_NOT_THERE = "which the module does not declare at its top level"
_CHECKS = (
    _check_names,
    _check_metrics,
    _check_datasets,
    _check_monitors,
    _check_gates,
    _check_models,
    _check_settings,
)


def _named(things: Sequence[T], name: str, what: str) -> T:
    for thing in things:
        if getattr(thing, "name", None) == name:
            return thing
    have = ", ".join(str(getattr(thing, "name", "")) for thing in things) or "none"
    raise NotFound(f"the project has no {what} {name!r}.", next_step=f"it has: {have}.")
