"""What a node is given in a run, and what names it: the values, and their part of a cache key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from everloop.features.history import History
from everloop.features.views import ServiceHistory
from everloop.models.model import Model
from everloop.models.saving import load_model
from everloop.pipelines.artifacts import Artifacts
from everloop.pipelines.nodes import Node
from everloop.pipelines.sources import Constant, Output, Param, Source, datasets_of
from everloop.records.data import DatasetPin
from everloop.records.datasets import DatasetRows
from everloop.records.runs import ArtifactRef, ModelPin, Run, StepRun
from everloop.registry.model_names import ModelAlias
from everloop.storage.workspace import Workspace


@dataclass(slots=True, kw_only=True)
class Inputs:
    """Everything that nodes of one run may be given: params, pinned versions, and what the nodes before made."""

    workspace: Workspace
    run: Run
    artifacts: Artifacts = field(init=False)
    refs: dict[tuple[str, str], ArtifactRef] = field(default_factory=dict)
    """Every output so far, by node and name."""
    made: dict[tuple[str, str], object] = field(default_factory=dict)
    """Outputs that need not be read again."""
    datasets: dict[str, pa.Table] = field(default_factory=dict)
    metrics: dict[str, Mapping[str, float]] = field(default_factory=dict)
    """What each node so far has measured."""

    def __post_init__(self) -> None:
        self.artifacts = Artifacts(
            blobs=self.workspace.blobs, trust=self.workspace.settings.trust, pipeline=self.run.pipeline
        )

    def add(self, done: StepRun) -> None:
        """A node is done: those after it may read what it made."""
        self.refs |= {(done.step, ref.name): ref for ref in done.outputs}
        self.metrics[done.step] = done.metrics

    def keep(self, node: Node, name: str, value: object) -> ArtifactRef:
        """Keep an output of a node."""
        ref, same = self.artifacts.save(name, value, node.outputs[name])
        if same is not None:
            self.made[node.name, name] = same
        return ref

    def measured_before(self, node: Node) -> dict[str, float]:
        """What the nodes that it needs have measured; of two with one name, that of the later in the graph."""
        return {name: value for before in node.needs for name, value in self.metrics[before].items()}

    def read_by(self, node: Node) -> tuple[ArtifactRef, ...]:
        """The artifacts that a node reads, under the names that they have there."""
        return tuple(replace(self.ref(part), name=name) for name, part in node.parts().items())

    def identities(self, node: Node) -> dict[str, Any]:
        """What names each input of a node: equal identities are equal values."""
        return {name: self._identity(source) for name, source in node.inputs.items()}

    def code(self) -> tuple[str, str]:
        """What names everything that could run: all of the project's sources, and every library."""
        code, environment = self.run.code, self.run.environment
        assert code is not None and environment is not None, "a run is pinned before its nodes are run"
        return code.digest, environment.digest

    def arguments(self, node: Node) -> dict[str, object]:
        """The values themselves; each call makes them anew, so a function that changes one changes nobody else's."""
        return {name: self.value(source) for name, source in node.inputs.items()}

    def value(self, source: Source) -> object:
        """One value."""
        if isinstance(source, Output):
            values = [self._output(part) for part in source.parts()]
            return source.hint(*values) if source.whole else values[0]
        if isinstance(source, Param):
            return self.run.params[source.name]
        if isinstance(source, Constant):
            return deepcopy(source.value)
        if isinstance(source, DatasetRows):
            return self.table(source.dataset.name)
        if isinstance(source, ModelAlias):
            return self._load(self._model(source))
        service = source.service
        return History(service, {name: self.table(name) for name in service.sources})

    def table(self, dataset: str) -> pa.Table:
        """The rows of a dataset at its pinned version, read once."""
        if dataset not in self.datasets:
            self.datasets[dataset] = self.workspace.tables.read(dataset, self.version(dataset))
        return self.datasets[dataset]

    def version(self, dataset: str) -> int:
        """The version of a dataset that the run is pinned to."""
        return self._dataset(dataset).version

    def ref(self, part: Output) -> ArtifactRef:
        """The artifact of one output."""
        return self.refs[part.node, part.field]

    def release(self, ahead: Iterable[Node]) -> None:
        """Let go of tables that no later node reads."""
        later = list(ahead)
        parts = {(part.node, part.field) for node in later for part in node.parts().values()}
        self.made = {key: value for key, value in self.made.items() if key in parts}
        names = {name for node in later for source in node.inputs.values() for name in datasets_of(source)}
        self.datasets = {name: table for name, table in self.datasets.items() if name in names}

    def _identity(self, source: Source) -> Any:
        if isinstance(source, Output):
            return ["artifact", *((ref.format, ref.digest) for ref in map(self.ref, source.parts()))]
        if isinstance(source, Param):
            return _plain_identity(self.run.params[source.name])
        if isinstance(source, Constant):
            return _plain_identity(source.value)
        if isinstance(source, ModelAlias):
            return ["model", self._model(source).digest]
        versions = {name: self.version(name) for name in datasets_of(source)}
        if isinstance(source, ServiceHistory):
            return ["features", source.service.definition(), versions]
        return ["dataset", versions]

    def _output(self, part: Output) -> object:
        made = self.made.get((part.node, part.field))
        return self.artifacts.load(self.ref(part), part.hint) if made is None else made

    def _dataset(self, name: str) -> DatasetPin:
        return next(pin for pin in self.run.datasets if pin.dataset == name)

    def _model(self, alias: ModelAlias) -> ModelPin:
        return next(pin for pin in self.run.models if (pin.model, pin.alias) == (alias.model, alias.alias))

    def _load(self, pin: ModelPin) -> Model | None:
        if pin.digest is None:
            return None
        return load_model(self.workspace.blobs, pin.digest, trust=self.workspace.settings.trust)


def _plain_identity(value: object) -> list[str]:
    # JSON would take (1, 2) for [1, 2], and a function need not.
    return ["value", type(value).__name__, repr(value)]
