"""Numbered, immutable versions of a registered model, each bound to the run and the gate that made it."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Connection, func, insert, select
from sqlalchemy.engine import RowMapping

from everloop.errors import NotFound
from everloop.records.checks import CheckResult
from everloop.records.events import EventType
from everloop.records.json import Json
from everloop.records.lineage import Edge
from everloop.records.models import ModelVersion, Signature
from everloop.storage import ledger
from everloop.storage.codec import from_json, number, to_json
from everloop.storage.edges import add_edges
from everloop.storage.schema import model_versions
from everloop.storage.workspace import Workspace


def register_version(
    tx: Connection,
    workspace: Workspace,
    *,
    model: str,
    digest: str,
    flavor: str,
    signature: Signature,
    gate: CheckResult | None,
    run_id: str,
    metrics: Mapping[str, float],
    facts: Mapping[str, Json],
) -> ModelVersion:
    """Give a trained model the next number; the same run, or the same bytes as the newest, gets the number it has."""
    known = _find(tx, model, model_versions.c.run_id == run_id) or _same_as_newest(tx, model, digest, gate)
    if known is not None:
        return known
    highest = select(func.max(model_versions.c.version)).where(model_versions.c.model == model)
    new = ModelVersion(
        model=model,
        version=(tx.execute(highest).scalar_one() or 0) + 1,
        digest=digest,
        flavor=flavor,
        signature=signature,
        gate=gate,
        run_id=run_id,
        created_at=workspace.now(),
        metrics=metrics,
        facts=facts,
    )
    tx.execute(insert(model_versions).values(_row(new)))
    sources = (f"run {run_id}", f"artifact {digest}")
    add_edges(tx, (Edge(source=source, target=f"model {new.name}", how="registered") for source in sources))
    details = {"digest": digest, "run": run_id, "gate": _gate(gate)}
    ledger.append(
        tx, workspace.event(EventType.MODEL_REGISTERED, f"/models/{model}", new.name, details, id=new.name)
    )
    return new


def get_version(tx: Connection, model: str, version: int) -> ModelVersion:
    """The version, or NotFound."""
    found = _find(tx, model, model_versions.c.version == version)
    if found is None:
        raise NotFound(
            f"{model} has no version {version}.", next_step="`everloop models` lists what there is."
        )
    return found


def list_model_names(tx: Connection) -> list[str]:
    """Every model that has a version."""
    return sorted(tx.execute(select(model_versions.c.model).distinct()).scalars())


def list_versions(
    tx: Connection, model: str | None = None, *, run_id: str | None = None
) -> list[ModelVersion]:
    """All versions, of one model or of all, or only those that a run has made; oldest first."""
    query = select(model_versions).order_by(model_versions.c.model, model_versions.c.version)
    if model is not None:
        query = query.where(model_versions.c.model == model)
    if run_id is not None:
        query = query.where(model_versions.c.run_id == run_id)
    return [_record(row) for row in tx.execute(query).mappings()]


def _same_as_newest(tx: Connection, model: str, digest: str, gate: CheckResult | None) -> ModelVersion | None:
    query = select(model_versions).where(model_versions.c.model == model)
    row = tx.execute(query.order_by(model_versions.c.version.desc()).limit(1)).mappings().one_or_none()
    same = row is not None and row["digest"] == digest and row["gate"] == _gate(gate)
    return _record(row) if row is not None and same else None


def _find(tx: Connection, model: str, condition: ColumnElement[bool]) -> ModelVersion | None:
    query = select(model_versions).where(model_versions.c.model == model, condition)
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else _record(row)


def _row(version: ModelVersion) -> dict[str, object]:
    return {
        "model": version.model,
        "version": version.version,
        "digest": version.digest,
        "flavor": version.flavor,
        "signature": to_json(version.signature),
        "gate": _gate(version.gate),
        "verdict": to_json(version.gate),
        "run_id": version.run_id,
        "created_at": version.created_at,
        "metrics": dict(version.metrics),
        "facts": dict(version.facts),
    }


def _record(row: RowMapping) -> ModelVersion:
    plain = dict(row)
    plain.pop("gate")
    verdict = plain.pop("verdict")
    plain["signature"] = from_json(Signature, plain["signature"])
    plain["metrics"] = {name: number(value) for name, value in plain["metrics"].items()}
    return ModelVersion(**plain, gate=None if verdict is None else from_json(CheckResult, verdict))


def _gate(gate: CheckResult | None) -> str:
    if gate is None:
        return "none"
    return "passed" if gate.passed else "refused"
