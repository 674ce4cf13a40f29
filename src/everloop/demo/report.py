"""What the year came to: a record of each month, one table, one plot, two sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from everloop.data.datasets import list_batches
from everloop.demo.terminal import out
from everloop.evaluation.measure import evaluate_metrics
from everloop.evaluation.records import Metrics
from everloop.loop.decisions import Decision
from everloop.loop.firings import list_firings
from everloop.metadata.runs import list_runs
from everloop.models.model import Model
from everloop.monitoring.inference_log import count_asked
from everloop.monitoring.labels import Labelled, count_labels, labelled
from everloop.monitoring.watch import champions_rows
from everloop.records.data import DataVerdict
from everloop.records.events import Event, EventType
from everloop.records.models import CHAMPION
from everloop.records.serving import RolloutState
from everloop.registry.aliases import find_alias
from everloop.registry.versions import list_versions
from everloop.rollout.endpoints import list_rollouts
from everloop.storage import ledger
from everloop.storage.workspace import Workspace

KINDS = ("on_demand", "schedule", "new_data", "decay", "drift")
_LINE = "{:<5}{:>8}{:>11}{:>7}{:>8}{:>8}{:>9}{:>8}  {}"
_HEAD = _LINE.format(
    "month", "flights", "predicted", "labels", "AUC", "frozen", "log loss", "frozen", "champion"
)
_COLOURS = {
    ("planted",): "yellow",
    ("stop:", "quarantine:", "ROLLED BACK"): "red",
    ("promoted", "resumed the run"): "green",
    tuple(f"{kind}:" for kind in KINDS): "cyan",
}
NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One month of the kept-fresh champion beside the model frozen in January."""

    month: int
    flights: int
    predictions: int
    labels: int
    champion: str
    """Who was champion when the month was over."""
    auc: float | None
    auc_frozen: float | None
    log_loss: float | None
    log_loss_frozen: float | None
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Year:
    """The whole of it."""

    seconds: float
    months: tuple[Month, ...]
    triggers: Mapping[str, int]
    data_gate: Mapping[str, int]
    model_gate: Mapping[str, int]
    rollouts: Mapping[str, int]
    resumed_runs: int
    lost_predictions: int
    lost_labels: int
    models: Mapping[str, str]
    """Digest of each version: the same on every run of the demo."""


def measure_month(
    workspace: Workspace,
    number: int,
    traffic: tuple[datetime, datetime],
    story: tuple[datetime, datetime],
    flights: int,
    frozen: Model | None,
    planted: Sequence[str],
) -> Month:
    """Read a month from the inference log, the labels and the ledger: its traffic, and what happened meanwhile."""
    with workspace.database.read() as tx:
        rows = champions_rows(labelled(tx, endpoint="late", since=traffic[0], until=traffic[1]))
        champion = find_alias(tx, "late", CHAMPION)
        happened = [event for event in ledger.read(tx) if story[0] < event.time <= story[1]]
    known = [row for row in rows if row.label is not None]
    fresh = evaluate_metrics(_scores(known), _truth(known)) if known else {}
    still = evaluate_metrics(_rescore(frozen, known), _truth(known)) if known and frozen is not None else {}
    return Month(
        month=number,
        flights=flights,
        predictions=len(rows),
        labels=len(known),
        champion=f"late@{champion}",
        auc=_value(fresh, "auc"),
        auc_frozen=_value(still, "auc"),
        log_loss=_value(fresh, "log_loss"),
        log_loss_frozen=_value(still, "log_loss"),
        events=(*planted, *(text for event in happened if (text := _describe(event)) is not None)),
    )


def _value(metrics: Metrics, name: str) -> float | None:
    return metrics[name].value if name in metrics else None


def summarise(
    workspace: Workspace, months: Sequence[Month], sent: int, labelled: int, *, seconds: float
) -> Year:
    """Count everything that the year did, from the workspace's own records."""
    with workspace.database.read() as tx:
        fired = Counter(
            f.kind for f in list_firings(tx) if f.decision in (Decision.STARTED, Decision.COALESCED)
        )
        verdicts = Counter(batch.verdict for batch in list_batches(tx))
        versions = list_versions(tx)
        states = Counter(rollout.state for rollout in list_rollouts(tx))
        resumed = sum(run.resumed > 0 for run in list_runs(tx))
        logged, known = count_asked(tx), count_labels(tx)
    ends = (RolloutState.PROMOTED, RolloutState.ROLLED_BACK, RolloutState.INCONCLUSIVE)
    return Year(
        seconds=round(seconds, 1),
        months=tuple(months),
        triggers={kind: fired[kind] for kind in KINDS},
        data_gate={verdict.value: verdicts[verdict] for verdict in DataVerdict},
        model_gate={
            "passed": sum(v.passed for v in versions),
            "refused": sum(not v.passed for v in versions),
        },
        rollouts={state.value: states[state] for state in ends},
        resumed_runs=resumed,
        lost_predictions=sent - logged,
        lost_labels=labelled - known,
        models={version.name: version.digest for version in versions},
    )


