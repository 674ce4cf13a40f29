"""What a step is given in a run, and the digest that names it."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from everloop.features.history import History
from everloop.models.model import Model
from everloop.models.saving import load_model
from everloop.pipelines.artifacts import Artifacts
from everloop.pipelines.graph import Constant, Input, Node, Output, Param
from everloop.pipelines.identity import function_id
from everloop.records.data import DatasetPin
from everloop.records.datasets import Dataset
from everloop.records.runs import ArtifactRef, ModelPin, Run
from everloop.registry.model_names import ModelAlias
from everloop.storage.codec import digest_of
from everloop.storage.workspace import Workspace


@dataclass(slots=True, kw_only=True)
class Inputs:
    """Everything that steps of one run may be given: params, pinned versions, and outputs of the steps before."""

    workspace: Workspace
    artifacts: Artifacts
    run: Run
    refs: dict[tuple[str, str], ArtifactRef] = field(default_factory=dict)
    """Every output so far, by step and name."""
    tables: dict[tuple[str, str], pa.Table] = field(default_factory=dict)
    """Outputs that need not be read again."""
    datasets: dict[str, pa.Table] = field(default_factory=dict)

    def read_by(self, node: Node) -> tuple[ArtifactRef, ...]:
        """The artifacts that a step reads, under the names of its inputs."""
        return tuple(
            replace(self._ref(part), name=f"{name}.{part.field}" if source.whole else name)
            for name, source in node.inputs.items()
            if isinstance(source, Output)
            for part in source.parts()
        )

    def key(self, node: Node) -> str:
        """Equal keys mean equal results: the function, all of the project's sources, every library, and each input."""
        code, environment = self.run.code, self.run.environment
        assert code is not None and environment is not None, "a run is pinned before its steps are taken"
        function = function_id(node.step.function, self.workspace.settings.root) or node.name
        inputs = {name: self._identity(source) for name, source in node.inputs.items()}
        return digest_of([function, code.digest, environment.digest, inputs])

    def arguments(self, node: Node) -> dict[str, object]:
        """The values themselves; each call makes them anew, so a function that changes one changes nobody else's."""
        return {name: self._value(source) for name, source in node.inputs.items()}

    def release(self, ahead: Iterable[Node]) -> None:
        """Let go of tables that no later step reads."""
        later = list(ahead)
        parts = {(part.node, part.field) for node in later for part in node.outputs()}
        self.tables = {key: table for key, table in self.tables.items() if key in parts}
        names = {name for node in later for source in node.inputs.values() for name in dataset_names(source)}
        self.datasets = {name: table for name, table in self.datasets.items() if name in names}

    def _identity(self, source: Input) -> Any:
        if isinstance(source, Output):
            return ["artifact", *((ref.format, ref.digest) for ref in map(self._ref, source.parts()))]
        if isinstance(source, Param):
            return _plain_identity(self.run.params[source.name])
        if isinstance(source, Constant):
            return _plain_identity(source.value)
        if isinstance(source, ModelAlias):
            return ["model", self._model(source).digest]
        pins = {name: self._dataset(name).version for name in dataset_names(source)}
        return ["dataset", pins] if isinstance(source, Dataset) else ["features", source.definition(), pins]

    def _value(self, source: Input) -> object:
        if isinstance(source, Output):
            values = [self._output(part) for part in source.parts()]
            return source.hint(*values) if source.whole else values[0]
        if isinstance(source, Param):
            return self.run.params[source.name]
        if isinstance(source, Constant):
            return deepcopy(source.value)
        if isinstance(source, Dataset):
            return self._table(source.name)
        if isinstance(source, ModelAlias):
            return self._load(self._model(source))
        return History(source, {view.source: self._table(view.source) for view in source.views})

    def _output(self, part: Output) -> object:
        table = self.tables.get((part.node, part.field))
        return self.artifacts.load(self._ref(part), part.hint) if table is None else table

    def _ref(self, part: Output) -> ArtifactRef:
        return self.refs[part.node, part.field]

    def _dataset(self, name: str) -> DatasetPin:
        return next(pin for pin in self.run.datasets if pin.dataset == name)

    def _model(self, alias: ModelAlias) -> ModelPin:
        return next(pin for pin in self.run.models if (pin.model, pin.alias) == (alias.model, alias.alias))

    def _table(self, name: str) -> pa.Table:
        if name not in self.datasets:
            self.datasets[name] = self.workspace.tables.read(name, self._dataset(name).version)
        return self.datasets[name]

    def _load(self, pin: ModelPin) -> Model | None:
        if pin.digest is None:
            return None
        return load_model(self.workspace.blobs, pin.digest, trust=self.workspace.settings.trust)


def dataset_names(source: Input) -> list[str]:
    """The datasets behind a source, each once."""
    if isinstance(source, Dataset):
        return [source.name]
    if isinstance(source, Output | Param | Constant | ModelAlias):
        return []
    return sorted({view.source for view in source.views})


def _plain_identity(value: object) -> list[str]:
    # JSON would take (1, 2) for [1, 2], and a function need not.
    return ["value", type(value).__name__, repr(value)]
