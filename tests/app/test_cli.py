"""What every command promises a person in a terminal, and a program that reads its output."""

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from rich.cells import cell_len

from everloop.app.cli import app, main
from everloop.data.files import read_file
from everloop.loop.firings import run_on_demand
from everloop.settings import load_settings
from everloop.storage.workspace import open_workspace
from tests.app.conftest import PATIENCE, Answer, Everloop, change, command, eventually, process

LOOK = [
    ["status"],
    ["runs"],
    ["show"],
    ["models"],
    ["models", "churn"],
    ["datasets"],
    ["datasets", "renewals"],
    ["events"],
    ["lineage", "churn@1"],
]
"""Commands that change nothing."""
HEAVY = [
    "numpy",
    "pyarrow",
    "sqlalchemy",
    "duckdb",
    "lightgbm",
    "sklearn",
    "scipy",
    "pandas",
    "rich",
    "uvicorn",
]
SLOW = """
    from pathlib import Path
    import time
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.01)
"""
"""Goes into a step: it begins, and waits for the test."""


def slow(folder: Path) -> Path:
    """Makes a step of a project take until the file `go` appears; returns the file that says it has begun."""
    code = SLOW.replace('"begun"', f'"{folder}/begun"').replace('"go"', f'"{folder}/go"')
    change(folder / "small.py", "    return rows.num_rows", f"{code}    return rows.num_rows")
    return folder / "begun"


def runs(everloop: Everloop, folder: Path) -> list[dict[str, Any]]:
    """All runs, newest first."""
    found: list[dict[str, Any]] = json.loads(everloop("runs", "--json", "-C", folder).out)
    return found


# ---- starting up


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import everloop", [*HEAVY, "click"]),
        ("from everloop.app.cli import invoke; invoke(['--help'])", HEAVY),
        ("from everloop.app.cli import invoke; invoke(['run', '--help'])", HEAVY),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str, heavy: list[str]) -> None:
    """Importing everloop, help and tab completion answer at once."""
    ask = f"{code}\nimport sys; sys.stderr.write(' '.join(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert sorted(set(heavy) & set(answer.stderr.split())) == []


def test_the_version_is_that_of_the_package(everloop: Everloop) -> None:
    """One line, for bug reports."""
    from importlib.metadata import version

    assert everloop("--version") == Answer(0, f"everloop {version('everloop')}\n", "")


def test_without_a_command_the_help_is_shown(everloop: Everloop) -> None:
    """Every command stands in it, under a heading."""
    said = everloop()
    assert said.code == 0
    assert set(re.findall(r"^  ([a-z]+)  ", said.out, re.M)) == set(app.commands)


@pytest.mark.parametrize("name", app.commands)
def test_every_help_shows_an_example_that_parses(name: str, everloop: Everloop) -> None:
    """What stands under "Example" is a use of this very command, with arguments that it takes."""
    said = everloop(name, "--help")
    example = said.out.partition("Example:\n")[2].strip()
    words = [part.split() for part in example.split("&&")]
    own = next(line for line in words if line[:2] == ["everloop", name])
    assert said.code == 0
    app.commands[name].make_context(name, shlex.split(" ".join(own))[2:])


@pytest.mark.parametrize("name", sorted(set(app.commands) - {"demo"}))
def test_every_command_speaks_json(name: str) -> None:
    """And every one but `init` can be told where the project is."""
    options = {option for parameter in app.commands[name].params for option in parameter.opts}
    assert "--json" in options
    assert ("--project" in options) == (name != "init")


