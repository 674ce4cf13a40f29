"""Moving the champion by hand: always with a reason, never past the gate."""

from __future__ import annotations

import re
from pathlib import Path

from everloop.app.output import print_json, say
from everloop.app.running import reconcile_all
from everloop.app.showing import no_model
from everloop.errors import InvalidInput
from everloop.metadata import provenance
from everloop.project.opening import Opened, opened
from everloop.records.models import CHALLENGER, CHAMPION, AliasMove
from everloop.registry.aliases import drop_alias, find_alias, move_alias, previous_champion
from everloop.registry.versions import list_versions


def promote_by_hand(start: Path, text: str, why: str, *, as_json: bool) -> None:
    """Make `model@version` champion; its endpoints follow at once."""
    match = re.fullmatch(r"(?P<model>[a-z][a-z0-9_-]*)@(?P<version>\d{1,9})", text)
    if match is None:
        raise InvalidInput(f"{text!r} is not model@version.", next_step="write it like late@3.")
    _check_reason(why)
    with opened(start) as here:
        _check_model(here, match["model"])
        move = _move(here, match["model"], int(match["version"]), why)
    _report(move, text, as_json=as_json)


def roll_back_by_hand(start: Path, model: str, why: str, *, as_json: bool) -> None:
    """Make the champion before this one champion again."""
    _check_reason(why)
    with opened(start) as here:
        _check_model(here, model)
        with here.workspace.database.read() as tx:
            version = previous_champion(tx, model)
        move = _move(here, model, version, why)
    _report(move, f"{model}@{version}", as_json=as_json)


def _check_reason(why: str) -> None:
    if not why.strip():
        raise InvalidInput("a champion is not moved without a reason.", next_step="--why 'the reason'.")


def _check_model(here: Opened, model: str) -> None:
    with here.workspace.database.read() as tx:
        if not list_versions(tx, model):
            raise no_model(tx, model)


def _move(here: Opened, model: str, version: int, why: str) -> AliasMove | None:
    who = provenance.who()
    with here.workspace.database.write() as tx:
        move = move_alias(tx, here.workspace, model=model, alias=CHAMPION, version=version, who=who, why=why)
        if find_alias(tx, model, CHALLENGER) == version:
            drop_alias(tx, here.workspace, model=model, alias=CHALLENGER, who=who, why="it became champion")
    reconcile_all(here.workspace, here.project.endpoints)
    return move


def _report(move: AliasMove | None, name: str, *, as_json: bool) -> None:
    if as_json:
        print_json(move)
    elif move is None:
        say(f"{name} is champion already; nothing was changed.")
    else:
        before = "nobody" if move.previous is None else f"{move.model}@{move.previous}"
        say(f"champion of {move.model}: {before} → ", (name, "bold"))
