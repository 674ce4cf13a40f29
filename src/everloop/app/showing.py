"""Commands that only look: every table that they print is also there as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text
from rich.tree import Tree
from sqlalchemy import Connection

from everloop.app.opened import Opened, opened
from everloop.app.output import check_lines, moment, out, print_json, print_table, short
from everloop.data.datasets import dataset_names, find_latest, list_batches
from everloop.errors import NotFound
from everloop.loop.decisions import Decision
from everloop.loop.firings import list_firings
from everloop.metadata.lineage import Edge, lineage
from everloop.metadata.runs import get_run, list_runs, run_metrics
from everloop.metadata.steps import list_steps
from everloop.monitoring.watch import list_windows
from everloop.records.models import CHALLENGER, CHAMPION, ModelVersion
from everloop.records.runs import Run, StepRun
from everloop.registry.aliases import alias_moves, find_alias
from everloop.registry.versions import list_versions
from everloop.rollout.endpoints import list_endpoints, list_rollouts, observed_generation
from everloop.storage import ledger

_NO_RUNS = "No runs yet. Start one: everloop run PIPELINE"


def show_status(start: Path, *, as_json: bool) -> None:
    """One page about everything."""
    with opened(start) as here, here.workspace.database.read() as tx:
        if as_json:
            print_json(_status(here, tx))
            return
        out.print(f"[bold]{here.project.settings.module}[/] at {moment(here.workspace.now())} UTC")
        _print_models(tx)
        _print_endpoints(tx)
        _print_run_table(list_runs(tx, limit=5), "last runs")
        _print_dataset_table(tx)
        _print_windows(tx)
        waiting = list_firings(tx, decision=Decision.WAITING)
        if waiting:
            rows = [(f.trigger, f.reason, f.because) for f in waiting]
            print_table("waiting reasons to train", ("trigger", "reason", "waits because"), rows, empty="")


def _status(here: Opened, tx: Connection) -> dict[str, object]:
    models = sorted({version.model for version in list_versions(tx)})
    return {
        "project": here.project.settings.module,
        "time": here.workspace.now(),
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


def _newest_windows(tx: Connection) -> list[object]:
    return list({window.monitor: window for window in list_windows(tx)}.values())


def _print_windows(tx: Connection) -> None:
    newest = {window.monitor: window for window in list_windows(tx)}.values()
    rows = [(w.monitor, w.end, w.verdict, w.result.get("because")) for w in newest]
    if rows:
        print_table("monitors", ("monitor", "window until", "verdict", "because"), rows, empty="")


def _print_endpoints(tx: Connection) -> None:
    rows = []
    for traffic in list_endpoints(tx):
        shares = f"{traffic.split.stable} / {traffic.split.canary} %" if traffic.canary else "100 %"
        rows.append(
            (
                traffic.endpoint,
                _named(traffic.model, traffic.stable),
                _named(traffic.model, traffic.canary),
                shares,
            )
        )
    if rows:
        print_table("endpoints", ("endpoint", "stable", "canary", "traffic"), rows, empty="")


def _named(model: str, version: int | None) -> str | None:
    return None if version is None else f"{model}@{version}"


def show_runs(start: Path, pipeline: str | None, limit: int, *, as_json: bool) -> None:
    """Runs, newest first."""
    with opened(start) as here, here.workspace.database.read() as tx:
        found = list_runs(tx, pipeline=pipeline, limit=limit)
    if as_json:
        print_json(found)
    else:
        _print_run_table(found, "runs")


def _print_run_table(found: Sequence[Run], title: str) -> None:
    rows = [
        (short(r.id), r.pipeline, r.state, r.trigger, r.requested_at, r.seconds, _outcome(r)) for r in found
    ]
    columns = ("run", "pipeline", "state", "trigger", "asked for", "seconds", "why, or what went wrong")
    print_table(title, columns, rows, empty=_NO_RUNS)


def _outcome(run: Run) -> str:
    resumed = f"resumed {run.resumed} times; " if run.resumed > 1 else "resumed; " if run.resumed else ""
    return resumed + (run.error or run.reason)


def show_run(start: Path, run_id: str, *, as_json: bool) -> None:
    """Everything on one run's record."""
    with opened(start) as here, here.workspace.database.read() as tx:
        run = get_run(tx, run_id)
        steps, numbers = list_steps(tx, run.id), run_metrics(tx, run.id)
        made = [version for version in list_versions(tx) if version.run_id == run.id]
    if as_json:
        print_json({"run": run, "steps": steps, "metrics": numbers, "versions": made})
        return
    _print_head(run)
    print_table(
        "steps",
        ("step", "state", "seconds", "outputs", ""),
        [_step_row(s) for s in steps],
        empty="no steps yet",
    )
    if numbers:
        print_table("metrics", ("metric", "value"), sorted(numbers.items()), empty="")
    for version in made:
        _print_verdict(version)


def _print_head(run: Run) -> None:
    out.print(f"[bold]run {run.id}[/] of {run.pipeline}: {run.state.value}")
    lines = {
        "why": f"{run.trigger}: {run.reason}",
        "who": run.who,
        "when": f"{moment(run.requested_at)}, took {run.seconds or 0:.1f} s",
        "params": ", ".join(f"{name}={value}" for name, value in run.params.items()),
        "data": ", ".join(f"{pin.dataset}@{pin.version} ({pin.rows:,} rows)" for pin in run.datasets),
        "models": ", ".join(f"{pin.alias} {_named(pin.model, pin.version) or 'none'}" for pin in run.models),
        "code": _code(run),
        "environment": ""
        if run.environment is None
        else f"Python {run.environment.python}, {run.environment.digest[:12]}",
        "resumed": "" if not run.resumed else f"{run.resumed} times",
        "error": run.error or "",
    }
    for name, value in lines.items():
        if value:
            out.print(f"  [dim]{name:12}[/]", Text(value), sep="")