# ---- what is wrong is said once


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--foo"], "No such option '--foo'"),
        (["rnu"], "No such command 'rnu'. Did you mean"),
        (["run"], "Missing argument 'PIPELINE'"),
        (["runs", "--foo"], "No such option '--foo'"),
        (["runs", "--limit", "0"], "'--limit'"),
        (["promote", "churn@1"], "Missing option '--why'"),
        (["serve", "--port", "99999"], "'--port'"),
        (["status", "-C", "/nowhere"], "'/nowhere' does not exist"),
        (["init", "one", "two"], "unexpected extra argument"),
        (["datasets", "--kept-out", "may"], "name of the DATASET"),
        (["datasets", "renewals", "-o", "may.csv"], "--kept-out"),
    ],
)
def test_a_wrong_use_is_one_message_and_code_2(words: list[str], reason: str, everloop: Everloop) -> None:
    """What is wrong, where the help is, and nothing else."""
    said = everloop(*words)
    first, second = said.err.splitlines()
    assert (said.code, said.out) == (2, "")
    assert first.startswith("everloop: ")
    assert reason in first
    assert re.fullmatch(r"next: everloop( [a-z]+)? --help", second)


@pytest.mark.parametrize(
    ("words", "reason", "next_step"),
    [
        (["run", "nope"], "no pipeline 'nope'", "keep_fresh"),
        (["run", "keep_fresh", "-p", "trees"], "'trees' is not name=value", "-p"),
        (["run", "keep_fresh", "-p", "trees=many"], "trees='many'", "run --help"),
        (["run", "keep_fresh", "-p", "tres=1"], "no param 'tres'", ""),
        (["run", "keep_fresh", "-p", "trees=1", "-p", "trees=2"], "twice", "once"),
        (["run", "keep_fresh", "-d", "renewals"], "'renewals' is not dataset@version", "renewals@2"),
        (["run", "keep_fresh", "-d", "renewals@1", "-d", "renewals@2"], "twice", "one version"),
        (["run", "keep_fresh", "-d", "renewal@1"], "does not read dataset 'renewal'", "renewals"),
        (["append", "nope", "x.csv"], "no dataset 'nope'", "renewals"),
        (["append", "renewals", "nope.csv"], "nope.csv does not exist", ""),
        (["append", "renewals", __file__], ".parquet, .csv, .jsonl", ""),
        (["serve", "nope"], "no endpoint 'nope'", "churn"),
        (["show", "nope"], "no run 'nope'", "everloop runs"),
        (["models", "nope"], "no registered model 'nope'", "churn"),
        (["datasets", "nope"], "no dataset 'nope'", "renewals"),
        (["datasets", "renewals", "--kept-out", "may"], "no batch 'may'", "none"),
        (["datasets", "renewals", "--kept-out", "data/renewals-2025-01.csv"], "was not kept out", "none"),
        (["lineage", "nope"], "nothing is called 'nope'", "model@version"),
        (["promote", "churn", "--why", "x"], "not model@version", "late@3"),
        (["promote", "churn@9", "--why", "x"], "no version 9", "everloop models"),
        (["promote", "churn@best", "--why", "x"], "'best' is no alias", "churn@challenger"),
        (["promote", "churn@challenger", "--why", "x"], "churn has no challenger", "everloop models churn"),
        (["promote", "nope@1", "--why", "x"], "no registered model 'nope'", "churn"),
        (["promote", "churn@1", "--why", " "], "without a reason", "--why"),
        (["rollback", "churn", "--why", "x"], "churn has had no", "everloop models churn"),
        (["rollback", "nope", "--why", "x"], "no registered model 'nope'", "churn"),
    ],
)
def test_what_is_not_there_is_one_line_and_a_next_step(
    words: list[str], reason: str, next_step: str, trained: Path, everloop: Everloop
) -> None:
    """With code 1, on standard error; asked for JSON, standard output stays empty."""
    said = everloop(*words, "--json", "-C", trained)
    first, second = said.err.splitlines()
    assert (said.code, said.out) == (1, "")
    assert reason in first.removeprefix("everloop: ")
    assert next_step in second.removeprefix("next: ")


def test_what_the_machine_refuses_is_one_line_too(everloop: Everloop, tmp_path: Path) -> None:
    """An error of the operating system is told with its path, and without a traceback."""
    (tmp_path / "file").touch()
    said = everloop("init", tmp_path / "file" / "churn")
    assert said.code == 1
    assert said.err.splitlines()[0] == f"everloop: {tmp_path / 'file' / 'churn'}: Not a directory."


