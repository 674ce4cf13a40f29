"""Commands that only look: every table that they print is also there as JSON.

They open the stores and leave the project's module alone, so they answer at once, and also while its code is broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text
from rich.tree import Tree
from sqlalchemy import Connection

from everloop.app.output import (
    duration,
    moment,
    print_checks,
    print_facts,
    print_json,
    print_table,
    print_wide,
    say,
    short,
    shortened,
    told,
)
from everloop.errors import NotFound
from everloop.metadata.lineage import Edge, lineage
from everloop.metadata.runs import get_run, list_runs, run_metrics
from everloop.metadata.steps import list_steps
from everloop.project.names import declared
from everloop.project.stores import stores
from everloop.records.models import CHALLENGER, CHAMPION, ModelVersion
from everloop.records.runs import Run, StepRun
from everloop.registry.aliases import alias_moves, find_alias
from everloop.registry.versions import list_versions
from everloop.storage import ledger
from everloop.storage.workspace import Workspace

# ---- runs


def show_runs(start: Path, pipeline: str | None, limit: int, *, as_json: bool) -> None:
    """Runs, newest first."""
    with stores(start) as here, here.database.read() as tx:
        found = list_runs(tx, pipeline=pipeline, limit=limit)
        if as_json:
            print_json(found)
        else:
            print_runs(here, found, "runs")


def print_runs(here: Workspace, found: Sequence[Run], title: str) -> None:
    """A table of runs, or how to start the first one."""
    rows = [
        (short(r.id), r.pipeline, r.state, r.requested_at, duration(r.seconds), _outcome(r)) for r in found
    ]
    columns = ("run", "pipeline", "state", "asked, UTC", "took", "why, or what went wrong")
    print_table(title, columns, rows, empty=_how_to_run(here), now=here.now())


def _how_to_run(here: Workspace) -> str:
    names = declared(here.settings.root, "pipeline") or ["PIPELINE"]
    return f"No runs yet. Start one: everloop run {names[0]}"


def _outcome(run: Run) -> str:
    resumed = f"resumed {run.resumed} times; " if run.resumed > 1 else "resumed; " if run.resumed else ""
    return resumed + shortened(run.error or f"{run.trigger}: {run.reason}")


def show_run(start: Path, run_id: str | None, *, as_json: bool) -> None:
    """Everything on one run's record; the newest run when none is named."""
    with stores(start) as here, here.database.read() as tx:
        run = _newest_run(here, tx) if run_id is None else get_run(tx, run_id)
        steps, numbers = list_steps(tx, run.id), run_metrics(tx, run.id)
        made = [version for version in list_versions(tx) if version.run_id == run.id]
    if as_json:
        print_json({"run": run, "steps": steps, "metrics": numbers, "versions": made})
        return
    _print_head(run)
    columns = ("step", "state", "took", "outputs")
    print_table("steps", columns, [_step_row(step) for step in steps], empty="no steps yet")
    print_table("metrics", ("metric", "value"), sorted(numbers.items()))
    for version in made:
        _print_verdict(version)


def _newest_run(here: Workspace, tx: Connection) -> Run:
    found = list_runs(tx, limit=1)
    if not found:
        raise NotFound("there are no runs yet.", next_step=_how_to_run(here).split(": ")[1])
    return found[0]


def _print_head(run: Run) -> None:
    say(("run ", "bold"), (run.id, "bold"), f" of {run.pipeline}: {run.state.value}")
    print_facts(
        {
            "why": f"{run.trigger}: {run.reason}",
            "who": run.who,
            "when": f"{moment(run.requested_at)} UTC, took {duration(run.seconds)}",
            "params": ", ".join(f"{name}={value}" for name, value in run.params.items()),
            "data": ", ".join(f"{pin.dataset}@{pin.version} ({pin.rows:,} rows)" for pin in run.datasets),
            "models": ", ".join(f"{p.alias} {named(p.model, p.version) or 'none'}" for p in run.models),
            "code": _code(run),
            "environment": _environment(run),
            "resumed": "" if not run.resumed else f"{run.resumed} times",
            "error": run.error or "",
        }
    )


def _environment(run: Run) -> str:
    if run.environment is None:
        return ""
    libraries = f"{len(run.environment.libraries)} libraries {run.environment.digest[:12]}"
    return f"Python {run.environment.python}, {libraries}"


def _code(run: Run) -> str:
    if run.code is None:
        return ""
    commit = "not in git" if run.code.commit is None else run.code.commit[:12]
    return f"{commit}{', uncommitted changes' if run.code.dirty else ''}, sources {run.code.digest[:12]}"


