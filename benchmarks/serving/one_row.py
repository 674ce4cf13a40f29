"""What everything costs: one row over v2 with checks, routing, log and metrics, against a bare ASGI app with the same model.

Both servers run on uvicorn with httptools and uvloop, take the same bytes and answer the same shape; the bare one
trusts its input, keeps nothing and counts nothing. They take turns, so that a busy machine is unfair to both.

    python benchmarks/serving/one_row.py [--rounds 5] [--requests 3000]
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import uvicorn
import uvloop

from everloop.models.model import Model
from everloop.models.saving import load_model, save_model
from everloop.records.checks import CheckResult
from everloop.records.models import Datatype, Field, Signature
from everloop.records.serving import Scalar, Traffic, TrafficSplit
from everloop.registry.versions import get_version, register_version
from everloop.rollout.endpoints import write_traffic
from everloop.serving.server import serve
from everloop.settings import Settings, Trust
from everloop.storage.schema import runs
from everloop.storage.workspace import Workspace, open_workspace

CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
INPUTS = (
    *(Field(name=name, datatype=Datatype.INT64) for name in ("month", "hour", "weekday", "distance")),
    *(Field(name=name, datatype=Datatype.BYTES, categories=CARRIERS) for name in ("carrier", "origin")),
    *(Field(name=f"x{n}", datatype=Datatype.FP64, nullable=True) for n in range(6)),
)
SIGNATURE = Signature(inputs=INPUTS, outputs=(Field(name="late", datatype=Datatype.FP64),))
ROW: Mapping[str, Scalar] = {
    "month": 7,
    "hour": 17,
    "weekday": 5,
    "distance": 1400,
    "carrier": "UA",
    "origin": "AA",
    **{f"x{n}": n + 0.5 for n in range(6)},
}


def make(root: Path) -> Workspace:
    """A workspace with one version that answers."""
    random = np.random.default_rng(1)
    rows = random.normal(5, 3, (3000, len(INPUTS)))
    labels = (rows[:, 0] + rows[:, 6] + random.normal(0, 3, 3000) > 10).astype(float)
    params = {"objective": "binary", "verbosity": -1, "num_leaves": 31, "num_threads": 1, "seed": 1}
    model = Model(lightgbm.train(params, lightgbm.Dataset(rows, labels), num_boost_round=100), SIGNATURE)
    workspace = open_workspace(Settings(root=root, module="project"))
    passed = CheckResult(name="gate", passed=True, because="a benchmark")
    with workspace.database.write() as tx:
        facts = {"trigger": "on_demand", "reason": "benchmark", "who": "benchmark"}
        tx.execute(
            runs.insert().values(
                id="run",
                pipeline="late",
                key="run",
                state="COMPLETE",
                requested_at=datetime.now(UTC),
                **facts,
            )
        )
        register_version(
            tx,
            workspace,
            model="late",
            digest=save_model(workspace.blobs, model),
            flavor=model.flavor,
            signature=SIGNATURE,
            gate=passed,
            run_id="run",
            metrics={},
            facts={},
        )
        write_traffic(
            tx,
            Traffic(
                endpoint="late",
                model="late",
                generation=1,
                stable=1,
                canary=None,
                split=TrafficSplit(stable=100),
                salt="",
            ),
        )
    return workspace


# The bare server: decode, predict, encode.


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Scalar]


class _Request(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None


def bare(model: Model) -> Callable[..., Awaitable[None]]:
    """The least that answers a version 2 request with this model."""
    decode, encode = msgspec.json.Decoder(_Request).decode, msgspec.json.Encoder().encode

    async def app(
        scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        message = await receive()
        request = decode(message["body"])
        scores = model.infer({tensor.name: tensor.data for tensor in request.inputs})["late"]
        output = {"name": "late", "shape": [1], "datatype": "FP64", "data": scores.tolist()}
        body = encode({"model_name": "late", "model_version": "1", "id": request.id, "outputs": [output]})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def run_server(kind: str, root: Path) -> None:
    """One of the two, in this process; prints its port."""
    workspace = open_workspace(Settings(root=root, module="project"))
    if kind == "everloop":
        serve(workspace, ("late",), port=0, on_ready=lambda url: print(url.rpartition(":")[2], flush=True))
        return
    with workspace.database.read() as tx:
        digest = get_version(tx, "late", 1).digest
    app = bare(load_model(workspace.blobs, digest, trust=Trust()))
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app, http="httptools", loop="uvloop", lifespan="off", log_config=None, access_log=False
    )
    uvicorn.Server(config).run(sockets=[listener])


# The client: as little as can be, so that the server is what is measured.


@dataclass
class Load(asyncio.Protocol):
    """One connection that sends the same request again as soon as it has its answer."""

    request: bytes
    left: list[int]
    times: list[float]
    done: asyncio.Future[None]

    def connection_made(self, transport: Any) -> None:
        """Send the first one."""
        self.transport, self.seen = transport, b""
        self.send()

    def send(self) -> None:
        """Send another one, if one is left."""
        if self.left[0] <= 0:
            self.transport.close()
            return
        self.left[0] -= 1
        self.started = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Take an answer, which must be a good one."""
        self.seen += data
        if not self.seen.endswith(b"}"):
            return
        assert self.seen.startswith(b"HTTP/1.1 200"), self.seen
        self.times.append(time.perf_counter() - self.started)
        self.seen = b""
        self.send()

    def connection_lost(self, _exc: Exception | None) -> None:
        """The end."""
        if not self.done.done():
            self.done.set_result(None)


