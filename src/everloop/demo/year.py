"""A year of flights through the whole loop: the world happens, and everloop keeps the model fresh."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo

import pyarrow as pa

from everloop.clock import FileClock
from everloop.data.datasets import append
from everloop.demo.client import Client, SentRequest, rows_of
from everloop.demo.report import Month, Year, draw, measure_month, print_year, summarise
from everloop.demo.server import server_process
from everloop.demo.stage import Stage
from everloop.demo.world import World, in_celsius, without_column
from everloop.errors import EverloopError
from everloop.features.history import History
from everloop.loop.controller import Controller
from everloop.loop.firings import run_on_demand
from everloop.metadata.runs import get_run, list_runs
from everloop.metadata.steps import list_steps
from everloop.models.model import Model
from everloop.models.saving import load_model
from everloop.pipelines.worker import Worker
from everloop.project.examples import copy_example
from everloop.project.opening import Project, open_project
from everloop.records.data import Batch
from everloop.records.runs import Run, RunState
from everloop.registry.versions import get_version
from everloop.rollout.endpoints import find_traffic, list_reports, observed_generation
from everloop.storage.codec import dumps
from everloop.storage.presence import Presence

NEW_YORK = ZoneInfo("America/New_York")
REQUESTS = 1_200
"""Flights of each month that ask for a prediction."""
SEED = 7
STRIDE = timedelta(days=2)
"""How far the simulated clock goes between two looks of the controller."""

COLUMN_MISSING = 3
WORKER_KILLED = 6
LEAKING, LEAKING_DAY = 7, 17
CELSIUS = 8
"""Months in which something is planted; the output says so each time."""


def play(folder: Path, *, json_file: Path | None, months: int = 12) -> Year:
    """Live the year in `folder`, tell of it, and leave a project that every command can explore."""
    started = time.perf_counter()
    with Stage(months) as stage, ExitStack() as stack:
        stage.show("reading a year of flights")
        world = World.load()
        clock = _prepare(folder)
        here = stack.enter_context(open_project(folder))
        play = _Play(here=here, clock=clock, world=world, stage=stage, stack=stack, months=months)
        lived = [play.month(number) for number in range(1, months + 1)]
        year = summarise(
            here.workspace, lived, play.sent, play.labelled, seconds=time.perf_counter() - started
        )
    picture = folder / "year.png"
    draw(year, picture)
    if json_file is not None:
        json_file.write_bytes(dumps(year))
    print_year(year, folder, picture)
    return year


def _prepare(folder: Path) -> FileClock:
    copy_example("flights", folder)
    settings = folder / "everloop.toml"
    settings.write_text(
        settings.read_text() + '\n[clock]\nfile = ".everloop/clock"    # the simulated year stands here\n'
    )
    clock = FileClock(folder / ".everloop" / "clock")
    clock.set(_midnight(1))
    return clock


def _midnight(month: int) -> datetime:
    """New York's first midnight of a month of 2013; of the thirteenth, the new year's."""
    year, month = (2014, 1) if month > 12 else (2013, month)
    return datetime(year, month, 1, tzinfo=NEW_YORK).astimezone(UTC)


def _noon_after(midnight: datetime) -> datetime:
    return midnight.replace(hour=12)


@dataclass(slots=True)
class _Play:
    """The world's clockwork. It hands over data, requests and labels; what follows is everloop's doing."""

    here: Project
    clock: FileClock
    world: World
    stage: Stage
    stack: ExitStack
    months: int
    controller: Controller = field(init=False)
    worker: Worker = field(init=False)
    project: ModuleType = field(init=False)
    client: Client | None = None
    frozen: Model | None = None
    flying: dict[str, SentRequest] = field(default_factory=dict)
    outcomes: dict[str, tuple[bool, datetime]] = field(default_factory=dict)
    planted: list[str] = field(default_factory=list)
    asking: list[tuple[str, datetime, dict[str, object]]] = field(default_factory=list)
    loaded: set[int] = field(default_factory=set)
    leaked: bool = False

    def __post_init__(self) -> None:
        self.controller = self.here.controller()
        self.worker = self.here.worker()
        self.project = sys.modules[self.here.settings.module]
        self.stack.callback(self.worker.close)

    @property
    def sent(self) -> int:
        """Predictions asked for and answered."""
        return 0 if self.client is None else self.client.sent

    @property
    def labelled(self) -> int:
        """True answers sent."""
        return 0 if self.client is None else self.client.labelled

    def month(self, number: int) -> Month:
        """One month: traffic while it lasts, and its data on the next day at noon, when every flight has landed."""
        self.planted = []
        begin, end = _midnight(number), _midnight(number + 1)
        before, close = _noon_after(begin), _noon_after(end)
        if self.client is None:
            self.clock.set(close)
        else:
            self._live(number, end)
            self._live(number + 1, close)
        self._arrive(number)
        self._tick(kill=number == WORKER_KILLED)
        if number == 1:
            self._first_model()
        month = measure_month(
            self.here.workspace,
            number,
            (begin, end),
            (before, close),
            self.world.flights(number).num_rows,
            self.frozen,
            self.planted,
        )
        self.stage.month(month)
        return month

    # ---- while a month goes by

    def _live(self, number: int, until: datetime) -> None:
        """Flights of the month ask until a moment; labels come as they land; everloop looks every other day."""
        self._load(number)
        now = self.clock()
        while now < until:
            now = min(now + STRIDE, until)
            self.stage.date(now)
            while self.asking and self.asking[0][1] < now:
                self._ask(*self.asking.pop(0))
            self.clock.set(now)
            self._send_labels(now)
            self._tick(kill=False)
            if now.astimezone(NEW_YORK).month == LEAKING and not self.leaked and now.day >= LEAKING_DAY:
                self._leak()

    def _load(self, number: int) -> None:
        if number in self.loaded or number > self.months:
            return
        self.loaded.add(number)
        began = self.clock()  # nobody can ask a server that is not up yet
        self.asking += [asked for asked in self._requests(number) if asked[1] >= began]

    def _requests(self, number: int) -> Iterator[tuple[str, datetime, dict[str, object]]]:
        """A sample of the month's flights with what is known of each at its scheduled departure."""
        sample = self.world.requests(number, REQUESTS, SEED)
        rows = self.project.known_of(sample, History(self.project.late_features, self._sources(number)))
        plain = rows_of(rows, ["flight_id", "scheduled_departure", "late", "landed_at", *self.project.INPUTS])
        for row in plain:
            if row["late"] is not None:
                self.outcomes[str(row["flight_id"])] = (bool(row["late"]), row["landed_at"])  # type: ignore[assignment]
            yield str(row["flight_id"]), row["scheduled_departure"], row  # type: ignore[misc]

    def _sources(self, number: int) -> dict[str, pa.Table]:
        """All that had happened by the end of the month; the join sees of it what was known at each moment."""
        so_far = range(max(1, number - 1), number + 1)
        return {
            "flights": pa.concat_tables([self.world.flights(month) for month in so_far]),
            "weather": pa.concat_tables([self.world.weather(month) for month in so_far]),
            "planes": self.world.planes(),
        }

    def _ask(self, flight_id: str, moment: datetime, row: dict[str, object]) -> None:
        assert self.client is not None
        self.flying[flight_id] = self.client.ask(flight_id, moment, row)  # type: ignore[arg-type]

    def _send_labels(self, now: datetime) -> None:
        """Labels come when flights have landed; a cancelled flight never gets one."""
        landed = []
        for flight_id, asked in list(self.flying.items()):
            late, landed_at = self.outcomes.get(flight_id, (False, datetime.max.replace(tzinfo=UTC)))
            if landed_at <= now:
                landed.append((asked.prediction_id, float(late), landed_at))
                del self.flying[flight_id]
        if landed and self.client is not None:
            self.client.label(landed)

    # ---- what everloop does meanwhile

    def _tick(self, *, kill: bool) -> None:
        """The controller looks, the worker takes what it has started, the server follows."""
        self.controller.tick()
        if kill:
            self._kill_a_worker()
        while (run := self.worker.run_next()) is not None:
            self._after(run)
            self.controller.tick()
        self._wait_for_server()

    def _after(self, run: Run) -> None:
        if run.state is not RunState.COMPLETE:
            raise EverloopError(
                f"run {run.id} ended as {run.state.value}: {run.error}",
                next_step=f"everloop show {run.id[-8:]}",
            )
        self.stage.show(f"run of {run.pipeline} ({run.trigger}) complete")

    def _wait_for_server(self) -> None:
        """The world waits until every server that lives has put the wanted traffic into effect."""
        if self.client is None:
            return
        (endpoint,) = self.here.declarations.endpoints
        alive = Presence(self.here.workspace.database, self.here.workspace.folder).present
        for _ in range(3_000):
            with self.here.workspace.database.read() as tx:
                traffic, reports = (
                    find_traffic(tx, endpoint.name),
                    list_reports(tx, endpoint.name, alive=alive),
                )
            if traffic is not None and observed_generation(reports) == traffic.generation:
                return
            time.sleep(0.01)
        raise EverloopError(
            "the server has not followed within 30 seconds; see server.log.",
            next_step="see server.log in the demo's folder.",
        )

    def _first_model(self) -> None:
        """Somebody starts the pipeline by hand; the model it makes is frozen beside the loop, for comparison."""
        self._start("the first model", {})
        self._tick(kill=False)
        with self.here.workspace.database.read() as tx:
            first = get_version(tx, "late", 1)
        self.frozen = load_model(self.here.workspace.blobs, first.digest, trust=self.here.settings.trust)
        url = self.stack.enter_context(server_process(self.here.settings.root, "late"))
        self.client = Client(url, "late", first.signature)
        self.stack.callback(self.client.close)
        self._wait_for_server()

    def _start(self, reason: str, given: dict[str, str]) -> None:
        pipeline = self.here.declarations.pipeline("keep_fresh")
        with self.here.workspace.database.write() as tx:
            run_on_demand(
                tx,
                self.here.workspace,
                pipeline=pipeline.name,
                params=pipeline.fill(given),
                who="demo",
                reason=reason,
                key=self.clock().isoformat(),
                register=True,  # the leak has params of its own, and somebody who insists on it
            )

    # ---- what the world hands over at the end of a month, and what is planted

    def _arrive(self, number: int) -> None:
        flights, weather = self.world.flights(number), self.world.weather(number)
        if number == 1:
            self._append("planes", self.world.planes(), "planes")
        if number == COLUMN_MISSING:
            self._plant("a batch of flights without its column tailnum")
            self._append("flights", without_column(flights, "tailnum"), f"2013-{number:02d}-first-try")
        self._append("flights", flights, f"2013-{number:02d}")
        if number == CELSIUS:
            self._plant("a batch of weather in Celsius")
            self._append("weather", in_celsius(weather), f"2013-{number:02d}-first-try")
        self._append("weather", weather, f"2013-{number:02d}")

    def _append(self, dataset: str, rows: pa.Table, key: str) -> Batch:
        batch = append(self.here.workspace, self.here.declarations.dataset(dataset), rows, key=key)
        self.stage.show(f"{dataset} {key}: {batch.verdict.value}")
        return batch

    def _plant(self, what: str) -> None:
        self.planted.append(f"planted: {what}")
        self.stage.show(f"planted: {what}")

    def _leak(self) -> None:
        """A colleague joins the features as of landing: the offline gate is delighted, and live traffic is not."""
        self.leaked = True
        self._plant("a challenger that has seen the future in training")
        self._start("planted: features as of landing", {"at": "landed_at"})
        self._tick(kill=False)

    def _kill_a_worker(self) -> None:
        """A worker process is killed in the middle of a step; whoever comes next goes on from the step before."""
        with self.here.workspace.database.read() as tx:
            waiting = list_runs(tx, state=RunState.START)
        if not waiting:
            self._start("planted: a run whose worker will be killed", {})
            return self._kill_a_worker()
        self._plant("the worker is killed in the middle of the run")
        command = [
            sys.executable,
            "-m",
            "everloop",
            "worker",
            "--once",
            "--project",
            str(self.here.settings.root),
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as victim:
            while not self._is_training(waiting[0].id):
                if victim.poll() is not None:
                    raise EverloopError(
                        f"the worker ended with code {victim.returncode} before it could be killed.",
                        next_step="`everloop worker --once` in the demo's folder says why.",
                    )
                time.sleep(0.05)
            victim.send_signal(signal.SIGKILL)
        return None

    def _is_training(self, run_id: str) -> bool:
        with self.here.workspace.database.read() as tx:
            if get_run(tx, run_id).state is not RunState.RUNNING:
                return False
            return any(step.step == "train" for step in list_steps(tx, run_id))