def _step_row(step: StepRun) -> tuple[object, ...]:
    outputs = ", ".join(f"{ref.name} {ref.digest[:8]}" for ref in step.outputs)
    took = duration(step.seconds) if step.cached_from is None else f"as in {short(step.cached_from)}"
    return step.step, step.state, took, shortened(step.error or outputs)


def _print_verdict(version: ModelVersion) -> None:
    verdict = ("passed its gate", "green") if version.passed else ("was refused by its gate", "red")
    say((version.name, "bold"), " ", verdict)
    if version.gate is not None:
        print_checks(version.gate)


# ---- models


def named(model: str, version: int | None) -> str | None:
    """`late@3`, or nothing."""
    return None if version is None else f"{model}@{version}"


def show_models(start: Path, model: str | None, *, as_json: bool) -> None:
    """Versions, and for one model the history of its aliases."""
    with stores(start) as here, here.database.read() as tx:
        versions = list_versions(tx, model)
        if model is not None and not versions:
            raise no_model(tx, model)
        moves = [] if model is None else alias_moves(tx, model)
        if as_json:
            print_json({"versions": versions, "aliases": _aliases(tx, versions), "history": moves})
            return
        print_models(here, tx, model)
        rows = [
            (
                m.time,
                m.alias,
                f"{m.previous or '–'} → {m.version or '–'}",
                f"{m.who}: {shortened(m.why)}",
            )
            for m in moves
        ]
        print_table("history", ("when, UTC", "alias", "moved", "who and why"), rows, now=here.now())


def no_model(tx: Connection, model: str) -> NotFound:
    """There is no such model, and these there are."""
    have = ", ".join(sorted({version.model for version in list_versions(tx)})) or "none yet"
    return NotFound(f"there is no registered model {model!r}.", next_step=f"name one of: {have}.")


def _aliases(tx: Connection, versions: Sequence[ModelVersion]) -> dict[str, dict[str, int | None]]:
    names = sorted({version.model for version in versions})
    return {name: {alias: find_alias(tx, name, alias) for alias in (CHAMPION, CHALLENGER)} for name in names}


def print_models(here: Workspace, tx: Connection, model: str | None = None) -> None:
    """A table of model versions with their aliases."""
    versions = list_versions(tx, model)
    aliases = _aliases(tx, versions)
    rows = [_version_row(version, aliases[version.model]) for version in versions]
    columns = ("version", "alias", "gate", "log loss", "AUC", "registered, UTC", "run")
    empty = "No models yet. A pipeline that calls register(…) makes them."
    print_table("models", columns, rows, empty=empty, now=here.now())


def _version_row(version: ModelVersion, aliases: dict[str, int | None]) -> tuple[object, ...]:
    alias = ", ".join(name for name, number in aliases.items() if number == version.version)
    gate = "none" if version.gate is None else "passed" if version.passed else "refused"
    log_loss, auc = version.metrics.get("log_loss"), version.metrics.get("auc")
    return version.name, alias, gate, log_loss, auc, version.created_at, short(version.run_id)


# ---- lineage and events


def show_lineage(start: Path, thing: str, *, as_json: bool) -> None:
    """A tree up and a tree down."""
    with stores(start) as here, here.database.read() as tx:
        found = lineage(tx, thing)
    if as_json:
        print_json(found)
        return
    tree = Tree(Text(found.thing, style="bold"))
    _branch(tree, "made from", found.upstream, up=True)
    _branch(tree, "led to", found.downstream, up=False)
    print_wide(tree)


def _branch(tree: Tree, title: str, edges: Sequence[Edge], *, up: bool) -> None:
    branch = tree.add(Text(title if edges else f"{title}: nothing that was recorded", style="dim"))
    for edge in edges:
        arrow = f"{edge.source} → {edge.target}" if up else edge.target
        branch.add(Text.assemble(shortened(arrow), ("  " + shortened(edge.how), "dim")))


def show_events(start: Path, kinds: Sequence[str], after: int, limit: int, *, as_json: bool) -> None:
    """The newest events, oldest first."""
    with stores(start) as here, here.database.read() as tx:
        found = ledger.read(tx, after=after, types=kinds)[-limit:]
        now = here.now()
    if as_json:
        print_json(found)
        return
    rows = [(e.seq, e.time, e.short_type, shortened(e.subject), told(e.data)) for e in found]
    columns = ("#", "when, UTC", "type", "subject", "data")
    print_table("events", columns, rows, empty="No events yet." if not kinds else "No such events.", now=now)
