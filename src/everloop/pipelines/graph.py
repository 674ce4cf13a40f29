"""The graph of a pipeline: traced once by calling its function, checked before anything runs."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from everloop.errors import ProjectError
from everloop.features.views import FeatureService, FeatureView, ServiceHistory
from everloop.pipelines.hints import SINGLE, describe_type, fits, is_record
from everloop.pipelines.nodes import GateNode, Node, ReadNode, RegisterNode, StepNode, ValidateNode
from everloop.pipelines.sources import (
    WHOLE,
    Constant,
    Output,
    Param,
    Pinned,
    Source,
    datasets_of,
)
from everloop.pipelines.steps import AnyStep
from everloop.records.checks import CheckResult
from everloop.records.datasets import Dataset, DatasetRows
from everloop.records.placeholders import Placeholder
from everloop.registry.model_names import ModelAlias, RegisteredModel

_LONGEST_NAME = 100  # of a step, in its table
_WRITE: Mapping[type, str] = {
    Dataset: "write {0.name}.rows",
    FeatureService: "write {0.name}.history",
    RegisteredModel: "write {0.name}.champion or {0.name}.challenger",
    FeatureView: 'put it into a service, FeatureService("name", [{0.name}]), and write its .history',
}
"""What is meant by a declaration where a value is wanted."""


class ResultPlaceholder(Placeholder):
    """What a pipeline's function holds of a step's result or of a param: to be handed on, or taken apart."""

    __slots__ = ("_source",)

    def __init__(self, source: Output | Param) -> None:
        self._source = source

    def __getattr__(self, name: str) -> ResultPlaceholder:
        for part in self._parts() if not name.startswith("_") else ():
            if part.field == name:
                return ResultPlaceholder(part)
        raise AttributeError(f"{self!r} has no {name!r}")

    def __iter__(self) -> Iterator[ResultPlaceholder]:
        if not self._parts():
            raise ProjectError(
                f"{self!r} is one value; only a NamedTuple can be taken apart.",
                next_step="hand it on as it is.",
            )
        return map(ResultPlaceholder, self._parts())

    def __repr__(self) -> str:
        if isinstance(self._source, Param):
            return f"param {self._source.name}"
        return f"the output of step {self._source.node}"

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        self._refuse()

    def _parts(self) -> tuple[Output, ...]:
        source = self._source
        return source.parts() if isinstance(source, Output) and source.whole else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The nodes of a pipeline, each after what it needs."""

    nodes: tuple[Node, ...]

    def nodes_for(self, *, register: bool) -> tuple[Node, ...]:
        """The nodes that a run has: one that registers nothing has no node for it, and everything else alike."""
        return tuple(node for node in self.nodes if register or node.registers is None)

    def find_node(self, name: str) -> Node | None:
        """The node of this name; None when it has none."""
        return next((node for node in self.nodes if node.name == name), None)

    def unjudged(self) -> tuple[str, ...]:
        """Models of which a version is registered that has no part in what their gate is asked about."""
        return tuple(
            node.model.name
            for node in self.nodes
            if isinstance(node, RegisterNode)
            and isinstance(verdict := node.inputs.get("verdict"), Output)
            and isinstance(candidate := node.inputs["candidate"], Output)
            and candidate.node not in self._made_from(verdict.node)
        )

    def _made_from(self, name: str) -> set[str]:
        """The nodes that go into this one, itself among them."""
        found = {name}
        for node in reversed(self.nodes):
            if node.name in found:
                found |= {source.node for source in node.inputs.values() if isinstance(source, Output)}
        return found

    def sources(self) -> tuple[Pinned, ...]:
        """What a run reads from outside: rows of datasets, histories of features, and the models behind aliases."""
        found = (source for node in self.nodes for source in node.inputs.values())
        return tuple(dict.fromkeys(source for source in found if isinstance(source, get_args(Pinned))))

    def datasets(self) -> tuple[str, ...]:
        """The names of all datasets that a run reads, in order."""
        return tuple(sorted({name for source in self.sources() for name in datasets_of(source)}))