def draw(year: Year, path: Path) -> None:
    """Two lines through the year: the champion that was kept fresh, and the model that was not."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    live = [month for month in year.months if month.log_loss is not None]
    x = list(range(len(live)))
    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    frozen, fresh = [m.log_loss_frozen or 0.0 for m in live], [m.log_loss or 0.0 for m in live]
    axes.plot(x, frozen, color="#8a8f98", marker="o", label="frozen in January")
    axes.plot(x, fresh, color="#0b7a75", marker="o", linewidth=2.5, label="kept fresh by everloop")
    axes.fill_between(x, fresh, frozen, color="#0b7a75", alpha=0.12)
    for place, month in enumerate(live):
        if place == 0 or month.champion != live[place - 1].champion:
            _name(axes, month.champion, place, fresh[place])
    axes.set_xticks(x, [NAMES[month.month - 1] for month in live])
    axes.set_ylabel("log loss on live flights (lower is better)")
    axes.set_title("Will this flight be late? One year of New York flights", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _name(axes: Any, champion: str, x: int, y: float) -> None:
    """The champion that ended the month, below its point."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8}
    axes.annotate(
        champion,
        (x, y),
        (0, -18),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color="#0b7a75",
        bbox=box,
    )


def print_year(year: Year, folder: Path, picture: Path) -> None:
    """The table, what it says, and where to look next."""
    out.print()
    out.print(year_table(year.months))
    live = [m for m in year.months if m.log_loss is not None and m.log_loss_frozen is not None]
    if live:
        out.print()
        out.print(verdict_of(live))
    out.print(
        f"\n{year.seconds:.0f} s. Triggers: {_counts(year.triggers)}. Data gate: {_counts(year.data_gate)}."
    )
    out.print(
        f"Model gate: {_counts(year.model_gate)}. Rollouts: {_counts(year.rollouts)}. Resumed: {year.resumed_runs}."
    )
    out.print(
        f"Plot: {picture}\nExplore: cd {folder} && everloop status, models late, lineage late@2, events, runs"
    )


def verdict_of(live: Sequence[Month]) -> str:
    """Two sentences on what one should see."""
    better = sum((m.log_loss or 0.0) <= (m.log_loss_frozen or 0.0) for m in live)
    fresh = sum(m.log_loss or 0.0 for m in live) / len(live)
    frozen = sum(m.log_loss_frozen or 0.0 for m in live) / len(live)
    return (
        f"Kept fresh, the model was at least as good as the one frozen in January in {better} of {len(live)} months, "
        f"with a mean log loss of {fresh:.4f} against {frozen:.4f}.\n"
        "Look at the months in which the frozen line climbs away: there the year had changed, and the loop had noticed."
    )


def year_table(months: Sequence[Month]) -> Table:
    """Two rows for each month: its figures, and below them what happened and why."""
    table = Table(box=None, header_style="dim", pad_edge=False, show_edge=False, padding=(0, 1))
    table.add_column(_HEAD, header_style="dim")
    for month in months:
        table.add_row(Text(month_line(month)))
        if month.events:
            table.add_row(Padding(_story(month.events), (0, 0, 0, 5)))
    return table


def _story(events: Sequence[str]) -> Text:
    text = Text(" · ".join(events), style="dim")
    for words, style in _COLOURS.items():
        text.highlight_words(words, style=f"not dim {style}")
    return text


def month_line(month: Month) -> str:
    """The figures of one month."""
    coverage = f"{month.labels / month.predictions:.0%}" if month.predictions else "–"
    return _LINE.format(
        NAMES[month.month - 1],
        f"{month.flights:,}",
        f"{month.predictions:,}",
        coverage,
        _number(month.auc),
        _number(month.auc_frozen),
        _number(month.log_loss),
        _number(month.log_loss_frozen),
        month.champion,
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def _describe(event: Event) -> str | None:
    """An event in a few words; None when the table does not need it."""
    data = event.data
    because = str(data.get("because") or "")
    if event.short_type in (EventType.TRIGGER_STARTED, EventType.TRIGGER_COALESCED):
        return f"{data.get('kind')}: {_few_words(str(data.get('kind')), str(data.get('reason')))}"
    if event.short_type == EventType.MODEL_REGISTERED and data.get("gate") == "refused":
        return f"{event.subject} refused by its gate"
    texts: dict[str, str] = {
        EventType.DATA_STOPPED: f"stop: {event.subject} {because}",
        EventType.DATA_QUARANTINED: f"quarantine: {event.subject} {because.split('; dewp')[0]}",
        EventType.RUN_RESUMED: "the next worker resumed the run",
        EventType.ROLLOUT_PROMOTED: f"{event.subject} promoted",
        EventType.ROLLOUT_ROLLED_BACK: f"{event.subject} ROLLED BACK: {because.split(';')[0].removeprefix('fail: ')}",
        EventType.ROLLOUT_INCONCLUSIVE: f"{event.subject} inconclusive: {because}",
    }
    return texts.get(event.short_type)


def _few_words(kind: str, reason: str) -> str:
    if kind == "drift":
        return f"{reason.split(':')[0]} moved"
    if kind == "decay":
        return f"log loss {reason.split(' (')[0]}"
    if kind == "schedule":
        return "every quarter"
    return reason


def _scores(rows: Sequence[Labelled]) -> list[float]:
    return [row.prediction.output or 0.0 for row in rows]  # type: ignore[misc]


def _truth(rows: Sequence[Labelled]) -> list[float]:
    return [row.label or 0.0 for row in rows]  # type: ignore[misc]


def _rescore(model: Model, rows: Sequence[Labelled]) -> list[float]:
    inputs = [row.prediction.inputs for row in rows]
    columns = {f.name: [row.get(f.name) for row in inputs] for f in model.signature.inputs}
    return model.infer(columns)[model.signature.outputs[0].name].tolist()  # type: ignore[no-any-return]
