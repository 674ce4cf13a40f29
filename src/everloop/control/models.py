"""Registered models: their versions, who is champion, and moving it by hand: with a reason, and never past the gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from everloop.errors import InvalidInput, NotFound
from everloop.metadata import provenance
from everloop.models import saving
from everloop.models.model import Model
from everloop.project.opening import Project
from everloop.records.models import CHALLENGER, CHAMPION, AliasMove, ModelVersion
from everloop.records.names import get_reference
from everloop.registry import aliases
from everloop.registry.aliases import find_alias, get_previous_champion, list_alias_moves
from everloop.registry.versions import get_version, list_model_names, list_versions
from everloop.rollout.controller import settle
from everloop.storage.workspace import Workspace

Aliases = Mapping[str, int | None]
"""The version that each alias of a model points at; None for one that points nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsReport:
    """Versions of one model or of all, and who is champion."""

    versions: tuple[ModelVersion, ...]
    aliases: Mapping[str, Aliases]
    """By the name of the model."""
    history: tuple[AliasMove, ...]
    """Every move of the aliases, oldest first, when one model was asked for."""


def list_models(workspace: Workspace, model: str | None = None) -> ModelsReport:
    """Versions, oldest first; NotFound for a model that has none."""
    with workspace.database.read() as tx:
        if model is not None:
            _check_model(tx, model)
        versions = list_versions(tx, model)
        return ModelsReport(
            versions=tuple(versions),
            aliases=current_aliases(tx, {version.model for version in versions}),
            history=() if model is None else tuple(list_alias_moves(tx, model)),
        )


def current_aliases(tx: Connection, models: Iterable[str]) -> dict[str, Aliases]:
    """What the aliases of these models point at."""
    return {
        name: {alias: find_alias(tx, name, alias) for alias in (CHAMPION, CHALLENGER)}
        for name in sorted(models)
    }


def get_model_version(workspace: Workspace, text: str) -> ModelVersion:
    """The version that `late@3` or `late@champion` means, or NotFound."""
    with workspace.database.read() as tx:
        return _version(tx, text)


def load_model(workspace: Workspace, text: str) -> Model:
    """The model behind `late@3` or `late@champion`, its bytes checked; NotFound when there is none."""
    return saving.load_model(
        workspace.blobs, get_model_version(workspace, text).digest, trust=workspace.settings.trust
    )


def promote(project: Project, text: str, *, why: str) -> AliasMove | None:
    """Make `late@3` champion; its endpoints follow at once. None when it is champion already."""
    get_reference(text)  # what was meant must be clear before a reason is asked for
    _check_reason(why)
    with project.workspace.database.read() as tx:
        version = _version(tx, text)
    return _move(project, version.model, version.version, why)


def rollback(project: Project, model: str, *, why: str) -> AliasMove | None:
    """Make the champion before this one champion again."""
    _check_reason(why)
    with project.workspace.database.read() as tx:
        _check_model(tx, model)
        version = get_previous_champion(tx, model)
    return _move(project, model, version, why)


def _check_reason(why: str) -> None:
    if not why.strip():
        raise InvalidInput(
            "a champion is not moved without a reason.", next_step="--why 'the reason', or why=\"the reason\""
        )


def _version(tx: Connection, text: str) -> ModelVersion:
    meant = get_reference(text)
    _check_model(tx, meant.name)
    if meant.alias is None:
        return get_version(tx, meant.name, meant.version or 0)
    if meant.alias not in (CHAMPION, CHALLENGER):
        raise InvalidInput(
            f"{meant.alias!r} is no alias.",
            next_step=f"write {meant.name}@{CHAMPION} or {meant.name}@{CHALLENGER}.",
        )
    number = find_alias(tx, meant.name, meant.alias)
    if number is None:
        raise NotFound(
            f"{meant.name} has no {meant.alias}.",
            next_step=f"`everloop models {meant.name}` lists its versions.",
        )
    return get_version(tx, meant.name, number)


def _check_model(tx: Connection, model: str) -> None:
    there = list_model_names(tx)
    if model not in there:
        have = ", ".join(there) or "none yet"
        raise NotFound(f"there is no registered model {model!r}.", next_step=f"name one of: {have}.")


def _move(project: Project, model: str, version: int, why: str) -> AliasMove | None:
    who = provenance.who()
    with project.workspace.database.write() as tx:
        move = aliases.promote(tx, project.workspace, model=model, version=version, who=who, why=why)
    for endpoint in project.declarations.endpoints:
        settle(project.workspace, endpoint)
    return move