# ---- looking


@pytest.mark.parametrize("words", LOOK, ids=" ".join)
def test_what_is_shown_is_also_there_as_json(words: list[str], trained: Path, everloop: Everloop) -> None:
    """One document on standard output, and nothing on standard error."""
    said = everloop(*words, "--json", "-C", trained)
    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out)


@pytest.mark.parametrize(
    "words", [words for words in LOOK if words[-1] not in ("churn", "churn@1")], ids=" ".join
)
def test_in_a_new_project_every_look_says_what_comes_next(
    words: list[str], starter: Path, everloop: Everloop
) -> None:
    """Nobody is left with an empty screen, and an empty project is no error."""
    said = everloop(*words, "-C", starter)
    assert said.code == (1 if words == ["show"] else 0)
    assert re.search(
        "everloop (run keep_fresh|append)|No events yet|register|nothing has arrived", said.out + said.err
    )


@pytest.mark.parametrize("words", LOOK, ids=" ".join)
def test_looking_needs_no_code_that_works(words: list[str], trained: Path, everloop: Everloop) -> None:
    """While somebody edits the project, everything that was recorded can still be read."""
    (trained / "churn.py").write_text("def x(:")
    said = everloop(*words, "-C", trained)
    assert (said.code, said.err) == (0, "")


def test_in_a_pipe_a_row_is_a_line(trained: Path, everloop: Everloop) -> None:
    """`grep` finds a whole row, however long it is, without blanks at its end."""
    lines = everloop("datasets", "renewals", "-C", trained).out.splitlines()
    assert len(lines) == 2 + 3
    assert lines[-1].startswith("data/renewals-2025-03.csv")
    assert "mean" in lines[-1]
    assert lines == [line.rstrip() for line in lines]


@pytest.mark.parametrize("words", [["status"], ["events"], ["datasets", "renewals"]], ids=" ".join)
def test_in_a_terminal_of_80_columns_nothing_is_cut_apart(words: list[str], trained: Path) -> None:
    """No line is longer than the terminal, and no column but the last is folded: each row begins at the left edge."""
    shown = in_terminal(words, trained, columns=80)
    assert max(map(cell_len, shown)) <= 80
    assert not any("…" in line for line in shown)
    rows = [line for line in shown if line and not line.startswith(" ")]
    assert not any(re.search(r"  \S{1,3}$", row) for row in rows[:1])
    assert any(line.startswith(("models", "events", "batches of renewals")) for line in shown)


