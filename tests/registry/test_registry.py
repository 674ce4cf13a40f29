"""The registry: numbers without gaps, versions that never change, and no alias without a passed gate."""

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError

from everloop.errors import InvalidInput, NotFound, Refused
from everloop.evaluation.gates import beats
from everloop.records.checks import Check, CheckResult
from everloop.records.models import CHALLENGER, CHAMPION, AliasMove, Datatype, Field, ModelVersion, Signature
from everloop.registry.aliases import (
    drop_alias,
    find_alias,
    get_previous_champion,
    list_alias_moves,
    move_alias,
)
from everloop.registry.model_names import ModelAlias, RegisteredModel
from everloop.registry.versions import get_version, list_versions, register_version
from everloop.storage import ledger
from everloop.storage.schema import aliases
from everloop.storage.workspace import Workspace
from tests.support.runs import running
from tests.support.workspaces import HandClock

SIGNATURE = Signature(
    inputs=(
        Field(name="hour", datatype=Datatype.INT64),
        Field(name="carrier", datatype=Datatype.BYTES, nullable=True, categories=("AA", "ü\0")),
    ),
    outputs=(Field(name="late", datatype=Datatype.FP64),),
)
PASSED = CheckResult(
    name="gate",
    passed=True,
    because="better",
    parts=(CheckResult(name="beats", passed=True, because="by 0.1"),),
)
REFUSED = CheckResult(name="gate", passed=False, because="worse by 0.2")


def register(
    workspace: Workspace,
    digest: str = "a",
    *,
    model: str = "late",
    gate: CheckResult | None = PASSED,
    run: str | None = None,
    **metrics: float,
) -> ModelVersion:
    """Register a version, by a run of its own unless one is named."""
    run_id = run or running(workspace, workspace.new_id(), pipeline=workspace.new_id()).id
    with workspace.database.write() as tx:
        return register_version(
            tx,
            workspace,
            model=model,
            digest=digest * 64,
            flavor="sklearn",
            signature=SIGNATURE,
            gate=gate,
            run_id=run_id,
            metrics=metrics,
            facts={"trees": 10, "trigger": None},
        )


def move(
    workspace: Workspace, version: int, *, alias: str = CHAMPION, why: str = "better"
) -> AliasMove | None:
    """Move an alias of `late`."""
    with workspace.database.write() as tx:
        return move_alias(tx, workspace, model="late", alias=alias, version=version, who="ann", why=why)


def drop(workspace: Workspace, alias: str = CHAMPION) -> AliasMove | None:
    """Take an alias of `late` away."""
    with workspace.database.write() as tx:
        return drop_alias(tx, workspace, model="late", alias=alias, who="ann", why="no more")


def pointed(workspace: Workspace, alias: str = CHAMPION) -> int | None:
    """Where an alias of `late` points."""
    with workspace.database.read() as tx:
        return find_alias(tx, "late", alias)


