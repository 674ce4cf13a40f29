"""Endpoints and rollouts as rows: what a controller wants of a server, and what the server has done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.engine import RowMapping

from everloop.errors import Conflict
from everloop.records.checks import CheckResult
from everloop.records.lineage import Edge
from everloop.records.serving import Rollout, RolloutState, ServerReport, Traffic, TrafficSplit
from everloop.storage.codec import from_json, to_json
from everloop.storage.database import insert_once
from everloop.storage.edges import add_edges
from everloop.storage.schema import endpoints, rollouts, server_reports


def find_traffic(tx: Connection, endpoint: str) -> Traffic | None:
    """What the endpoint's server should do; None before the controller has seen the endpoint."""
    row = tx.execute(select(endpoints).where(endpoints.c.name == endpoint)).mappings().one_or_none()
    return None if row is None else _traffic(row)


def write_traffic(tx: Connection, traffic: Traffic) -> None:
    """Ask the server for this; refused when somebody changed the endpoint since it was read."""
    values = {
        "model": traffic.model,
        "generation": traffic.generation,
        "stable": traffic.stable,
        "canary": traffic.canary,
        "split": traffic.split.canary,
        "salt": traffic.salt,
        "shadow": traffic.shadow,
    }
    here = (endpoints.c.name == traffic.endpoint) & (endpoints.c.generation == traffic.generation - 1)
    if traffic.generation == 1:
        is_written = insert_once(tx, endpoints, {"name": traffic.endpoint, **values})
    else:
        is_written = tx.execute(update(endpoints).where(here).values(**values)).rowcount > 0
    if not is_written:
        raise Conflict(
            f"endpoint {traffic.endpoint} was changed by somebody else at the same moment.",
            next_step="try again.",
        )
    add_edges(tx, _edges(traffic))


def _edges(traffic: Traffic) -> Iterator[Edge]:
    for how, version in (("stable", traffic.stable), ("canary", traffic.canary)):
        if version is not None:
            me = f"model {traffic.model}@{version}"
            yield Edge(source=me, target=f"endpoint {traffic.endpoint}", how=how)


def register_server(
    tx: Connection, server: str, served: Sequence[str], *, alive: Callable[[str], bool], now: datetime
) -> None:
    """A server begins, and has put nothing into effect yet; what servers that have died said is forgotten."""
    servers = tx.execute(select(server_reports.c.server).distinct()).scalars().all()
    dead = [name for name in servers if not alive(name)]
    tx.execute(delete(server_reports).where(server_reports.c.server.in_(dead)))
    for endpoint in served:
        save_report(tx, ServerReport(server=server, endpoint=endpoint, generation=0, reported_at=now))


def save_report(tx: Connection, report: ServerReport) -> None:
    """The server says that this generation is in effect."""
    row = {name: getattr(report, name) for name in report.__slots__}
    if not insert_once(tx, server_reports, row):
        table = server_reports.c
        here = (table.server == report.server) & (table.endpoint == report.endpoint)
        tx.execute(update(server_reports).where(here).values(**row))


def reported_generations(tx: Connection, server: str) -> dict[str, int]:
    """What a server has said last of each of its endpoints."""
    query = select(server_reports.c.endpoint, server_reports.c.generation)
    return {
        row.endpoint: row.generation for row in tx.execute(query.where(server_reports.c.server == server))
    }


def list_reports(tx: Connection, endpoint: str, *, alive: Callable[[str], bool]) -> list[ServerReport]:
    """What each living server has put into effect of an endpoint, in the order in which they began."""
    query = select(server_reports).where(server_reports.c.endpoint == endpoint)
    rows = tx.execute(query.order_by(server_reports.c.server)).mappings()
    return [ServerReport(**row) for row in rows if alive(row["server"])]


def observed_generation(reports: Sequence[ServerReport]) -> int:
    """The generation that every one of these servers has put into effect, or a later one; 0 when there is no server."""
    return min((report.generation for report in reports), default=0)


def list_endpoints(tx: Connection) -> list[Traffic]:
    """Every endpoint that a controller has seen."""
    return [_traffic(row) for row in tx.execute(select(endpoints).order_by(endpoints.c.name)).mappings()]


def find_running_rollout(tx: Connection, endpoint: str) -> Rollout | None:
    """The rollout that is under way, if one is."""
    here = (rollouts.c.endpoint == endpoint) & (rollouts.c.state == RolloutState.RUNNING.value)
    query = select(rollouts).where(here).order_by(rollouts.c.started_at, rollouts.c.canary)
    row = tx.execute(query.limit(1)).mappings().one_or_none()
    return None if row is None else _record(row)


def was_rolled_out(tx: Connection, endpoint: str, model: str, version: int) -> bool:
    """Whether a version has had its rollout at an endpoint, or has it now."""
    table = rollouts.c
    here = (table.endpoint == endpoint) & (table.model == model) & (table.canary == version)
    return tx.execute(select(table.id).where(here)).first() is not None


def list_rollouts(tx: Connection, endpoint: str | None = None, *, limit: int | None = None) -> list[Rollout]:
    """Rollouts, oldest first; the newest so many, if there is a limit."""
    query = select(rollouts).order_by(rollouts.c.started_at.desc(), rollouts.c.canary.desc()).limit(limit)
    if endpoint is not None:
        query = query.where(rollouts.c.endpoint == endpoint)
    return [_record(row) for row in tx.execute(query).mappings()][::-1]


def add_rollout(tx: Connection, rollout: Rollout) -> None:
    """Begin one; a version is rolled out at an endpoint once."""
    if not insert_once(tx, rollouts, _row(rollout)):
        raise Conflict(
            f"{rollout.model}@{rollout.canary} has had its rollout at {rollout.endpoint}.",
            next_step="train another version; each is rolled out once.",
        )


def save_rollout(tx: Connection, rollout: Rollout) -> None:
    """Write where a rollout stands."""
    tx.execute(update(rollouts).where(rollouts.c.id == rollout.id).values(**_row(rollout)))


def _traffic(row: RowMapping) -> Traffic:
    return Traffic(
        endpoint=row["name"],
        model=row["model"],
        generation=row["generation"],
        stable=row["stable"],
        canary=row["canary"],
        split=TrafficSplit(stable=100).shifted(row["split"]),
        salt=row["salt"],
        shadow=row["shadow"],
    )


def _row(rollout: Rollout) -> dict[str, object]:
    plain = {name: getattr(rollout, name) for name in rollout.__slots__}
    return plain | {
        "state": rollout.state.value,
        "verdict": to_json(rollout.verdict),
        "observed": dict(rollout.observed),
    }


def _record(row: RowMapping) -> Rollout:
    verdict = None if row["verdict"] is None else from_json(CheckResult, row["verdict"])
    return Rollout(**dict(row) | {"state": RolloutState(row["state"]), "verdict": verdict})