def in_terminal(words: list[str], folder: Path, columns: int) -> list[str]:
    """What a terminal of that width shows of a command, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    line = [sys.executable, "-m", "everloop", *words, "-C", str(folder)]
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        line, stdout=theirs, stderr=theirs, stdin=theirs, env=environment | {"TERM": "xterm"}
    ):
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:  # Linux says so when the other side has closed
            pass
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode()).replace("\r", "").splitlines()


def test_the_newest_run_is_shown_when_none_is_named(trained: Path, everloop: Everloop) -> None:
    """The same as by its id, by the end of its id, and by its beginning."""
    run_id = runs(everloop, trained)[0]["id"]
    shown = [
        everloop("show", *words, "-C", trained) for words in ([], [run_id], [run_id[-8:]], [run_id[:13]])
    ]
    assert len({said.out for said in shown}) == 1
    for fact in ("keep_fresh: COMPLETE", "renewals@2", "trees=60", "churn@1 passed its gate", "log_loss"):
        assert fact in shown[0].out


def test_events_can_be_narrowed(trained: Path, everloop: Everloop) -> None:
    """By type, by place, and by number; the newest are kept."""
    every = json.loads(everloop("events", "--json", "-C", trained).out)
    newest = json.loads(everloop("events", "--json", "--limit", "2", "-C", trained).out)
    later = json.loads(everloop("events", "--json", "--after", every[3]["seq"], "-C", trained).out)
    arrived = json.loads(everloop("events", "--json", "--type", "data.arrived", "-C", trained).out)
    assert newest == every[-2:]
    assert later == every[4:]
    assert [event["data"]["rows"] for event in arrived] == [400, 400, 400]
    assert everloop("events", "--type", "nope", "-C", trained).out == "No such events.\n"


def test_a_reader_that_goes_away_is_no_error_to_read_about(trained: Path) -> None:
    """`everloop events | head -1` ends quietly."""
    program = shlex.join([sys.executable, "-m", "everloop", "events", "-C", str(trained)])
    answer = subprocess.run(
        f"{program} | head -1", shell=True, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert (answer.stdout, answer.stderr) == ("events\n", "")


# ---- running


def test_only_json_reaches_standard_output(starter: Path) -> None:
    """Whatever the project prints, from Python, from C or from a process of its own, goes to standard error."""
    noise = 'import os, subprocess\nprint("imported")\nos.write(1, b"from C\\n")\nsubprocess.run(["echo", "child"])\n'
    change(starter / "churn.py", "from lightgbm", f"{noise}from lightgbm")
    change(
        starter / "churn.py",
        '    """Gradient-boosted trees."""\n',
        '    """Loud."""\n    print("in a step")\n',
    )
    said = command("run", "keep_fresh", "--json", "-C", starter)
    told = json.loads(said.out)
    assert said.out.count("\n") == 1
    assert {"imported", "from C", "child", "in a step"} <= set(said.err.splitlines())
    assert (said.code, told["run"]["state"], told["versions"][0]["version"]) == (0, "COMPLETE", 1)
    assert told["run"]["datasets"], "the record is whole, with what the run has read"
    assert [batch["verdict"] for batch in told["batches"]] == ["pass", "pass", "retrain"]


def test_params_reach_the_run_and_make_another_model(trained: Path, everloop: Everloop) -> None:
    """A second model of the same data is a challenger: the champion is not moved by a run."""
    said = everloop(
        "run", "keep_fresh", "-p", "trees=30", "--register", "--reason", "fewer [trees]", "-C", trained
    )
    assert said.code == 0
    assert "churn@2 passed its gate and is challenger; `everloop up` rolls it out" in said.out
    newest = runs(everloop, trained)[0]
    assert (newest["params"]["trees"], newest["reason"]) == (30, "fewer [trees]")


def test_an_experiment_says_that_nothing_was_registered(trained: Path, everloop: Everloop) -> None:
    """With params or data of one's own; and how to ask for it."""
    for words in (["-p", "trees=30"], ["--data", "renewals@1"], ["--no-register"]):
        said = everloop("run", "keep_fresh", *words, "-C", trained)
        assert said.code == 0
        assert "nothing was registered" in said.out
        assert "churn@2" not in said.out
    assert [run["register"] for run in runs(everloop, trained)] == [False, False, False, True]


def test_an_experiment_shows_what_the_gate_says(trained: Path, everloop: Everloop) -> None:
    """A run is tried for its answer: the verdict with its reasons, in words and as JSON, and on the run's own page."""
    refused = everloop("run", "keep_fresh", "-p", "trees=1", "-C", trained)
    assert refused.code == 0
    assert "churn was refused by its gate\n" in refused.out
    assert re.search(r"✗ not_worse\(margin=0.03\) +log loss less the champion's: 0\.0", refused.out)
    told = json.loads(everloop("run", "keep_fresh", "-p", "trees=1", "--json", "-C", trained).out)
    assert (told["verdicts"]["churn"]["passed"], told["versions"]) == (False, [])
    assert "registers    nothing, it is an experiment" in everloop("show", "-C", trained).out


def test_the_same_again_registers_nothing_new(trained: Path, everloop: Everloop) -> None:
    """Equal bytes are the same version; the run says so, and which steps it did not need to repeat."""
    said = everloop("run", "keep_fresh", "-C", trained)
    assert said.code == 0
    assert "the model is the same as the newest version" in said.out
    assert re.search(r"✓ train +as in run [0-9a-f]{8}", said.out)