class TestVersions:
    """Numbers and what hangs on them."""

    def test_a_version_comes_back_as_it_was_registered(self, workspace: Workspace) -> None:
        """Signature, verdict, metrics and facts to the last leaf; one event tells of it."""
        made = register(workspace, auc=0.75, nan=float("nan"))
        with workspace.database.read() as tx:
            found = get_version(tx, "late", 1)
            (event,) = ledger.read(tx, types=["model.registered"])
        assert str(found) == str(made)
        assert (found.name, found.passed, found.gate, found.signature) == ("late@1", True, PASSED, SIGNATURE)
        assert (event.subject, event.source, event.data["gate"]) == ("late@1", "/models/late", "passed")

    def test_numbers_have_no_gaps_and_each_model_has_its_own(self, workspace: Workspace) -> None:
        """Whatever the gate said, and whatever was undone in between."""
        gates = [PASSED, REFUSED, None, PASSED]
        made = [register(workspace, digest, gate=gate) for digest, gate in zip("abcd", gates, strict=True)]
        with pytest.raises(ZeroDivisionError), workspace.database.write() as tx:
            register_version(
                tx,
                workspace,
                model="late",
                digest="x" * 64,
                flavor="f",
                signature=SIGNATURE,
                gate=None,
                run_id=running_id(workspace, made),
                metrics={},
                facts={},
            )
            raise ZeroDivisionError
        made.append(register(workspace, "e"))
        assert [version.version for version in made] == [1, 2, 3, 4, 5]
        assert register(workspace, model="other").version == 1
        with workspace.database.read() as tx:
            assert list_versions(tx, "late") == made
            assert [version.model for version in list_versions(tx)] == ["late"] * 5 + ["other"]

    def test_a_run_registers_once(self, workspace: Workspace) -> None:
        """Resumed after a crash it gets the number that it had."""
        run = running(workspace).id
        first = register(workspace, "a", run=run)
        register(workspace, "b")
        assert register(workspace, "a", run=run) == first
        assert register(workspace, "z", run=run) == first

    def test_the_same_bytes_again_are_no_new_version(self, workspace: Workspace) -> None:
        """When they are the newest and the gate said the same; what came in between, or another verdict, is new."""
        first = register(workspace, "a")
        assert register(workspace, "a") == first
        assert register(workspace, "a", gate=REFUSED).version == 2
        assert register(workspace, "b").version == 3
        assert register(workspace, "a").version == 4

    def test_threads_that_register_at_once_get_numbers_without_gaps(self, workspace: Workspace) -> None:
        """Ten at a time."""
        made: list[int] = []
        runs = [running(workspace, str(n), pipeline=str(n)).id for n in range(10)]
        threads = [
            threading.Thread(
                target=lambda n=n: made.append(register(workspace, "abcdefghij"[n], run=runs[n]).version)
            )
            for n in range(10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(made) == list(range(1, 11))

    def test_what_is_not_there_is_not_found(self, workspace: Workspace) -> None:
        """And the way to see what there is."""
        with (
            workspace.database.read() as tx,
            pytest.raises(NotFound, match=r"late has no version 1.*everloop models"),
        ):
            get_version(tx, "late", 1)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE model_versions SET gate = 'passed'",
            "UPDATE model_versions SET digest = 'other'",
            "DELETE FROM model_versions",
            "UPDATE alias_history SET who = 'nobody'",
            "DELETE FROM alias_history",
        ],
    )
    def test_no_statement_changes_what_was_written(self, workspace: Workspace, statement: str) -> None:
        """Versions and the history of aliases stay as they are, whoever asks the database."""
        register(workspace, "a")
        move(workspace, 1)
        register(workspace, "b", gate=REFUSED)
        with pytest.raises(DBAPIError, match="never change"), workspace.database.write() as tx:
            tx.execute(text(statement))


def running_id(workspace: Workspace, made: list[ModelVersion]) -> str:
    """A run that exists and has registered nothing of this model."""
    return made[-1].run_id