class GraphBuilder:
    """Collects what a pipeline's function calls while it runs with placeholders."""

    def __init__(self, pipeline: str, params: Mapping[str, Any]) -> None:
        self.pipeline = pipeline
        self.params = params
        self.nodes: list[Node] = []

    def add_step(
        self, step: AnyStep, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ResultPlaceholder | None:
        """A step was called; returns what stands for its result."""
        taker = f"step {step.name} ({step.where})"
        try:
            bound = step.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ProjectError(
                f"{taker} is called wrongly: {error}.",
                next_step="call it with the arguments that its function has.",
            ) from None
        bound.apply_defaults()
        inputs = {
            key: self._fitting(taker, key, value, step.hints[key]) for key, value in bound.arguments.items()
        }
        after = self._read_before(inputs)
        node = StepNode(name=self._free_name(step.name), inputs=inputs, after=after, step=step)
        self.nodes.append(node)
        if not node.outputs:
            return None
        return ResultPlaceholder(
            Output(node.name, WHOLE if is_record(node.returns) else SINGLE, node.returns)
        )

    def add_register(self, model: RegisteredModel, candidate: object, evaluation: object) -> None:
        """A model is to be registered: its gate is asked first, if it has one."""
        if not isinstance(model, RegisteredModel):
            raise ProjectError(
                f"register takes a RegisteredModel first, not {model!r}.",
                next_step="write register(model, candidate, evaluation).",
            )
        if any(node.registers == model.name for node in self.nodes):
            raise ProjectError(
                f"register is called twice for model {model.name!r}; a run makes one version of a model.",
                next_step="register the second under a name of its own.",
            )
        made = self._made("candidate", candidate, _loaded("everloop.models.model", "Model"))
        found = self._made("evaluation", evaluation)
        inputs = {"candidate": made} | (
            {"evaluation": found} if model.gate is None else {"verdict": self._add_gate(model, found)}
        )
        after = tuple(node.name for node in self.nodes)
        self.nodes.append(
            RegisterNode(name=self._free_name("register"), inputs=inputs, after=after, model=model)
        )

    def _add_gate(self, model: RegisteredModel, evaluation: Output) -> Output:
        node = GateNode(name=self._free_name("gate"), inputs={"evaluation": evaluation}, model=model)
        self.nodes.append(node)
        return Output(node.name, "verdict", CheckResult)

    def _read_before(self, inputs: Mapping[str, Source]) -> tuple[str, ...]:
        """Whatever a step reads is read first, and what was promised of it is looked at; both once in a pipeline.

        Returns the names of the nodes that do so.
        """
        names: list[str] = []
        for source in inputs.values():
            names += [self._add_read(name) for name in datasets_of(source)]
            names += [self._add_validate(dataset) for dataset in _declared_by(source) if dataset.expect]
        return tuple(dict.fromkeys(names))

    def _add_read(self, dataset: str) -> str:
        for node in self.nodes:
            if isinstance(node, ReadNode) and node.dataset == dataset:
                return node.name
        name = self._free_name(f"read_{dataset}")
        self.nodes.append(ReadNode(name=name, dataset=dataset))
        return name

    def _add_validate(self, dataset: Dataset) -> str:
        for node in self.nodes:
            if isinstance(node, ValidateNode) and node.dataset == dataset:
                return node.name
        name, inputs = self._free_name(f"validate_{dataset.name}"), {"rows": DatasetRows(dataset)}
        after = (self._add_read(dataset.name),)
        self.nodes.append(ValidateNode(name=name, inputs=inputs, after=after, dataset=dataset))
        return name

    def _free_name(self, wanted: str) -> str:
        taken = {node.name for node in self.nodes}
        ends = ("" if n == 1 else f"_{n}" for n in range(1, len(taken) + 2))
        names = (f"{wanted[: _LONGEST_NAME - len(end)]}{end}" for end in ends)
        return next(name for name in names if name not in taken)

    def _fitting(self, taker: str, key: str, value: Any, wanted: Any) -> Source:
        found = _source(taker, key, value)
        offered = self._offers(found)
        if not fits(offered, wanted):
            raise ProjectError(
                f"{taker} takes {key!r} as {describe_type(wanted)} and is given {describe_type(offered)}.",
                next_step="a model may have no champion yet, so write `Model | None`."
                if isinstance(found, ModelAlias)
                else "hand it what its hint says, or change the hint.",
            )
        return found

    def _made(self, key: str, value: object, wanted: type = object) -> Output:
        """What a step of this pipeline made: nothing else can be registered, or judged."""
        found = _source("register", key, value)
        offered = self._offers(found)
        if isinstance(found, Output) and fits(offered, wanted):
            return found
        what = f"the {wanted.__name__} that" if wanted is not object else "what"
        raise ProjectError(
            f"register takes as {key} {what} a step of this pipeline returns, and is given {describe_type(offered)}.",
            next_step="hand on the output of such a step.",
        )

    def _offers(self, source: Source) -> Any:
        if isinstance(source, Output):
            return source.hint
        if isinstance(source, Param):
            return self.params[source.name]
        if isinstance(source, Constant):
            return type(source.value)
        if isinstance(source, DatasetRows):
            return _loaded("pyarrow", "Table")
        if isinstance(source, ServiceHistory):
            return _loaded("everloop.features.history", "History")
        return _loaded("everloop.models.model", "Model") | None


def _source(taker: str, key: str, value: Any) -> Source:
    if isinstance(value, ResultPlaceholder):
        return value._source
    if isinstance(value, DatasetRows | ServiceHistory | ModelAlias):
        return value
    if _is_plain(value):
        return Constant(value)
    meant = next((text for kind, text in _WRITE.items() if isinstance(value, kind)), None)
    if meant is not None:
        raise ProjectError(
            f"{taker} is given the declaration {value.name!r} as {key!r}, and no value of it.",
            next_step=meant.format(value),
        )
    raise ProjectError(
        f"{taker} is given {value!r} as {key!r}, which a run's record cannot hold.",
        next_step="hand on outputs one by one, and plain values (bool, int, float, str, lists of them).",
    )


def _declared_by(source: Source) -> list[Dataset]:
    """The declarations behind a source whose promises can be looked at; of a dataset that is only named there is none."""
    if isinstance(source, DatasetRows):
        return [source.dataset]
    views = source.service.views if isinstance(source, ServiceHistory) else ()
    return [view.dataset for view in views if view.dataset is not None]


def _loaded(module: str, name: str) -> type:
    # A hint that means this class has loaded its module, which is heavy and would slow down every command here. Where it is
    # not loaded, nothing in the project can take what the engine would give.
    return getattr(sys.modules.get(module), name, None) or type(name, (), {"__module__": module})


def _is_plain(value: object) -> bool:
    """Whether a value can be written down as it is and read again."""
    if isinstance(value, list | tuple):
        return type(value) in (list, tuple) and all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or (
        type(value) in (bool, int, float, str) and (not isinstance(value, float) or math.isfinite(value))
    )