def test_a_failed_run_says_why_and_where_to_look(trained: Path, everloop: Everloop) -> None:
    """Code 1, the reason with every bracket in it, and the command that shows the run."""
    change(
        trained / "churn.py",
        '    """Gradient-boosted trees."""\n',
        '    raise ValueError("no [bold] trees[/]")\n',
    )
    said = everloop("run", "keep_fresh", "-C", trained)
    run = runs(everloop, trained)[0]
    assert (said.code, run["state"]) == (1, "FAIL")
    assert said.err.splitlines() == [
        f"everloop: run {run['id'][-8:]} failed: ValueError: no [bold] trees[/]",
        f"next: everloop show {run['id'][-8:]}",
    ]
    assert re.search(r"✗ train +failed", said.out)
    assert "no [bold] trees[/]" in everloop("show", "-C", trained).out


def test_ctrl_c_ends_a_run_and_its_record(small: Path, everloop: Everloop) -> None:
    """Code 130 and a sentence; the record says ABORT and does not wait for anybody."""
    begun = slow(small)
    with process("run", "look", "--json", "-C", small) as running:
        eventually("the step has begun", begun.exists)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "everloop: stopped by hand; run" in err
    assert [run["state"] for run in runs(everloop, small)] == ["ABORT"]


def test_a_second_run_waits_for_the_first(small: Path, everloop: Everloop) -> None:
    """One run of a pipeline at a time: the second is queued, says who takes it, and a worker does."""
    begun = slow(small)
    with process("run", "look", "-C", small) as first:
        eventually("the step has begun", begun.exists)
        second = everloop("run", "look", "-C", small)
        (small / "go").touch()
        assert first.wait(timeout=PATIENCE) == 0
    assert second.code == 1
    assert "is queued, because another run of look is under way" in second.err
    assert "everloop worker" in second.err
    worked = everloop("worker", "--once", "-C", small)
    assert (worked.code, worked.err) == (0, "")
    assert re.search(r"run [0-9a-f]{8} of look \(on_demand\): COMPLETE", worked.out)
    assert [run["state"] for run in runs(everloop, small)] == ["COMPLETE", "COMPLETE"]


def queue_a_run(folder: Path) -> None:
    """Ask for a run that nobody takes yet."""
    workspace = open_workspace(load_settings(folder))
    with workspace.database.write() as tx:
        run_on_demand(
            tx,
            workspace,
            pipeline="look",
            params={},
            who="a test",
            reason="for later",
            key=workspace.new_id(),
        )
    workspace.close()


def test_a_worker_that_is_stopped_leaves_its_run_to_the_next(small: Path, everloop: Everloop) -> None:
    """SIGTERM ends it within a step; the run stays open and is taken up from its last finished step."""
    begun = slow(small)
    everloop("append", "visits", small / "data" / "monday.csv", "-C", small)
    queue_a_run(small)
    with process("worker", "--json", "-C", small) as worker:
        eventually("the step has begun", begun.exists)
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0
    assert "the next worker goes on with it" in err
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["working"]
    assert runs(everloop, small)[0]["state"] == "RUNNING"
    (small / "go").touch()
    assert everloop("worker", "--once", "-C", small).code == 0
    run = runs(everloop, small)[0]
    assert (run["state"], run["resumed"]) == ("COMPLETE", 1)


def test_a_worker_takes_no_run_with_code_that_is_no_longer_there(small: Path, everloop: Everloop) -> None:
    """Files that change under a waiting worker make it start again, and the run is recorded with what ran."""
    everloop("append", "visits", small / "data" / "monday.csv", "-C", small)
    queue_a_run(small)
    with process("worker", "--json", "-C", small) as worker:
        said = heard(worker, "run")
        change(small / "small.py", "return rows.num_rows", "return -rows.num_rows")
        queue_a_run(small)
        said += heard(worker, "run")
    assert [each["type"] for each in said] == ["working", "run", "reloading", "working", "run"]
    second, first = runs(everloop, small)
    assert (first["state"], second["state"]) == ("COMPLETE", "COMPLETE")
    assert first["code"]["digest"] != second["code"]["digest"]


