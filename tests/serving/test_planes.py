"""Promises of a server's endpoints: a name means one of them or is refused, and every one has a name."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.clock import system_clock
from everloop.errors import Corrupted, NotFound, NotReady
from everloop.monitoring.inference_log import InferenceLog
from everloop.serving.dataplane import DataPlane
from everloop.serving.planes import Planes
from everloop.storage.database import Database
from tests.serving.test_dataplane import TRAFFIC, Always

NAMES = st.sampled_from("abcd")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InferenceLog]:
    """Nobody infers here, so nothing comes into it."""
    database = Database("", folder=tmp_path_factory.mktemp("planes"))
    log = InferenceLog(database)
    yield log
    log.close()
    database.close()


def load(_model: str, version: int) -> Always:
    """Version 9 of everything is damaged."""
    if version == 9:
        raise Corrupted("it was changed on the disk.", next_step="restore it.")
    return Always()


def serve(log: InferenceLog, models: Mapping[str, str | None]) -> Planes:
    """Endpoints and what is behind them; None has not been told yet."""
    planes = Planes(
        [DataPlane(name, load=load, log=log, now=system_clock, new_id=lambda: "p") for name in models]
    )
    for name, model in models.items():
        if model is not None:
            planes.apply(replace(TRAFFIC, endpoint=name, model=model))
    return planes


@given(models=st.dictionaries(NAMES, NAMES, min_size=1), name=NAMES)
def test_a_name_is_an_endpoint_s_or_that_of_a_model_that_one_endpoint_alone_has(
    log: InferenceLog, models: Mapping[str, str], name: str
) -> None:
    """Whatever the names are; what means several or nobody is refused with the names that can be asked."""
    planes = serve(log, models)
    sharing = [endpoint for endpoint, model in models.items() if model == name]
    if name in models or len(sharing) == 1:
        plane = planes.get(name)
        assert plane.endpoint == (name if name in models else sharing[0])
        assert planes.model_of(name) == plane.model == models[plane.endpoint]
        return
    with pytest.raises(NotFound) as refused:
        planes.get(name)
    for one in sharing or planes.names():
        assert one in str(refused.value)
    assert planes.model_of(name) == (next(iter(models.values())) if len(models) == 1 else "")


@given(st.dictionaries(NAMES, NAMES, min_size=1))
def test_every_listed_name_leads_to_an_endpoint_of_its_own(
    log: InferenceLog, models: Mapping[str, str]
) -> None:
    """Nobody is left out, and a model's name is told wherever it says who is meant."""
    planes = serve(log, models)
    names = planes.names()
    assert [planes.get(name).endpoint for name in names] == list(models)
    for name, (endpoint, model) in zip(names, models.items(), strict=True):
        alone = list(models.values()).count(model) == 1 and model not in models.keys() - {endpoint}
        assert name == (model if alone or model == endpoint else endpoint)


def test_a_name_moves_with_the_endpoint_s_model(log: InferenceLog) -> None:
    """From the moment at which an endpoint has another model, its old name is free and may be another's."""
    planes = serve(log, {"one": "a", "two": "a"})
    with pytest.raises(
        NotFound, match=r"model 'a' is behind 2 endpoints here. Next: .* by its name: one, two"
    ):
        planes.get("a")
    planes.apply(replace(TRAFFIC, endpoint="two", model="b", generation=2))
    assert (planes.get("a").endpoint, planes.get("b").endpoint) == ("one", "two")


def test_whose_model_is_not_known_yet_may_be_the_one_that_is_meant(log: InferenceLog) -> None:
    """A server that has just begun says "not yet", and not "never"."""
    planes = serve(log, {"one": "a", "two": None})
    with pytest.raises(NotReady, match="endpoint 'two' has no model version to answer with yet"):
        planes.get("b")
    assert planes.names() == ["a"]


def test_a_server_is_ready_when_all_can_answer_and_names_those_that_cannot(log: InferenceLog) -> None:
    """One without a champion, one that was told nothing, and one whose version is damaged."""
    planes = serve(log, {"one": "a", "two": None, "three": "c"})
    planes.apply(replace(TRAFFIC, endpoint="one", model="a", generation=2, stable=None))
    with pytest.raises(NotReady, match="endpoints 'one', 'two' have no model version to answer with yet"):
        planes.check_ready()
    planes.apply(replace(TRAFFIC, endpoint="one", model="a", generation=3))
    with pytest.raises(Corrupted):
        planes.apply(replace(TRAFFIC, endpoint="two", model="b", stable=9))
    with pytest.raises(NotReady, match="endpoint 'two' has no"):
        planes.check_ready()
    planes.apply(replace(TRAFFIC, endpoint="two", model="b", generation=2))
    planes.check_ready()
    planes.stopping = True
    with pytest.raises(NotReady, match="the server is stopping"):
        planes.check_ready()
    assert planes.get("a").revision().version == 1, "who asks is answered nevertheless"
