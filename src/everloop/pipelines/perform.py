"""Do one node, in this interpreter: the writer does so with its own nodes, and whoever executes a step with its order."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from everloop.errors import EverloopError
from everloop.pipelines.artifacts import collect_metrics
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.kinds import KINDS
from everloop.pipelines.nodes import Node
from everloop.pipelines.orders import StepResult
from everloop.storage.codec import storable_text


def perform(node: Node, inputs: Inputs) -> tuple[StepResult, Callable[[Connection], object] | None]:
    """Do it and keep what it made; an error is a result, too. With it comes what is to be written with the node's end."""
    try:
        done = KINDS[type(node)].run(node, inputs)
        outputs = tuple(inputs.keep(node, name, value) for name, value in done.outputs.items())
        metrics = collect_metrics(done.outputs)
    except Exception as error:  # noqa: BLE001 - whatever a user's step raises belongs on its record
        return StepResult(error=describe_error(error)), None
    refusal = None if done.refusal is None else describe_error(done.refusal)
    return StepResult(outputs=outputs, metrics=metrics, error=refusal), done.write


def describe_error(error: BaseException) -> str:
    """What goes on the record of what failed."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by hand"
    return storable_text(
        str(error) if isinstance(error, EverloopError) else f"{type(error).__name__}: {error}"
    )