def heard(running: subprocess.Popen[str], last: str) -> list[dict[str, Any]]:
    """The lines that a process says, up to one of a type."""
    assert running.stdout is not None
    said: list[dict[str, Any]] = []
    while not said or said[-1]["type"] != last:
        said.append(json.loads(running.stdout.readline()))
    return said


def test_a_batch_that_is_kept_out_is_an_error_for_scripts(trained: Path, everloop: Everloop) -> None:
    """Code 1 and the finding; a good one is code 0; the same file again changes nothing."""
    rows = (trained / "data" / "renewals-2025-03.csv").read_text().splitlines()
    (trained / "bad.csv").write_text("\n".join(line.rpartition(",")[0] for line in rows) + "\n")
    (trained / "good.csv").write_text("\n".join(rows).replace("2025-03", "2025-04") + "\n")
    bad = everloop("append", "renewals", trained / "bad.csv", "-C", trained)
    good = [everloop("append", "renewals", trained / "good.csv", "--json", "-C", trained) for _ in range(2)]
    assert bad.code == 1
    assert re.search(r"stop.*kept out\n.*left", bad.out)
    assert [said.code for said in good] == [0, 0]
    assert good[0].out == good[1].out
    assert json.loads(good[0].out)["version"] == 3


def test_what_was_kept_out_can_be_looked_at_and_taken_out(trained: Path, everloop: Everloop) -> None:
    """Its first rows on the screen, or all of them in a file that can be mended and handed over again."""
    rows = (trained / "data" / "renewals-2025-03.csv").read_text().splitlines()
    (trained / "bad.csv").write_text("\n".join(line.rpartition(",")[0] for line in rows) + "\n")
    everloop("append", "renewals", trained / "bad.csv", "-C", trained)
    shown = everloop("datasets", "renewals", "--kept-out", "bad.csv", "-C", trained)
    told = json.loads(everloop("datasets", "renewals", "--kept-out", "bad.csv", "--json", "-C", trained).out)
    assert shown.code == 0
    assert "the first 20 of 400 rows" in shown.out
    assert len(shown.out.splitlines()) >= 1 + 2 + 20
    assert f"\n{rows[1].split(',')[0]} " in shown.out, "an identifier is shown as it came"
    assert (told["batch"]["rows"], len(told["rows"])) == (400, 20)
    for name in ("out.csv", "out.parquet"):
        written = everloop(
            "datasets", "renewals", "--kept-out", "bad.csv", "-o", trained / name, "-C", trained
        )
        assert (written.code, f"400 rows are in {trained / name}" in written.out) == (0, True)
        assert read_file(trained / name).num_rows == 400
    wrong = everloop(
        "datasets", "renewals", "--kept-out", "bad.csv", "-o", trained / "out.xls", "-C", trained
    )
    assert (wrong.code, ".parquet" in wrong.err) == (1, True)


def test_a_view_that_repeats_another_is_pointed_out(small: Path, everloop: Everloop) -> None:
    """Where the project is run and where it is looked at; a program finds it in the run's report."""
    change(small / "small.py", "import Dataset, ", "import Dataset, FeatureService, FeatureView, ")
    with (small / "small.py").open("a") as file:
        file.write(
            """
one, two = (
    FeatureView(name, source="visits", join_key="id", event_time=None, columns=["id"]) for name in ("one", "two")
)
seen = FeatureService("seen", [one, two])
"""
        )
    warning = "feature service seen: view 'two' repeats view 'one'."
    assert f"warning: {warning}" in everloop("run", "look", "-C", small).out
    assert f"warning: {warning}" in everloop("status", "-C", small).out
    assert json.loads(everloop("run", "look", "--json", "-C", small).out)["warnings"] == [warning]