def _code(run: Run) -> str:
    if run.code is None:
        return ""
    commit = "not in git" if run.code.commit is None else run.code.commit[:12]
    return f"{commit}{', uncommitted changes' if run.code.dirty else ''}, sources {run.code.digest[:12]}"


def _step_row(step: StepRun) -> tuple[object, ...]:
    outputs = ", ".join(f"{ref.name} {ref.digest[:8]}" for ref in step.outputs)
    note = step.error or ("" if step.cached_from is None else f"as in run {short(step.cached_from)}")
    return step.step, step.state, step.seconds, outputs, note


def _print_verdict(version: ModelVersion) -> None:
    out.print(f"[bold]{version.name}[/] {'passed its gate' if version.passed else 'refused by its gate'}")
    if version.gate is not None:
        for line in check_lines(version.gate):
            out.print("  ", line, sep="")


def show_models(start: Path, model: str | None, *, as_json: bool) -> None:
    """Versions, and for one model the history of its aliases."""
    with opened(start) as here, here.workspace.database.read() as tx:
        versions = list_versions(tx, model)
        if model is not None and not versions:
            raise NotFound(
                f"there is no registered model {model!r}.", next_step="`everloop models` lists them."
            )
        moves = [] if model is None else alias_moves(tx, model)
        if as_json:
            print_json({"versions": versions, "aliases": _aliases(tx, versions), "history": moves})
            return
        _print_models(tx, model)
    if moves:
        rows = [
            (m.time, m.alias, _named(m.model, m.previous), _named(m.model, m.version), m.who, m.why)
            for m in moves
        ]
        print_table("history", ("when", "alias", "from", "to", "who", "why"), rows, empty="")


def _aliases(tx: Connection, versions: Sequence[ModelVersion]) -> dict[str, dict[str, int | None]]:
    names = sorted({version.model for version in versions})
    return {name: {alias: find_alias(tx, name, alias) for alias in (CHAMPION, CHALLENGER)} for name in names}


def _print_models(tx: Connection, model: str | None = None) -> None:
    versions = list_versions(tx, model)
    aliases = _aliases(tx, versions)
    rows = [_version_row(version, aliases[version.model]) for version in versions]
    columns = ("version", "alias", "gate", "log loss", "AUC", "registered", "run")
    print_table("models", columns, rows, empty="No models yet. A pipeline that calls register(…) makes them.")


def _version_row(version: ModelVersion, aliases: dict[str, int | None]) -> tuple[object, ...]:
    alias = ", ".join(name for name, number in aliases.items() if number == version.version)
    gate = "none" if version.gate is None else "passed" if version.passed else "refused"
    numbers = version.metrics
    return (
        version.name,
        alias,
        gate,
        numbers.get("log_loss"),
        numbers.get("auc"),
        version.created_at,
        short(version.run_id),
    )


def show_lineage(start: Path, thing: str, *, as_json: bool) -> None:
    """A tree up and a tree down."""
    with opened(start) as here, here.workspace.database.read() as tx:
        found = lineage(tx, thing)
    if as_json:
        print_json(found)
        return
    tree = Tree(Text(found.thing, style="bold"))
    _branch(tree, "made from", found.upstream, up=True)
    _branch(tree, "led to", found.downstream, up=False)
    out.print(tree)


def _branch(tree: Tree, title: str, edges: Sequence[Edge], *, up: bool) -> None:
    branch = tree.add(Text(title if edges else f"{title}: nothing that was recorded", style="dim"))
    for edge in edges:
        arrow = f"{edge.source} → {edge.target}" if up else edge.target
        branch.add(Text.assemble(arrow, ("  " + edge.how, "dim")))


def show_events(start: Path, kinds: Sequence[str], after: int, limit: int, *, as_json: bool) -> None:
    """The newest events, oldest first."""
    with opened(start) as here, here.workspace.database.read() as tx:
        found = ledger.read(tx, after=after, types=kinds)[-limit:]
    if as_json:
        print_json(found)
        return
    rows = [(event.seq, event.time, event.short_type, event.subject, _told(event.data)) for event in found]
    print_table("events", ("#", "when", "type", "subject", "data"), rows, empty="No events yet.")


def _told(data: object) -> str:
    if not isinstance(data, dict):
        return ""
    return ", ".join(f"{name}={value}" for name, value in data.items() if value not in (None, ""))


def show_datasets(start: Path, dataset: str | None, *, as_json: bool) -> None:
    """Datasets, or every batch of one."""
    with opened(start) as here, here.workspace.database.read() as tx:
        if dataset is not None:
            here.project.dataset(dataset)
        batches = list_batches(tx, dataset)
        if as_json:
            print_json(batches)
            return
        if dataset is None:
            _print_dataset_table(tx)
            return
    rows = [
        (b.key, b.arrived_at, b.rows, b.verdict.value, b.version, "; ".join(f.message for f in b.findings))
        for b in batches
    ]
    columns = ("batch", "arrived", "rows", "verdict", "version", "findings")
    print_table(
        f"batches of {dataset}", columns, rows, empty="Nothing has arrived. everloop append DATASET FILE"
    )


def _print_dataset_table(tx: Connection) -> None:
    rows = []
    for name in dataset_names(tx):
        latest, batches = find_latest(tx, name), list_batches(tx, name)
        verdicts = [batch.verdict.value for batch in batches]
        told = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
        rows.append(
            (name, None if latest is None else latest.version, None if latest is None else latest.rows, told)
        )
    print_table(
        "datasets",
        ("dataset", "version", "rows", "batches"),
        rows,
        empty="No data yet. everloop append DATASET FILE",
    )
