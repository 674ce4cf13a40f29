"""The process that does orders for `process`: it knows only what an order says, and writes blobs and no rows.

It goes with its worker. However that dies, the kernel closes its end of the connection.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from everloop.errors import ProjectError
from everloop.metadata import provenance
from everloop.pipelines.executors.process import PATIENCE
from everloop.pipelines.inputs import Inputs
from everloop.pipelines.kinds import KINDS
from everloop.pipelines.nodes import Node
from everloop.pipelines.orders import StepOrder, StepResult
from everloop.pipelines.perform import describe_error, perform
from everloop.pipelines.pipeline import Pipeline
from everloop.settings import load_settings
from everloop.storage.codec import digest_of
from everloop.storage.workspace import Workspace, attach_workspace


def main() -> None:
    """Answer orders until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
    connection = Connection(int(sys.argv[1]))
    sys.path[:] = sys.argv[2:]
    orders: SimpleQueue[bytes | None] = SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(connection, orders, busy), daemon=True).start()
    with suppress(KeyboardInterrupt, BrokenPipeError):
        while (order := orders.get()) is not None:
            busy.set()
            answer = _answer(order)
            busy.clear()
            connection.send_bytes(answer)


def _listen(connection: Connection, orders: SimpleQueue[bytes | None], busy: threading.Event) -> None:
    """Hear orders at any time; the end of the connection is one, too."""
    with suppress(EOFError, OSError):
        while True:
            orders.put(connection.recv_bytes())
    orders.put(None)
    if busy.is_set():
        os.killpg(0, signal.SIGINT)
    time.sleep(PATIENCE)
    os.killpg(0, signal.SIGKILL)


def _answer(data: bytes) -> bytes:
    try:
        return _done(StepOrder.from_bytes(data)).to_bytes()
    except Exception as error:  # noqa: BLE001 - the module of the project may fail in any way while it is imported
        return StepResult(error=describe_error(error)).to_bytes()


def _done(order: StepOrder) -> StepResult:
    project = _project(order.root)
    inputs = Inputs(workspace=project.workspace, run=order.run)
    node = _node(project, order, inputs)
    return perform(node, inputs)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Project:
    """What this process has loaded."""

    workspace: Workspace
    pipelines: Mapping[str, Pipeline]
    sources: str


@cache
def _project(root: str) -> _Project:
    settings = load_settings(Path(root))
    sources = provenance.sources_digest(settings.root)
    sys.path[:] = [root, *(folder for folder in sys.path if folder != root)]
    values = vars(importlib.import_module(settings.module)).values()
    parts = (part for value in values for part in (value if isinstance(value, list | tuple) else (value,)))
    pipelines = {part.name: part for part in parts if isinstance(part, Pipeline)}
    return _Project(workspace=attach_workspace(settings), pipelines=pipelines, sources=sources)


def _node(project: _Project, order: StepOrder, inputs: Inputs) -> Node:
    """The node that is meant, with its inputs; anything that cannot be found so, or is another one here, is refused."""
    run, pipeline = order.run, project.pipelines.get(order.run.pipeline)
    anew = f"everloop run {run.pipeline}"
    if run.code is None or run.code.digest != project.sources:
        raise ProjectError("the project's code has changed since this run began.", next_step=anew)
    if run.environment is None or run.environment.digest != provenance.environment().digest:
        raise ProjectError("an installed library has changed since this run began.", next_step=anew)
    node = None if pipeline is None else pipeline.graph.find_node(order.node)
    if node is not None:
        refs = {ref.name: ref for ref in order.inputs}
        inputs.refs |= {(part.node, part.field): refs[name] for name, part in node.parts().items()}
        if digest_of(KINDS[type(node)].key(node, inputs)) == order.cache_key:
            return node
    raise ProjectError(
        f"a fresh interpreter finds no such step {order.node} in a pipeline {run.pipeline} of module "
        f"{project.workspace.settings.module}: it was made in a notebook, or depends on more than the module's code.",
        next_step='declare it at the top of that module, or write executor = "in_process" below [worker] of everloop.toml.',
    )


if __name__ == "__main__":
    main()