def test_a_gate_that_is_asked_about_another_model_is_pointed_out(trained: Path, everloop: Everloop) -> None:
    """Two candidates are easily mixed up; refitting what was judged on all rows may be meant, so it is no error."""
    assert "warning" not in everloop("status", "-C", trained).out
    change(
        trained / "churn.py",
        "evaluate(candidate, churn.champion",
        "evaluate(train(train_rows, 9, seed), churn.champion",
    )
    said = everloop("run", "keep_fresh", "-C", trained)
    assert said.code == 0
    assert (
        "warning: pipeline keep_fresh: the model that it registers as churn has no part in what the gate"
        in said.out
    )
    assert "has no part in what the gate" in everloop("status", "-C", trained).out


def test_the_champion_moves_by_hand_with_a_reason_and_back(trained: Path, everloop: Everloop) -> None:
    """Promote and roll back move alias and traffic at once, and the history keeps who and why."""
    everloop("run", "keep_fresh", "-p", "trees=30", "--register", "-C", trained)
    moved = everloop("promote", "churn@2", "--why", "a test", "-C", trained)
    again = everloop("promote", "churn@2", "--why", "a test", "-C", trained)
    back = everloop("rollback", "churn", "--why", "it was one", "--json", "-C", trained)
    assert moved.out == "champion of churn: churn@1 → churn@2\n"
    assert "champion already" in again.out
    assert json.loads(back.out)["version"] == 1
    status = json.loads(everloop("status", "--json", "-C", trained).out)
    assert (status["models"], status["endpoints"][0]["spec"]["stable"]) == (
        {"churn": {"champion": 1, "challenger": None}},
        1,
    )
    assert "it was one" in everloop("models", "churn", "-C", trained).out


def test_a_version_that_was_refused_cannot_be_promoted(trained: Path, everloop: Everloop) -> None:
    """Not by hand either, and not by insisting."""
    change(trained / "churn.py", 'beats("constant")', 'beats("constant", by=9.0)')
    refused = everloop("run", "keep_fresh", "-p", "trees=9", "--register", "-C", trained)
    assert "churn@2 was refused by its gate" in refused.out
    said = everloop("promote", "churn@2", "--why", "I am sure", "-C", trained)
    assert said.code == 1
    assert "churn@2 cannot become champion: the gate refused it" in said.err


# ---- serving


def test_a_port_that_is_taken_is_said_at_once(small: Path, everloop: Everloop) -> None:
    """With the address, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = everloop("serve", "--port", str(port), "-C", small)
    assert (said.code, said.out) == (1, "")
    assert f"127.0.0.1:{port}" in said.err.splitlines()[0]
    assert "another port" in said.err.splitlines()[1]


def test_a_server_without_a_champion_says_what_is_missing(small: Path) -> None:
    """It is up, it cannot answer, and the command that helps stands there. Ctrl-C ends it with code 0."""
    with process("serve", "-C", small) as server:
        assert server.stdout is not None
        first, second = server.stdout.readline(), server.stdout.readline()
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=PATIENCE)
    assert re.match(r"serving bought at http://127\.0\.0\.1:\d+", first)
    assert "everloop run look" in second
    assert (server.returncode, out, err) == (0, "stopped\n", "")


def test_one_server_answers_for_all_endpoints_or_for_the_one_that_is_named(
    small: Path, everloop: Everloop
) -> None:
    """Each endpoint is told with the one address, and `status` tells at how many living servers it is in effect."""
    change(
        small / "small.py",
        'endpoint = Endpoint("bought", model="bought")',
        'both = [Endpoint("north", model="bought"), Endpoint("south", model="bought")]',
    )

    def status() -> list[tuple[str, int, int]]:
        said = json.loads(everloop("status", "--json", "-C", small).out)["endpoints"]
        return [(e["spec"]["endpoint"], e["observed_generation"], len(e["servers"])) for e in said]

    with (
        process("serve", "--json", "-C", small) as both,
        process("serve", "south", "--json", "-C", small) as one,
    ):
        assert both.stdout is not None and one.stdout is not None
        north, south = json.loads(both.stdout.readline()), json.loads(both.stdout.readline())
        alone = json.loads(one.stdout.readline())
        assert [line["endpoint"] for line in (north, south, alone)] == ["north", "south", "south"]
        assert north["url"] == south["url"] != alone["url"]
        assert status() == [("north", 1, 1), ("south", 1, 2)]
        page = everloop("status", "-C", small).out
        one.kill()
        one.wait()
        assert status() == [("north", 1, 1), ("south", 1, 1)]
    assert re.search(r"^endpoint +stable +canary +traffic +in effect at$", page, re.M)
    assert re.search(r"^north .* 1 server$", page, re.M) and re.search(r"^south .* 2 servers$", page, re.M)
    assert re.search(r"^north .* no server$", everloop("status", "-C", small).out, re.M)


# ---- tab completion


@pytest.mark.parametrize(
    ("words", "begun", "found"),
    [
        (["run"], "", ["keep_fresh"]),
        (["run", "keep_fresh", "-p"], "tr", ["trees="]),
        (["append"], "r", ["renewals"]),
        (["serve"], "", ["churn"]),
        (["models"], "c", ["churn"]),
        (["promote"], "", ["churn@1"]),
        (["lineage"], "re", ["renewals@2", "renewals@1", "renewals@0"]),
        (["events", "--type"], "rollout.p", ["rollout.promoted"]),
        (["runs", "--pipeline"], "k", ["keep_fresh"]),
        ([], "ro", ["rollback"]),
    ],
)
def test_names_of_the_project_complete(
    words: list[str], begun: str, found: list[str], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands, and every name that the project or its stores know; nothing of the project is run for it."""
    monkeypatch.chdir(trained)
    with (trained / "churn.py").open("a") as file:
        file.write("\nraise SystemExit('completion has run the project')\n")
    assert completed(words, begun) == found


