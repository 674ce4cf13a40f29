"""A workspace with a small real model in it, and ways to change what its endpoint should do."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import lightgbm
import numpy as np
import pytest

from everloop.models.model import Model
from everloop.models.saving import save_model
from everloop.records.checks import CheckResult
from everloop.records.models import Datatype, Field, Signature
from everloop.records.serving import Traffic, TrafficSplit
from everloop.registry.versions import register_version
from everloop.rollout.endpoints import find_traffic, write_traffic
from everloop.serving.server import PredictionServer, serving
from everloop.settings import Settings
from everloop.storage.schema import runs
from everloop.storage.workspace import Workspace, open_workspace

SIGNATURE = Signature(
    inputs=(
        Field(name="dep_hour", datatype=Datatype.INT64),
        Field(name="temp", datatype=Datatype.FP64, nullable=True),
        Field(name="carrier", datatype=Datatype.BYTES, categories=("AA", "B6", "UA")),
        Field(name="holiday", datatype=Datatype.BOOL),
    ),
    outputs=(Field(name="late", datatype=Datatype.FP64),),
)

Register = Callable[..., Model]
Direct = Callable[..., Traffic]


@pytest.fixture(scope="session")
def small_model() -> Callable[[int], Model]:
    """Makes small boosters that differ by their seed."""

    def make(seed: int) -> Model:
        random = np.random.default_rng(seed)
        rows = np.column_stack(
            [
                random.integers(0, 24, 80),
                random.normal(10, 5, 80),
                random.integers(0, 3, 80),
                random.integers(0, 2, 80),
            ]
        ).astype(float)
        labels = (rows[:, 0] + random.normal(0, 6, 80) > 14).astype(float)
        params = {
            "objective": "binary",
            "num_leaves": 4,
            "min_data_in_leaf": 5,
            "verbosity": -1,
            "num_threads": 1,
        }
        return Model(lightgbm.train(params, lightgbm.Dataset(rows, labels), num_boost_round=5), SIGNATURE)

    return make


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty workspace on SQLite."""
    workspace = open_workspace(Settings(root=tmp_path, module="project"))
    yield workspace
    workspace.close()


@pytest.fixture
def register(workspace: Workspace, small_model: Callable[[int], Model]) -> Register:
    """Registers the model that such a seed makes, as the next version of a name, and gives it back."""
    return lambda seed, name="late": _register(workspace, small_model(seed), f"run-{seed}", name)


@pytest.fixture
def direct(workspace: Workspace) -> Direct:
    """Writes what the endpoint should do, as the controller would."""
    return partial(_direct, workspace)


@pytest.fixture
def server(workspace: Workspace, register: Register, direct: Direct) -> Iterator[PredictionServer]:
    """A server on loopback that answers with version 1."""
    register(1)
    direct(1)
    with serving(workspace, ("flights",)) as running:
        yield running


@pytest.fixture
def client(server: PredictionServer) -> Iterator[httpx.Client]:
    """A client of that server."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def shared_client(
    tmp_path_factory: pytest.TempPathFactory, small_model: Callable[[int], Model]
) -> Iterator[httpx.Client]:
    """A client of one server for many tests that leave no trace in it."""
    workspace = open_workspace(Settings(root=tmp_path_factory.mktemp("shared"), module="project"))
    _register(workspace, small_model(1), "run-1")
    _direct(workspace, 1)
    with serving(workspace, ("flights",)) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
    workspace.close()


def _register(workspace: Workspace, model: Model, run_id: str, name: str = "late") -> Model:
    with workspace.database.write() as tx:
        tx.execute(
            runs.insert().values(
                id=run_id,
                pipeline="late",
                key=run_id,
                state="COMPLETE",
                trigger="on_demand",
                reason="a test",
                who="a test",
                requested_at=datetime(2013, 1, 31, tzinfo=UTC),
            )
        )
        register_version(
            tx,
            workspace,
            model=name,
            digest=save_model(workspace.blobs, model),
            flavor=model.flavor,
            signature=model.signature,
            gate=CheckResult(name="gate", passed=True, because="a test"),
            run_id=run_id,
            metrics={},
            facts={},
        )
    return model


def _direct(
    workspace: Workspace,
    stable: int | None,
    canary: int | None = None,
    percent: int = 0,
    *,
    shadow: bool = False,
    endpoint: str = "flights",
    model: str = "late",
) -> Traffic:
    with workspace.database.write() as tx:
        before = find_traffic(tx, endpoint)
        traffic = Traffic(
            endpoint=endpoint,
            model=model,
            generation=1 if before is None else before.generation + 1,
            stable=stable,
            canary=canary,
            split=TrafficSplit(stable=100).shifted(percent),
            salt="salt",
            shadow=shadow,
        )
        write_traffic(tx, traffic)
    return traffic