class TestAliases:
    """Who is champion, who was, and who never can be."""

    def test_a_move_is_kept_with_who_and_why(self, workspace: Workspace, clock: HandClock) -> None:
        """In the alias, in the history, and in the ledger, in one transaction."""
        register(workspace, "a")
        made = move(workspace, 1)
        assert made == AliasMove(
            model="late",
            alias=CHAMPION,
            version=1,
            previous=None,
            epoch=1,
            who="ann",
            why="better",
            time=clock(),
        )
        assert pointed(workspace) == 1
        with workspace.database.read() as tx:
            assert list_alias_moves(tx, "late") == [made]
            (event,) = ledger.read(tx, types=["champion.changed"])
        assert event.data == {
            "alias": "champion",
            "version": 1,
            "previous": None,
            "who": "ann",
            "why": "better",
        }

    def test_a_move_to_where_it_is_changes_nothing(self, workspace: Workspace) -> None:
        """No entry, no event."""
        register(workspace)
        move(workspace, 1)
        assert move(workspace, 1, why="again") is None
        with workspace.database.read() as tx:
            assert len(list_alias_moves(tx, "late")) == len(ledger.read(tx, types=["champion.changed"])) == 1

    def test_the_history_is_complete_and_the_aliases_are_apart(
        self, workspace: Workspace, clock: HandClock
    ) -> None:
        """Every move and every taking away, each with where the alias pointed before."""
        for digest in "abc":
            register(workspace, digest)
        steps = [
            (CHAMPION, 1),
            (CHALLENGER, 2),
            (CHAMPION, 2),
            (CHALLENGER, None),
            (CHAMPION, 3),
            (CHAMPION, 1),
        ]
        for alias, version in steps:
            clock.move(seconds=1)
            assert (
                drop(workspace, alias) if version is None else move(workspace, version, alias=alias)
            ) is not None
        assert drop(workspace, CHALLENGER) is None
        with workspace.database.read() as tx:
            found = list_alias_moves(tx, "late")
        assert [(one.alias, one.version) for one in found] == steps
        champions = [one for one in found if one.alias == CHAMPION]
        assert [(one.epoch, one.previous) for one in champions] == [(1, None), (2, 1), (3, 2), (4, 3)]
        assert (pointed(workspace), pointed(workspace, CHALLENGER)) == (1, None)

    def test_the_previous_champion_is_the_one_before(self, workspace: Workspace) -> None:
        """Back, and back again; when there is no champion, the last one; never what was only a challenger."""
        for digest in "abc":
            register(workspace, digest)
        with workspace.database.read() as tx, pytest.raises(NotFound, match="has had no champion"):
            get_previous_champion(tx, "late")
        move(workspace, 1)
        move(workspace, 3, alias=CHALLENGER)
        with workspace.database.read() as tx, pytest.raises(NotFound, match="has had no other champion"):
            get_previous_champion(tx, "late")
        move(workspace, 2)
        for expected in (1, 2, 1):
            with workspace.database.read() as tx:
                assert get_previous_champion(tx, "late") == expected
            move(workspace, expected)
        drop(workspace)
        with workspace.database.read() as tx:
            assert get_previous_champion(tx, "late") == 1

    @pytest.mark.parametrize(
        ("gate", "told"), [(REFUSED, "the gate refused it: worse by 0.2"), (None, "no gate has looked")]
    )
    @pytest.mark.parametrize("alias", [CHAMPION, CHALLENGER])
    def test_a_version_that_passed_no_gate_gets_no_alias(
        self, workspace: Workspace, gate: CheckResult | None, told: str, alias: str
    ) -> None:
        """It is refused with the gate's own words, and the alias stays where it was."""
        register(workspace, "a")
        register(workspace, "b", gate=gate)
        move(workspace, 1, alias=alias)
        with pytest.raises(Refused, match=f"late@2 cannot become {alias}: {told}"):
            move(workspace, 2, alias=alias)
        assert pointed(workspace, alias) == 1

    @pytest.mark.parametrize("gate", [REFUSED, None])
    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO aliases (model, alias, version, epoch, gate) VALUES ('late', 'challenger', 2, 1, 'passed')",
            "INSERT INTO aliases (model, alias, version, epoch, gate) VALUES ('late', 'challenger', 2, 1, '{gate}')",
            "INSERT INTO aliases (model, alias, version, epoch, gate) VALUES ('late', 'challenger', 9, 1, 'passed')",
            "UPDATE aliases SET version = 2",
            "UPDATE aliases SET version = 2, gate = '{gate}'",
            "UPDATE model_versions SET gate = 'passed' WHERE version = 2",
            "UPDATE model_versions SET version = 1",
        ],
    )
    def test_the_database_refuses_it_too(
        self, workspace: Workspace, gate: CheckResult | None, statement: str
    ) -> None:
        """Whoever writes SQL by hand gets no further than the API."""
        self._prepare(workspace, gate)
        with pytest.raises(DBAPIError), workspace.database.write() as tx:
            tx.execute(text(statement.format(gate="none" if gate is None else "refused")))
        assert (pointed(workspace), pointed(workspace, CHALLENGER)) == (1, None)

    @pytest.mark.parametrize("place", ["sqlite"], indirect=True)
    @pytest.mark.parametrize("gate", [REFUSED, None])
    def test_another_program_that_opens_the_file_is_refused_too(
        self, workspace: Workspace, gate: CheckResult | None
    ) -> None:
        """SQLite lets a program ignore foreign keys, and so ours are not the only guard."""
        self._prepare(workspace, gate)
        row = "SELECT model, 2, digest, flavor, signature, 'passed', verdict, run_id, created_at, metrics, facts"
        statements = [
            "UPDATE aliases SET version = 2",
            "INSERT INTO aliases VALUES ('late', 'challenger', 2, 1, 'passed')",
            "INSERT OR REPLACE INTO aliases VALUES ('late', 'champion', 2, 1, 'passed')",
            "UPDATE model_versions SET gate = 'passed'",
            f"INSERT OR REPLACE INTO model_versions {row} FROM model_versions WHERE version = 1",
            "REPLACE INTO alias_history SELECT * FROM alias_history",
        ]
        with closing(sqlite3.connect(workspace.folder / "everloop.db")) as other:
            for statement in statements:
                with pytest.raises(sqlite3.IntegrityError, match=r"passed no gate|never change"):
                    other.execute(statement)

    def test_an_alias_does_not_move_without_its_history(self, workspace: Workspace) -> None:
        """Not even between versions that have passed."""
        register(workspace, "a")
        register(workspace, "b")
        move(workspace, 1)
        for statement in (
            "UPDATE aliases SET version = 2",
            "UPDATE aliases SET version = 2, epoch = 2",
            "INSERT INTO aliases (model, alias, version, epoch, gate) VALUES ('late', 'challenger', 2, 1, 'passed')",
        ):
            with pytest.raises(DBAPIError), workspace.database.write() as tx:
                tx.execute(text(statement))

    @staticmethod
    def _prepare(workspace: Workspace, gate: CheckResult | None) -> None:
        register(workspace, "a")
        register(workspace, "b", gate=gate)
        move(workspace, 1)

    @pytest.mark.parametrize("alias", ["prod", "", "CHAMPION"])
    def test_there_are_two_aliases_and_no_others(self, workspace: Workspace, alias: str) -> None:
        """Both by name in the refusal; the database refuses others too."""
        register(workspace)
        with pytest.raises(InvalidInput, match="there are champion and challenger"):
            move(workspace, 1, alias=alias)
        row: dict[str, Any] = {"model": "late", "alias": alias, "version": 1, "epoch": 1, "gate": "passed"}
        with pytest.raises(DBAPIError), workspace.database.write() as tx:
            tx.execute(insert(aliases).values(**row))

    def test_threads_that_race_for_an_alias_leave_a_linear_history(self, workspace: Workspace) -> None:
        """Twenty of them: each move begins where the one before it ended, and the last one is where the alias points."""
        for digest in "abcde":
            register(workspace, digest)
        made: list[AliasMove | None] = []
        threads = [
            threading.Thread(target=lambda n=n: made.append(move(workspace, n % 5 + 1, why=str(n))))
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with workspace.database.read() as tx:
            history = list_alias_moves(tx, "late")
            told = ledger.read(tx, types=["champion.changed"])
        assert [one.epoch for one in history] == list(range(1, len(history) + 1))
        assert [one.previous for one in history] == [None, *(one.version for one in history[:-1])]
        assert history[-1].version == pointed(workspace)
        assert sorted(one.epoch for one in made if one) == [one.epoch for one in history]
        assert [event.data["why"] for event in told] == [one.why for one in history]


class TestNames:
    """How a project names a model."""

    def test_a_name_and_what_its_aliases_mean(self) -> None:
        """They are plain values, to be passed to a step."""
        late = RegisteredModel("late-2_x")
        meant: list[object] = [late.champion, late.challenger]
        assert meant == [ModelAlias("late-2_x", "champion"), ModelAlias("late-2_x", "challenger")]
        assert replace(late) == late

    def test_a_gate_is_a_check(self) -> None:
        """What is forgotten to be called, or is no check, would otherwise be found out when a version is refused."""
        gate = Check[float]("gate", lambda score: (score > 0, ""))
        assert RegisteredModel("late", gate=gate).gate is gate and RegisteredModel("late").gate is None
        for wrong in (beats, "beats", lambda score: True):
            with pytest.raises(InvalidInput, match="which is no check"):
                RegisteredModel("late", gate=wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["", "Late", "2late", "la te", "late@1", "../late", "l" * 101, "late\n"])
    def test_what_is_no_name_is_refused(self, name: str) -> None:
        """It will stand in addresses, in files and on the command line."""
        with pytest.raises(InvalidInput, match="no name for a model"):
            RegisteredModel(name)
