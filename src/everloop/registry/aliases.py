"""Who is champion and who is challenger, who was, and who moved it why."""

from sqlalchemy import Connection, delete, func, select

from everloop.errors import Conflict, InvalidInput, NotFound, Refused
from everloop.records.events import EventType
from everloop.records.lineage import Edge
from everloop.records.models import CHALLENGER, CHAMPION, AliasMove, ModelVersion
from everloop.registry.versions import get_version
from everloop.storage import ledger
from everloop.storage.edges import add_edges
from everloop.storage.schema import alias_history, aliases
from everloop.storage.workspace import Workspace


def find_alias(tx: Connection, model: str, alias: str) -> int | None:
    """The version that an alias points at; None when it points nowhere."""
    query = select(aliases.c.version).where(aliases.c.model == model, aliases.c.alias == alias)
    return tx.execute(query).scalar_one_or_none()


def move_alias(
    tx: Connection, workspace: Workspace, *, model: str, alias: str, version: int, who: str, why: str
) -> AliasMove | None:
    """Point an alias at a version; None when it points there already.

    Raises Refused when the version has passed no gate, whoever asks: the database holds the same rule.
    """
    if alias not in (CHAMPION, CHALLENGER):
        raise InvalidInput(
            f"{alias!r} is no alias; there are {CHAMPION} and {CHALLENGER}.", next_step="use one of these."
        )
    chosen = get_version(tx, model, version)
    _refuse_unless_passed(chosen, alias)
    previous = find_alias(tx, model, alias)
    if previous == version:
        return None
    move = _record_move(tx, workspace, model, alias, version, previous, who, why)
    tx.execute(delete(aliases).where(aliases.c.model == model, aliases.c.alias == alias))
    tx.execute(
        aliases.insert().values(model=model, alias=alias, version=version, epoch=move.epoch, gate="passed")
    )
    return move


def promote(
    tx: Connection, workspace: Workspace, *, model: str, version: int, who: str, why: str
) -> AliasMove | None:
    """Make a version champion; None when it is. Nobody is challenger of oneself, so that alias is taken from it."""
    move = move_alias(tx, workspace, model=model, alias=CHAMPION, version=version, who=who, why=why)
    if find_alias(tx, model, CHALLENGER) == version:
        drop_alias(tx, workspace, model=model, alias=CHALLENGER, who=who, why="it became champion")
    return move


def drop_alias(
    tx: Connection, workspace: Workspace, *, model: str, alias: str, who: str, why: str
) -> AliasMove | None:
    """Take an alias away; None when it pointed nowhere."""
    previous = find_alias(tx, model, alias)
    if previous is None:
        return None
    tx.execute(delete(aliases).where(aliases.c.model == model, aliases.c.alias == alias))
    return _record_move(tx, workspace, model, alias, None, previous, who, why)


def get_previous_champion(tx: Connection, model: str) -> int:
    """The version that was champion before the present one, for going back; asked for twice, it undoes itself."""
    now = find_alias(tx, model, CHAMPION)
    query = select(alias_history.c.version).where(
        alias_history.c.model == model,
        alias_history.c.alias == CHAMPION,
        alias_history.c.version.is_not(None),
        alias_history.c.version.is_distinct_from(now),
    )
    found: int | None = tx.execute(query.order_by(alias_history.c.epoch.desc()).limit(1)).scalar_one_or_none()
    if found is None:
        raise NotFound(
            f"{model} has had no {'other ' if now else ''}champion.",
            next_step=f"`everloop models {model}` shows the history.",
        )
    return found


def list_alias_moves(tx: Connection, model: str) -> list[AliasMove]:
    """Every move of this model's aliases, oldest first."""
    query = select(alias_history).where(alias_history.c.model == model)
    query = query.order_by(alias_history.c.time, alias_history.c.alias, alias_history.c.epoch)
    return [AliasMove(**row) for row in tx.execute(query).mappings()]


def _refuse_unless_passed(version: ModelVersion, alias: str) -> None:
    if version.passed:
        return
    reason = (
        "no gate has looked at it" if version.gate is None else f"the gate refused it: {version.gate.because}"
    )
    raise Refused(
        f"{version.name} cannot become {alias}: {reason}.",
        next_step="train a version that passes, or change the gate in the project and run the pipeline again.",
    )


def _record_move(
    tx: Connection,
    workspace: Workspace,
    model: str,
    alias: str,
    version: int | None,
    previous: int | None,
    who: str,
    why: str,
) -> AliasMove:
    highest = select(func.max(alias_history.c.epoch)).where(
        alias_history.c.model == model, alias_history.c.alias == alias
    )
    epoch = (tx.execute(highest).scalar_one() or 0) + 1
    move = AliasMove(
        model=model,
        alias=alias,
        version=version,
        previous=previous,
        epoch=epoch,
        who=who,
        why=why,
        time=workspace.now(),
    )
    tx.execute(alias_history.insert().values(**{name: getattr(move, name) for name in move.__slots__}))
    details = {"alias": alias, "version": version, "previous": previous, "who": who, "why": why}
    event = workspace.event(
        EventType(f"{alias}.changed"), f"/models/{model}", model, details, id=f"{alias}-{epoch}"
    )
    if not ledger.append(tx, event):
        raise Conflict(
            f"{alias} of {model} was moved by somebody else at the same moment.", next_step="try again."
        )
    if version is not None:
        moved = f"moved by {who}: {why}"
        add_edges(tx, [Edge(source=f"model {model}@{version}", target=f"alias {alias}", how=moved)])
    return move