async def load(port: int, request: bytes, connections: int, requests: int) -> tuple[float, list[float]]:
    """Seconds in all, and each request's."""
    loop = asyncio.get_running_loop()
    left, times = [requests], list[float]()
    ends = [loop.create_future() for _ in range(connections)]
    started = time.perf_counter()
    for end in ends:
        await loop.create_connection(lambda end=end: Load(request, left, times, end), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ends)
    return time.perf_counter() - started, times


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def http(body: bytes) -> bytes:
    """The whole request."""
    head = f"POST /v2/models/late/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def measure(rounds: int, requests: int) -> None:
    """Start both, let them take turns, and print the ratios."""
    inputs = [
        {"name": field.name, "datatype": field.datatype.value, "shape": [1], "data": [ROW[field.name]]}
        for field in INPUTS
    ]
    request = http(json.dumps({"id": "r", "inputs": inputs}).encode())
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder)).close()
        command = [sys.executable, __file__, "--root", folder]
        servers = {
            kind: subprocess.Popen([*command, "--serve", kind], stdout=subprocess.PIPE, text=True)
            for kind in ("bare", "everloop")
        }
        try:
            ports = {kind: _port(server) for kind, server in servers.items()}
            for connections in (1, 64):
                take_turns(servers, ports, request, connections, rounds, requests)
        finally:
            for server in servers.values():
                server.terminate()
                server.wait()


def _port(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    return int(server.stdout.readline())


def take_turns(
    servers: Mapping[str, subprocess.Popen[str]],
    ports: Mapping[str, int],
    request: bytes,
    connections: int,
    rounds: int,
    requests: int,
) -> None:
    """Measure both at so many connections."""
    cpu: dict[str, list[float]] = {kind: [] for kind in ports}
    rate: dict[str, list[float]] = {kind: [] for kind in ports}
    median: dict[str, list[float]] = {kind: [] for kind in ports}
    for turn in range(rounds + 1):
        for kind, port in ports.items():
            before = cpu_seconds(servers[kind].pid)
            seconds, times = uvloop.run(load(port, request, connections, requests))
            used = cpu_seconds(servers[kind].pid) - before
            if turn:  # the first one warms up
                cpu[kind].append(used / requests * 1e6)
                rate[kind].append(requests / seconds)
                median[kind].append(statistics.median(times) * 1e6)
    print(f"{connections} connection(s), {rounds} turns of {requests} requests, medians")
    for kind in ports:
        told = f"{statistics.median(cpu[kind]):6.1f} us CPU a request, p50 {statistics.median(median[kind]):7.1f} us"
        print(f"  {kind:9} {told}, {statistics.median(rate[kind]):7.0f} requests/s")
    ratios = [statistics.median(of["everloop"]) / statistics.median(of["bare"]) for of in (cpu, median, rate)]
    print("  everloop / bare: CPU {:.2f}, p50 {:.2f}, requests/s {:.2f}".format(*ratios))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--requests", type=int, default=3000)
    arguments.add_argument("--serve", choices=["bare", "everloop"], help=argparse.SUPPRESS)
    arguments.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.serve:
        run_server(given.serve, given.root)
    else:
        measure(given.rounds, given.requests)
