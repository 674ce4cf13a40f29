"""Promises of the data plane: the right revision answers, everything is logged, and a canary never hurts a client."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from everloop.errors import Corrupted, NotFound, NotReady
from everloop.models.model import Outputs
from everloop.monitoring.inference_log import InferenceLog, logged
from everloop.records.models import Datatype, Field, Signature
from everloop.records.serving import Arm, Outcome, Prediction, Scalar, Traffic, TrafficSplit
from everloop.rollout.routing import arm
from everloop.serving.dataplane import DataPlane, Scorer
from everloop.serving.dialects import v1, v2
from everloop.serving.errors import ModelFailed
from everloop.serving.protocol import InferenceRequest
from everloop.storage.database import Database
from everloop.storage.schema import tables

NOON = datetime(2013, 1, 31, 12, tzinfo=UTC)
SIGNATURE = Signature(
    inputs=(
        Field(name="hour", datatype=Datatype.INT64),
        Field(name="temp", datatype=Datatype.FP64, nullable=True),
    ),
    outputs=(Field(name="late", datatype=Datatype.FP64),),
)
TRAFFIC = Traffic(
    endpoint="flights",
    model="late",
    generation=1,
    stable=1,
    canary=None,
    split=TrafficSplit(stable=100),
    salt="salt",
)
ON_TRIAL = replace(TRAFFIC, generation=2, canary=2, split=TrafficSplit(stable=50, canary=50))


@dataclass(frozen=True)
class Always:
    """A model that answers the same to every row, raises, or answers the wrong number of rows."""

    answer: float = 0.5
    raises: Exception | None = None
    rows: int | None = None
    signature: Signature = SIGNATURE

    def infer(self, columns: Mapping[str, Sequence[Scalar]], /) -> Outputs:
        """The answer."""
        if self.raises is not None:
            raise self.raises
        assert list(columns) == [field.name for field in self.signature.inputs]
        return {"late": np.full(self.rows or len(next(iter(columns.values()))), self.answer)}


@dataclass
class Bench:
    """A data plane over models by version, with a log in a real database."""

    database: Database
    log: InferenceLog
    models: dict[int, Scorer | Exception] = field(default_factory=dict)
    loads: list[int] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.plane = DataPlane(
            "flights", load=self.load, log=self.log, now=lambda: NOON, new_id=lambda: f"p{next(self.ids)}"
        )

    def load(self, _model: str, version: int) -> Scorer:
        """The model of a version, or the reason that it has none."""
        self.loads.append(version)
        model = self.models[version]
        if isinstance(model, Exception):
            raise model
        return model

    def request(self, rows: int = 1, *, id: str | None = None, **parameters: str) -> InferenceRequest:
        """A request that meets the endpoint's signature."""
        signature = self.plane.revision().signature
        columns: dict[str, list[Scalar]] = {"hour": list(range(rows)), "temp": [None] * rows}
        return InferenceRequest(signature=signature, columns=columns, rows=rows, id=id, parameters=parameters)

    def logged(self) -> list[Prediction]:
        """Everything in the log."""
        self.log.flush()
        with self.database.read() as tx:
            return logged(tx, endpoint="flights")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench with two models."""
    database = Database("", folder=tmp_path)
    with database.write() as tx:
        tables.create_all(tx)
    log = InferenceLog(database, every=0.01)
    yield Bench(database, log, {1: Always(0.1), 2: Always(0.2)})
    log.close()
    database.close()


def unit_of(wanted: Arm, percent: int = 50) -> str:
    """A unit that the split sends to this arm."""
    return next(str(n) for n in count() if arm(str(n), "salt", percent) is wanted)


def test_a_prediction_is_logged_with_everything_that_led_to_it(bench: Bench) -> None:
    """Inputs, revision, arm, share, unit and time are in the log under the id that the client got."""
    bench.plane.apply(TRAFFIC)
    response, seconds, shadow, _ = bench.plane.infer(
        bench.request(id="r", unit="u", time="2013-01-01T00:00:00Z")
    )
    assert (response.id, response.prediction_id, response.version, response.values["late"]) == (
        "r",
        "p0",
        1,
        [0.1],
    )
    assert shadow is None
    assert bench.logged() == [
        Prediction(
            id="p0",
            request_id="r",
            unit="u",
            endpoint="flights",
            model="late",
            version=1,
            arm=Arm.STABLE,
            share=100,
            time=datetime(2013, 1, 1, tzinfo=UTC),
            arrived_at=NOON,
            inputs={"hour": 0, "temp": None},
            outputs={"late": 0.1},
            outcome=Outcome.ANSWERED,
            error=None,
            seconds=seconds,
        )
    ]


def test_each_row_of_a_request_has_a_prediction_of_its_own(bench: Bench) -> None:
    """Row i of several is `<prediction id>/<i>`; without an id, the prediction's id stands for the request."""
    bench.plane.apply(TRAFFIC)
    response = bench.plane.infer(bench.request(rows=3)).response
    assert (response.id, response.prediction_id, response.values["late"]) == ("p0", "p0", [0.1, 0.1, 0.1])
    rows = bench.logged()
    assert [row.id for row in rows] == ["p0/0", "p0/1", "p0/2"]
    assert [row.inputs["hour"] for row in rows] == [0, 1, 2]
    assert {(row.request_id, row.unit, row.time) for row in rows} == {("p0", "p0", NOON)}


