"""A step of the user's: its function is called, again where it asked for that, and what it returns is taken apart."""

from __future__ import annotations

import logging
from typing import Any

from everloop.errors import EverloopError, InvalidInput, Refused
from everloop.pipelines.artifacts import take_apart
from everloop.pipelines.identity import function_id
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.kinds.kind import NodeKind, Result
from everloop.pipelines.nodes import StepNode

_logger = logging.getLogger(__name__)


class StepKind(NodeKind[StepNode]):
    """Keyed by its function, all of the project's code and every input."""

    by_order = True

    def key(self, node: StepNode, inputs: Inputs) -> Any:
        """The function, all of the project's sources, every library, and each input."""
        function = function_id(node.step.function, inputs.workspace.settings.root)
        return ["step", function or node.name, *inputs.code(), inputs.identities(node)]

    def is_cached(self, node: StepNode, inputs: Inputs) -> bool:
        """Unless it asked not to be, or nobody can tell which function it is."""
        return node.step.cache and function_id(node.step.function, inputs.workspace.settings.root) is not None

    def run(self, node: StepNode, inputs: Inputs) -> Result:
        """Call it."""
        return Result(outputs=take_apart(_called(node, inputs), node.returns))


def _called(node: StepNode, inputs: Inputs) -> object:
    for left in range(node.step.retries, -1, -1):
        try:
            return node.step.function(**inputs.arguments(node))
        except (Refused, InvalidInput):
            raise  # an answer; asking again gives the same one
        except SystemExit as error:
            # It would end the worker with the run still open, and the next worker likewise.
            raise EverloopError(
                f"the step asked its process to exit with {error.code!r}.",
                next_step="let the step return, or raise an error that says what went wrong.",
            ) from error
        except Exception as error:
            if left == 0:
                raise
            _logger.warning("step %s of run %s is tried again", node.name, inputs.run.id, exc_info=error)
    raise AssertionError("the last try has returned or raised")
