"""Commands that look at all of it: one page about everything, and the data with the gate's verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from everloop.app.output import moment, print_json, print_table, say, shortened
from everloop.app.showing import named, print_models, print_runs
from everloop.data.datasets import dataset_names, find_latest, list_batches
from everloop.errors import NotFound
from everloop.loop.decisions import Decision
from everloop.loop.firings import list_firings
from everloop.metadata.runs import list_runs
from everloop.monitoring.watch import Window, list_windows
from everloop.project.names import declared
from everloop.project.stores import stores
from everloop.records.data import Finding
from everloop.records.models import CHALLENGER, CHAMPION
from everloop.registry.aliases import find_alias
from everloop.registry.versions import list_versions
from everloop.rollout.endpoints import list_endpoints, list_rollouts, observed_generation
from everloop.storage.workspace import Workspace

# ---- everything on one page


def show_status(start: Path, *, as_json: bool) -> None:
    """One page about everything."""
    with stores(start) as here, here.database.read() as tx:
        if as_json:
            print_json(_status(here, tx))
            return
        now = here.now()
        say((here.settings.module, "bold"), f" at {moment(now)} UTC")
        print_models(here, tx)
        _print_endpoints(tx)
        print_runs(here, list_runs(tx, limit=5), "last runs")
        _print_dataset_table(here, tx)
        _print_windows(tx, now)
        waiting = list_firings(tx, decision=Decision.WAITING)
        rows = [(f.trigger, f"{f.reason}; it waits: {shortened(f.because)}") for f in waiting]
        print_table("reasons to train that wait", ("trigger", "reason"), rows)


def _status(here: Workspace, tx: Connection) -> dict[str, object]:
    models = sorted({version.model for version in list_versions(tx)})
    return {
        "project": here.settings.module,
        "time": here.now(),
        "models": {m: {alias: find_alias(tx, m, alias) for alias in (CHAMPION, CHALLENGER)} for m in models},
        "endpoints": [
            {"spec": t, "observed_generation": observed_generation(tx, t.endpoint)}
            for t in list_endpoints(tx)
        ],
        "rollouts": list_rollouts(tx)[-5:],
        "runs": list_runs(tx, limit=5),
        "datasets": [find_latest(tx, name) for name in dataset_names(tx)],
        "monitors": _newest_windows(tx),
        "waiting": list_firings(tx, decision=Decision.WAITING),
    }


def _newest_windows(tx: Connection) -> list[Window]:
    return list({window.monitor: window for window in list_windows(tx)}.values())


def _print_windows(tx: Connection, now: datetime) -> None:
    rows = [(w.monitor, w.end, w.verdict, w.result.get("because")) for w in _newest_windows(tx)]
    print_table("monitors", ("monitor", "until, UTC", "verdict", "because"), rows, now=now)


def _print_endpoints(tx: Connection) -> None:
    rows = []
    for traffic in list_endpoints(tx):
        shares = f"{traffic.split.stable} / {traffic.split.canary} %" if traffic.canary else "100 %"
        stable, canary = named(traffic.model, traffic.stable), named(traffic.model, traffic.canary)
        rows.append((traffic.endpoint, stable, canary, shares))
    print_table("endpoints", ("endpoint", "stable", "canary", "traffic"), rows)


# ---- datasets


def show_datasets(start: Path, dataset: str | None, *, as_json: bool) -> None:
    """Datasets, or every batch of one."""
    with stores(start) as here, here.database.read() as tx:
        names = {*dataset_names(tx), *declared(here.settings.root, "dataset")}
        if dataset is not None and dataset not in names:
            have = ", ".join(sorted(names)) or "none"
            raise NotFound(f"the project has no dataset {dataset!r}.", next_step=f"it has: {have}.")
        batches = list_batches(tx, dataset)
        if as_json:
            print_json(batches)
        elif dataset is None:
            _print_dataset_table(here, tx)
        else:
            rows = [
                (shortened(b.key), b.arrived_at, b.rows, b.verdict.value, b.version, _findings(b.findings))
                for b in batches
            ]
            columns = ("batch", "arrived, UTC", "rows", "verdict", "version", "findings")
            empty = f"Nothing has arrived. everloop append {dataset} FILE"
            print_table(f"batches of {dataset}", columns, rows, empty=empty, now=here.now())


def _findings(findings: Sequence[Finding]) -> str:
    return "; ".join(finding.message for finding in findings)


def _print_dataset_table(here: Workspace, tx: Connection) -> None:
    rows = []
    for name in dict.fromkeys([*dataset_names(tx), *declared(here.settings.root, "dataset")]):
        latest, batches = find_latest(tx, name), list_batches(tx, name)
        verdicts = [batch.verdict.value for batch in batches]
        counts = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
        version, total = (None, None) if latest is None else (latest.version, latest.rows)
        rows.append((name, version, total, counts or "nothing has arrived"))
    empty = "No data yet. everloop append DATASET FILE"
    print_table("datasets", ("dataset", "version", "rows", "batches"), rows, empty=empty)