def test_the_arm_is_the_unit_s_own_and_its_share_is_kept(bench: Bench) -> None:
    """Requests go where routing sends their unit, again and again, and the log tells the share in force."""
    bench.plane.apply(replace(ON_TRIAL, split=TrafficSplit(stable=80, canary=20)))
    for unit in map(str, range(50)):
        expected = arm(unit, "salt", 20)
        for _ in range(2):
            response = bench.plane.infer(bench.request(unit=unit)).response
            assert (response.arm, response.version) == (expected, 2 if expected is Arm.CANARY else 1)
    assert {(row.arm, row.share) for row in bench.logged()} == {(Arm.STABLE, 80), (Arm.CANARY, 20)}


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (Always(raises=ValueError("no\x00such tree")), "ValueError: no?such tree"),
        (Always(answer=float("nan")), "answered [nan] to 1 rows; expected as many finite numbers"),
        (Always(answer=float("inf")), "answered [inf] to 1 rows"),
        (Always(rows=3), "answered [0.5, 0.5, 0.5] to 1 rows"),
        (
            Always(signature=replace(SIGNATURE, inputs=(Field(name="wind", datatype=Datatype.FP64),))),
            "InvalidInput: input 'wind' is missing; the endpoint's requests do not carry it.",
        ),
    ],
)
def test_a_failing_canary_is_answered_for_by_the_stable_revision(
    bench: Bench, broken: Always, told: str
) -> None:
    """The client gets an answer, and both what the canary did and what answered are in the log."""
    bench.models[2] = broken
    bench.plane.apply(ON_TRIAL)
    response = bench.plane.infer(bench.request(unit=unit_of(Arm.CANARY))).response
    assert (response.version, response.arm, response.values["late"]) == (1, Arm.STABLE, [0.1])
    failed, answered = bench.logged()
    assert (failed.id, failed.arm, failed.version, failed.share) == ("p0", Arm.CANARY, 2, 50)
    refused = told.startswith("InvalidInput")
    assert (failed.output, failed.outcome) == (None, Outcome.REFUSED if refused else Outcome.FAILED)
    assert failed.error is not None and told.replace("\x00", "\\x00") in failed.error
    assert (answered.id, answered.arm, answered.version, answered.output) == ("p0", Arm.STABLE, 1, 0.1)


def test_a_canary_may_take_fewer_inputs_than_the_endpoint_is_sent(bench: Bench) -> None:
    """The endpoint's signature is the stable revision's; the canary is given what it knows of."""
    bench.models[2] = Always(0.2, signature=replace(SIGNATURE, inputs=SIGNATURE.inputs[:1]))
    bench.plane.apply(ON_TRIAL)
    assert bench.plane.infer(bench.request(unit=unit_of(Arm.CANARY))).response.version == 2


def test_a_failing_stable_revision_is_logged_and_told(bench: Bench) -> None:
    """Nobody can answer for it; the error names the prediction under which the log has it."""
    bench.models[1] = Always(raises=ValueError("no"))
    bench.plane.apply(TRAFFIC)
    with pytest.raises(ModelFailed, match="late@1 could not answer; this is prediction p0"):
        bench.plane.infer(bench.request())
    (row,) = bench.logged()
    assert (row.outcome, row.output, row.error) == (Outcome.FAILED, None, "ValueError: no")


