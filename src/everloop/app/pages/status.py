"""Where everything stands, on one page."""

from __future__ import annotations

from collections.abc import Sequence

from everloop.app.output import counted, echo, moment, print_table, shortened
from everloop.app.pages.data import print_datasets
from everloop.app.pages.models import print_models
from everloop.app.pages.runs import print_runs
from everloop.control.data import DatasetSummary
from everloop.control.models import ModelsReport
from everloop.control.status import EndpointStatus, Status


def print_status(
    status: Status, models: ModelsReport, datasets: Sequence[DatasetSummary], *, begin: str
) -> None:
    """One page about everything."""
    echo((status.project, "bold"), f" at {moment(status.time)} UTC")
    print_models(models, now=status.time)
    _print_endpoints(status)
    print_runs(status.runs, "last runs", begin=begin, now=status.time)
    print_datasets(datasets)
    _print_windows(status)
    rows = [(f.trigger, f"{f.reason}; it waits: {shortened(f.because)}") for f in status.waiting]
    print_table("reasons to train that wait", ("trigger", "reason"), rows)


def _print_windows(status: Status) -> None:
    rows = [(w.monitor, w.end, w.verdict, w.result.get("because")) for w in status.monitors]
    print_table("monitors", ("monitor", "until, UTC", "verdict", "because"), rows, now=status.time)


def _print_endpoints(status: Status) -> None:
    rows = []
    for endpoint in status.endpoints:
        traffic = endpoint.spec
        shares = f"{traffic.split.stable} / {traffic.split.canary} %" if traffic.canary else "100 %"
        stable, canary = (
            None if version is None else f"{traffic.model}@{version}"
            for version in (traffic.stable, traffic.canary)
        )
        rows.append((traffic.endpoint, stable, canary, shares, _in_effect(endpoint)))
    print_table("endpoints", ("endpoint", "stable", "canary", "traffic", "in effect at"), rows)


def _in_effect(endpoint: EndpointStatus) -> str:
    following = [server.generation == endpoint.spec.generation for server in endpoint.servers]
    if not following:
        return "no server"
    return (
        counted(following, "server")
        if all(following)
        else f"{sum(following)} of {counted(following, 'server')}"
    )
