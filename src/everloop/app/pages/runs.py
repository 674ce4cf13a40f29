"""Runs as people see them: a list, one of them whole, and what came of the one that was just made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from everloop.app.output import (
    duration,
    echo,
    moment,
    print_checks,
    print_facts,
    print_table,
    print_warnings,
    short,
    shortened,
)
from everloop.control.runs import RunDetails, RunReport
from everloop.pipelines.pipeline import Pipeline
from everloop.records.checks import CheckResult
from everloop.records.models import CHALLENGER, ModelVersion
from everloop.records.runs import Run, StepRun


def print_runs(found: Sequence[Run], title: str, *, begin: str, now: datetime) -> None:
    """A table of runs, or how to start the first one."""
    rows = [
        (short(r.id), r.pipeline, r.state, r.requested_at, duration(r.seconds), _outcome(r)) for r in found
    ]
    columns = ("run", "pipeline", "state", "asked, UTC", "took", "why, or what went wrong")
    print_table(title, columns, rows, empty=f"No runs yet. Start one: {begin}", now=now)


def print_run(found: RunDetails) -> None:
    """Everything on one run's record."""
    _print_head(found.run)
    columns = ("step", "state", "took", "outputs")
    print_table("steps", columns, [_step_row(step) for step in found.steps], empty="no steps yet")
    print_table("metrics", ("metric", "value"), sorted(found.metrics.items()))
    for version in found.versions:
        _print_verdict(version)


def print_report(report: RunReport, pipeline: Pipeline) -> None:
    """What came of a run that is complete, below its steps."""
    for version in report.versions:
        _print_verdict(version, _ROLES.get(report.roles.get(version.name, ""), ""))
    if not report.versions and any(node.registers for node in pipeline.graph.nodes):
        for model, verdict in report.verdicts.items():
            _print_answer(model, verdict)
        echo(_SAME if report.register else _EXPERIMENT)
    print_warnings(report.warnings)
    echo(("complete", "green"), f" in {duration(report.run.seconds)}")


_ROLES = {"champion": " and is champion", CHALLENGER: " and is challenger; `everloop up` rolls it out"}
_SAME = "the model is the same as the newest version, so nothing was registered"
_EXPERIMENT = "this was an experiment, so nothing was registered; --register makes a version of it"


def _print_verdict(version: ModelVersion, role: str = "") -> None:
    if version.gate is None:
        echo((version.name, "bold"), " has no gate to pass, so it cannot become champion")
    else:
        _print_answer(version.name, version.gate, role)


def _print_answer(name: str, gate: CheckResult, role: str = "") -> None:
    said = ("passed its gate", "green") if gate.passed else ("was refused by its gate", "red")
    echo((name, "bold"), " ", said, role)
    print_checks(gate)


def _outcome(run: Run) -> str:
    resumed = f"resumed {run.resumed} times; " if run.resumed > 1 else "resumed; " if run.resumed else ""
    return resumed + shortened(run.error or f"{run.trigger}: {run.reason}")


def _print_head(run: Run) -> None:
    echo(("run ", "bold"), (run.id, "bold"), f" of {run.pipeline}: {run.state.value}")
    models = [f"{p.alias} {'none' if p.version is None else f'{p.model}@{p.version}'}" for p in run.models]
    print_facts(
        {
            "why": f"{run.trigger}: {run.reason}",
            "who": run.who,
            "when": f"{moment(run.requested_at)} UTC, took {duration(run.seconds)}",
            "params": ", ".join(f"{name}={value}" for name, value in run.params.items()),
            "data": ", ".join(f"{pin.dataset}@{pin.version} ({pin.rows:,} rows)" for pin in run.datasets),
            "registers": "" if run.register else "nothing, it is an experiment",
            "models": ", ".join(models),
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
