"""Promises of the server as a process: it ends when it is told to, and what it has answered is in the log."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from everloop.models.model import Model
from everloop.monitoring.inference_log import logged
from everloop.records.serving import Traffic
from everloop.storage.workspace import Workspace

SERVER = """
import sys
from pathlib import Path
from everloop.serving.server import serve
from everloop.settings import Settings
from everloop.storage.workspace import open_workspace

workspace = open_workspace(Settings(root=Path(sys.argv[1]), module="project"))
serve(workspace, ("flights",), port=0, on_ready=lambda url: print(url, flush=True))
"""
INSTANCES = {"instances": [{"dep_hour": 17, "temp": None, "carrier": "UA", "holiday": False}]}
PREDICT = "/v1/models/late:predict"


@pytest.fixture
def process(
    workspace: Workspace, register: Callable[[int], Model], direct: Callable[..., Traffic]
) -> Iterator[subprocess.Popen[str]]:
    """A server process that answers with version 1."""
    register(1)
    direct(1)
    command = [sys.executable, "-c", SERVER, str(workspace.settings.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def address(process: subprocess.Popen[str]) -> str:
    """Where it listens, as soon as it does."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def prediction_ids(workspace: Workspace) -> set[str]:
    """Everything in the log."""
    with workspace.database.read() as tx:
        return {row.id for row in logged(tx, endpoint="flights")}


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_no_answer_and_no_prediction(
    process: subprocess.Popen[str], workspace: Workspace, stop: signal.Signals
) -> None:
    """Clients in the middle of their work get every answer, the log has all of them, and the exit code is 0."""
    url = address(process)
    answered: list[str] = []
    lost: list[Exception] = []
    enough = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while True:
                try:
                    answer: Any = client.post(PREDICT, json=INSTANCES).raise_for_status()
                except httpx.HTTPError as error:
                    lost.append(error)
                    return
                answered.append(answer.json()["prediction_id"])
                if len(answered) > 200:
                    enough.set()
                if answer.headers.get("connection") == "close":
                    return

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    assert enough.wait(60)
    process.send_signal(stop)
    for client in clients:
        client.join()
    assert process.wait(timeout=30) == 0
    assert lost == []
    assert len(answered) > 200
    assert prediction_ids(workspace) == set(answered)


def test_what_a_label_was_posted_for_survives_even_a_kill(
    process: subprocess.Popen[str], workspace: Workspace
) -> None:
    """Once a label is accepted, everything answered before it is durable, whatever happens to the process."""
    with httpx.Client(base_url=address(process), timeout=30) as client:
        answered = [client.post(PREDICT, json=INSTANCES).json()["prediction_id"] for _ in range(20)]
        receipt = client.post("/labels", json={"prediction_id": answered[-1], "label": 1})
        process.kill()
    assert receipt.json()["accepted"] == 1
    process.wait(timeout=30)
    assert prediction_ids(workspace) == set(answered)