@pytest.mark.parametrize("answering", [Arm.STABLE, Arm.CANARY])
def test_the_shadow_scores_with_the_other_revision_once_the_client_has_its_answer(
    bench: Bench, answering: Arm
) -> None:
    """Nothing of it is in the log until it is run; then the request has a pair of scores under one id."""
    bench.plane.apply(replace(ON_TRIAL, shadow=True))
    response, _, shadow, _ = bench.plane.infer(bench.request(rows=2, unit=unit_of(answering)))
    assert response.arm is answering
    assert shadow is not None and len(bench.logged()) == 2
    shadow()
    pairs = {(row.id, row.arm): (row.version, row.output) for row in bench.logged()}
    mine, other = ((1, 0.1), (2, 0.2)) if answering is Arm.STABLE else ((2, 0.2), (1, 0.1))
    assert pairs == {(f"p0/{n}", a): s for n in (0, 1) for a, s in ((answering, mine), (Arm.SHADOW, other))}


def test_a_failing_shadow_is_only_logged(bench: Bench) -> None:
    """A shadow that raises is evidence, not an incident."""
    bench.models[2] = Always(raises=ValueError("no"))
    bench.plane.apply(replace(ON_TRIAL, split=TrafficSplit(stable=100), shadow=True))
    answer = bench.plane.infer(bench.request())
    assert answer.shadow is not None
    answer.shadow()
    assert {(row.arm, row.failed) for row in bench.logged()} == {(Arm.STABLE, False), (Arm.SHADOW, True)}


def test_a_version_that_the_client_names_is_outside_the_rollout(bench: Bench) -> None:
    """It is answered by that version whatever its unit, logged with a share of 0, and not shadowed."""
    bench.plane.apply(replace(ON_TRIAL, shadow=True))
    answer = bench.plane.infer(bench.request(unit=unit_of(Arm.STABLE)), version=2)
    assert (answer.response.version, answer.shadow) == (2, None)
    (row,) = bench.logged()
    assert (row.arm, row.share) == (Arm.CANARY, 0)
    with pytest.raises(NotFound, match="late has no version 3 at this endpoint; there is 1, 2"):
        bench.plane.infer(bench.request(), version=3)


def test_a_named_version_that_fails_is_not_answered_for(bench: Bench) -> None:
    """Who asks for one version gets that version or an error."""
    bench.models[2] = Always(raises=ValueError("no"))
    bench.plane.apply(ON_TRIAL)
    with pytest.raises(ModelFailed, match="late@2 could not answer"):
        bench.plane.infer(bench.request(), version=2)


@pytest.mark.parametrize("traffic", [None, replace(TRAFFIC, stable=None)])
def test_without_a_champion_it_says_what_to_do(bench: Bench, traffic: Traffic | None) -> None:
    """Not ready, with the next step; the generation is in effect all the same."""
    if traffic is not None:
        bench.plane.apply(traffic)
    assert bench.plane.generation == (0 if traffic is None else 1)
    assert not bench.plane.ready
    with pytest.raises(NotReady, match="no model version to answer with yet"):
        bench.plane.revision()


def test_what_is_loaded_is_not_loaded_again(bench: Bench) -> None:
    """A rollout's steps load each version once, and what is no longer needed is let go."""
    bench.plane.apply(TRAFFIC)
    bench.plane.apply(ON_TRIAL)
    bench.plane.apply(replace(ON_TRIAL, generation=3, split=TrafficSplit(stable=20, canary=80)))
    bench.plane.apply(replace(TRAFFIC, generation=4, stable=2))
    assert bench.loads == [1, 2]
    assert bench.plane.loaded is not None and list(bench.plane.loaded.revisions) == [2]


def test_what_cannot_be_loaded_leaves_the_old_plan_in_place(bench: Bench) -> None:
    """The server goes on answering with what it has, and does not claim the new generation."""
    bench.models[2] = Corrupted("late@2 was changed on the disk.")
    bench.plane.apply(TRAFFIC)
    for broken in (ON_TRIAL, replace(TRAFFIC, generation=3, stable=2)):
        with pytest.raises(Corrupted):
            bench.plane.apply(broken)
    assert (bench.plane.generation, bench.plane.infer(bench.request()).response.version) == (1, 1)


