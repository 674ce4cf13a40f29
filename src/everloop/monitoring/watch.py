"""Look through a monitor's newest window: measure, write down what was found, and raise the event that triggers read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from everloop.errors import EverloopError
from everloop.monitoring.inference_log import is_logged
from everloop.monitoring.kinds import ALARM, MONITORS, UNKNOWN
from everloop.monitoring.labels import Labelled, labelled
from everloop.monitoring.monitors import Monitor
from everloop.records.json import JsonObject
from everloop.records.models import CHAMPION
from everloop.records.serving import Arm
from everloop.registry.aliases import find_alias
from everloop.registry.versions import get_version
from everloop.storage import ledger
from everloop.storage.database import insert_once
from everloop.storage.schema import windows
from everloop.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorWindow:
    """One look of one monitor: what it covered, and what it found."""

    monitor: str
    kind: str
    start: datetime
    end: datetime
    verdict: str
    """ok, alarm, or unknown when it cannot be told."""
    result: JsonObject


def evaluate_window(workspace: Workspace, monitor: Monitor) -> MonitorWindow | None:
    """Judge the newest window that is complete; None when it has been judged before, or nothing was served in it.

    Windows that went by while nobody looked are left out: what matters is whether something is wrong now. A monitor that
    cannot be evaluated says `unknown` and why, and keeps nobody else from being looked at.
    """
    end = _grid(workspace.now() - monitor.maturity, monitor.window)
    with workspace.database.read() as tx:
        window = None if _judged(tx, monitor.name, end) else _window(tx, workspace, monitor, end)
    if window is not None:
        _write(workspace, monitor, window)
    return window


def _window(tx: Connection, workspace: Workspace, monitor: Monitor, end: datetime) -> MonitorWindow | None:
    start, endpoint, model = end - monitor.window, monitor.endpoint, monitor.model
    champion = find_alias(tx, model, CHAMPION)
    # What cannot be judged is asked for again at every look, and must not cost the reading of a window each time.
    if champion is None or not is_logged(tx, endpoint=endpoint, model=model, since=start, until=end):
        return None
    logged = labelled(tx, endpoint=endpoint, since=start, until=end)
    rows = champions_rows([row for row in logged if row.prediction.model == model])
    if not rows:
        return None
    version = get_version(tx, model, champion)
    try:
        verdict, result = MONITORS[type(monitor)](tx, workspace, monitor, version, rows)
    except SQLAlchemyError:
        raise  # the database's trouble says nothing of the monitor, and passes
    except Exception as error:  # noqa: BLE001 - a model or a library may raise anything, and the answer is that it is not known
        because = error.reason if isinstance(error, EverloopError) else repr(error)
        verdict, result = UNKNOWN, {"version": version.name, "because": f"cannot be evaluated: {because}"}
    return MonitorWindow(
        monitor=monitor.name,
        kind=monitor.kind,
        start=start,
        end=end,
        verdict=verdict,
        result=result,
    )


def list_windows(tx: Connection, monitor: str | None = None) -> list[MonitorWindow]:
    """Every look, oldest first."""
    query = select(windows).order_by(windows.c.end, windows.c.monitor)
    if monitor is not None:
        query = query.where(windows.c.monitor == monitor)
    return [_record(row) for row in tx.execute(query).mappings()]


def list_newest_windows(tx: Connection) -> list[MonitorWindow]:
    """The newest look of each monitor, the monitor that was first to look first."""
    ends = select(
        windows.c.monitor, func.min(windows.c.end).label("first"), func.max(windows.c.end).label("newest")
    )
    known = ends.group_by(windows.c.monitor).subquery()
    here = (windows.c.monitor == known.c.monitor) & (windows.c.end == known.c.newest)
    query = select(windows).join(known, here).order_by(known.c.first, windows.c.monitor)
    return [_record(row) for row in tx.execute(query).mappings()]


def champions_rows(rows: list[Labelled]) -> list[Labelled]:
    """One row for each request: what the champion of that moment said, whether it answered or looked on.

    During a rollout the canary answers some requests; with shadowing the champion has scored those, too.
    """
    chosen: dict[str, Labelled] = {}
    canary = {row.prediction.id for row in rows if row.prediction.arm is Arm.CANARY}
    for row in rows:
        arm, id = row.prediction.arm, row.prediction.id
        if arm is Arm.STABLE or (arm is Arm.SHADOW and id in canary and id not in chosen):
            chosen[id] = row
    return list(chosen.values())


def _write(workspace: Workspace, monitor: Monitor, window: MonitorWindow) -> None:
    with workspace.database.write() as tx:
        if not insert_once(tx, windows, {name: getattr(window, name) for name in window.__slots__}):
            return
        if window.verdict == ALARM:
            found = {"because": window.result.get("because"), "version": window.result.get("version")}
            id = f"{window.monitor}-{window.end.isoformat()}"
            event = workspace.event(
                monitor.event, f"/monitors/{window.monitor}", window.monitor, found, id=id
            )
            ledger.append(tx, event)


def _judged(tx: Connection, monitor: str, end: datetime) -> bool:
    query = select(windows.c.end).where(windows.c.monitor == monitor, windows.c.end >= end)
    return tx.execute(query.limit(1)).first() is not None


def _grid(moment: datetime, span: timedelta) -> datetime:
    """The last end of a window at or before a moment; windows of a monitor lie edge to edge since 1970."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // span * span


def _record(row: RowMapping) -> MonitorWindow:
    return MonitorWindow(**dict(row))