def test_runs_complete_and_a_broken_project_completes_to_nothing(
    trained: Path, everloop: Everloop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest runs by what `show` takes; outside of a project, or in a broken one, the tab key does no harm."""
    monkeypatch.chdir(trained)
    assert completed(["show"], "") == [runs(everloop, trained)[0]["id"][-8:]]
    (trained / "churn.py").write_text("def x(:")
    (trained / ".everloop" / "everloop.db").write_text("no database")
    assert completed(["run"], "") == completed(["show"], "") == []
    monkeypatch.chdir(tmp_path)
    assert completed(["run"], "") == completed(["lineage"], "") == []


def completed(words: list[str], begun: str) -> list[str]:
    """What the shell would offer."""
    asked = ShellComplete(app, {}, "everloop", "_EVERLOOP_COMPLETE")
    return [item.value for item in asked.get_completions(words, begun)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str, everloop: Everloop) -> None:
    """And it asks back in the way that the program answers."""
    said = everloop("--completion", shell)
    assert said.code == 0
    assert "_EVERLOOP_COMPLETE" in said.out


def test_the_program_answers_the_shell(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol that those scripts speak, through the program's own front door."""
    asking = {"_EVERLOOP_COMPLETE": "bash_complete", "COMP_WORDS": "everloop run ", "COMP_CWORD": "2"}
    answer = subprocess.run(
        [sys.executable, "-m", "everloop"],
        capture_output=True,
        text=True,
        cwd=trained,
        env=os.environ | asking,
        timeout=PATIENCE,
        check=False,
    )
    assert (answer.stdout, answer.stderr) == ("plain,keep_fresh\n", "")


def test_the_console_script_is_this_program() -> None:
    """`everloop` and `python -m everloop` are one."""
    from importlib.metadata import entry_points

    script = next(point for point in entry_points(group="console_scripts") if point.name == "everloop")
    assert script.load() is main
    assert isinstance(app, click.Group)


def test_one_place_asks_whether_a_program_is_listening() -> None:
    """Every command answers with a record and a picture; only the printer chooses."""
    rooms = Path(__file__).parents[2] / "src" / "everloop" / "app"
    asking = [
        path.relative_to(rooms).as_posix()
        for path in rooms.rglob("*.py")
        if re.search(r"\bif .*(as_json|for_programs)", path.read_text())
    ]
    assert set(asking) <= {"output.py"}