def test_a_server_that_starts_into_a_broken_canary_serves_the_stable_revision(bench: Bench) -> None:
    """A restart in the middle of a rollout must not turn a broken canary into an outage."""
    bench.models[2] = Corrupted("late@2 was changed on the disk.")
    with pytest.raises(Corrupted):
        bench.plane.apply(ON_TRIAL)
    assert bench.plane.generation == 0
    response = bench.plane.infer(bench.request(unit=unit_of(Arm.CANARY))).response
    assert (response.version, response.arm) == (1, Arm.STABLE)


def test_requests_never_meet_half_a_switch(bench: Bench) -> None:
    """While another thread switches versions as fast as it can, every answer is that of the version it names."""
    bench.plane.apply(TRAFFIC)
    stop = threading.Event()

    def switch(plans: Callable[[int], Traffic]) -> None:
        for generation in count(2):
            bench.plane.apply(plans(generation))
            if stop.is_set():
                return

    switching = threading.Thread(
        target=switch,
        args=(lambda n: replace(ON_TRIAL if n % 3 else TRAFFIC, generation=n, stable=1 + n % 2),),
    )
    switching.start()
    try:
        for n in range(2000):
            response = bench.plane.infer(bench.request(unit=str(n))).response
            assert response.values["late"] == [response.version / 10]
    finally:
        stop.set()
        switching.join()
    assert len(bench.logged()) == 2000


MANY = replace(
    SIGNATURE,
    outputs=(
        Field(name="probability", datatype=Datatype.FP64, shape=(3,)),
        Field(name="label", datatype=Datatype.BYTES),
    ),
)


@dataclass
class Classes:
    """A model with two outputs: a probability for each of three classes, and the name of the likeliest."""

    worst: float = 0.2
    signature: Signature = MANY

    def infer(self, columns: Mapping[str, Sequence[Scalar]], /) -> Outputs:
        """The same to every row."""
        rows = len(next(iter(columns.values())))
        names = np.array(["gold"] * rows, dtype=object)
        return {"probability": np.tile([0.7, 0.1, self.worst], (rows, 1)), "label": names}


def test_several_outputs_of_any_shape_are_answered_and_logged(bench: Bench) -> None:
    """Each row keeps a value for each output; version 1 answers objects, version 2 a tensor for each output."""
    bench.models[1] = Classes()
    bench.plane.apply(TRAFFIC)
    response = bench.plane.infer(bench.request(rows=2)).response
    assert json.loads(v1.write(response))["predictions"] == [
        {"probability": [0.7, 0.1, 0.2], "label": "gold"},
        {"probability": [0.7, 0.1, 0.2], "label": "gold"},
    ]
    assert json.loads(v2.write(response))["outputs"] == [
        {"name": "probability", "shape": [2, 3], "datatype": "FP64", "data": [0.7, 0.1, 0.2] * 2},
        {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["gold", "gold"]},
    ]
    first, second = bench.logged()
    assert first.outputs == second.outputs == {"probability": [0.7, 0.1, 0.2], "label": "gold"}
    assert first.output == [0.7, 0.1, 0.2]


def test_an_output_that_was_asked_for_alone_comes_alone(bench: Bench) -> None:
    """The protocol lets a client choose; the log keeps all of them."""
    bench.models[1] = Classes()
    bench.plane.apply(TRAFFIC)
    response = bench.plane.infer(replace(bench.request(), wanted=["label"])).response
    assert [output["name"] for output in json.loads(v2.write(response))["outputs"]] == ["label"]
    (row,) = bench.logged()
    assert row.outputs is not None and list(row.outputs) == ["probability", "label"]


def test_one_wrong_number_among_many_is_no_answer(bench: Bench) -> None:
    """Inf or NaN anywhere in an output fails the row, and nothing of it is kept as an answer."""
    bench.models[1] = Classes(worst=float("nan"))
    bench.plane.apply(TRAFFIC)
    with pytest.raises(ModelFailed):
        bench.plane.infer(bench.request())
    (row,) = bench.logged()
    assert (row.outcome, row.outputs) == (Outcome.FAILED, None)


def test_an_error_that_no_database_could_keep_is_kept_readable(bench: Bench) -> None:
    """A model's message may quote anything: NUL, half a character, megabytes; the row is in the log all the same."""
    bench.models[1] = Always(raises=ValueError("\x00\udc80" + "x" * 10_000))
    bench.plane.apply(TRAFFIC)
    with pytest.raises(ModelFailed):
        bench.plane.infer(bench.request())
    (row,) = bench.logged()
    assert row.error is not None and len(row.error) == 500
    assert row.error.startswith("ValueError: ??xxx")
