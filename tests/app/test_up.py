"""`everloop up` as a person has it: real processes that train, serve, stop together, and never outlive each other."""

import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.app.conftest import PATIENCE, Everloop, alive, change, children, command, eventually, process

RENEWAL = {"plan": "basic", "price": 12.0, "months": 3, "visits": 1, "tickets": 2}
MODEL = "/v1/models/churn"


class Loop:
    """A running `everloop up --json`, and everything that it has said."""

    def __init__(self, running: subprocess.Popen[str]) -> None:
        self.process = running
        self.said: list[dict[str, Any]] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.errors: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._listen_to_errors, daemon=True).start()

    def hear(self, what: str, **wanted: object) -> dict[str, Any]:
        """Wait for a line of this type with these values; lines in between are kept."""
        kind = {"type": what if what in PLAIN else f"io.everloop.{what}"} | wanted
        while not (found := [line for line in self.said if kind.items() <= line.items()]):
            line = self._lines.get(timeout=PATIENCE)
            assert line, f"it ended without {kind}: {self.said} {self.errors}"
            self.said.append(json.loads(line))
        return found[0]

    def types(self) -> list[str]:
        """Types of everything said so far, once it has ended."""
        while line := self._lines.get(timeout=PATIENCE):
            self.said.append(json.loads(line))
        return [line["type"].removeprefix("io.everloop.") for line in self.said]

    def stop(self) -> int:
        """SIGTERM, as a supervisor sends it; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _listen_to_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)


PLAIN = ("up", "serving", "reloading", "trouble", "over", "stopped")


@contextmanager
def up(folder: Path) -> Iterator[Loop]:
    """The loop of a project."""
    with process("up", "--json", "-C", folder) as running:
        yield Loop(running)


def gone(*pids: int) -> Callable[[], bool]:
    """Whether none of these processes is there any more."""
    return lambda: not any(map(alive, pids))


def refuses(url: str) -> bool:
    """Whether nobody listens there."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as caller:
        return caller.connect_ex((host, int(port))) != 0


def test_the_whole_loop_of_a_new_project(starter: Path, everloop: Everloop) -> None:
    """From files to a champion that answers and learns what was true, and on to its challenger, with no other command."""
    change(starter / "everloop.toml", "port = 8080", "port = 0\n\n[worker]\npoll_seconds = 0.1")
    change(starter / "churn.py", "cooldown=timedelta(minutes=10)", "cooldown=timedelta(0)")
    with up(starter) as loop:
        url = loop.hear("serving", endpoint="churn")["url"]
        arrived = loop.hear("data.arrived")
        loop.hear("champion.changed")
        with httpx.Client(base_url=url, timeout=30) as client:
            eventually("the server is ready", lambda: client.get("/v2/health/ready").status_code == 200)
            answer = client.post(f"{MODEL}:predict", json={"instances": [RENEWAL]}).raise_for_status().json()
            label = client.post("/labels", json={"prediction_id": answer["prediction_id"], "label": 1})
        second = everloop("up", "-C", starter)
        subprocess.run(
            [sys.executable, str(starter / "next_month.py")], check=True, stdout=subprocess.DEVNULL
        )
        loop.hear("rollout.started", subject="churn@2")
        pids = children(loop.process.pid)
        assert loop.stop() == 0
        types = loop.types()
    assert arrived["data"]["rows"] == 400
    assert 0 < answer["predictions"][0] < 1
    assert answer["model_version"] == "1"
    assert label.json()["accepted"] == 1
    assert (second.code, second.out) == (1, "")
    assert second.err.startswith(f"everloop: the loop of {starter} is up already.\nnext: ")
    assert len(pids) == 2
    assert gone(*pids)()
    assert (types[0], types[-1]) == ("up", "stopped")
    assert "trouble" not in types
    assert loop.errors == []
    assert json.loads(everloop("runs", "--json", "-C", starter).out)[0]["trigger"] == "new_data"
    made_from = json.loads(everloop("lineage", answer["prediction_id"], "--json", "-C", starter).out)[
        "upstream"
    ]
    assert "model churn@1" in {edge["source"] for edge in made_from}


def test_trouble_is_told_once_and_does_not_end_the_loop(small: Path) -> None:
    """A file that was changed is complained of once, not at every look; put back, that is said, too.

    And a server that falls is started again.
    """
    file = small / "data" / "monday.csv"
    with up(small) as loop:
        first = loop.hear("serving")["url"]
        loop.hear("run.completed")
        file.write_text("id\n1\n3\n")
        changed = loop.hear("trouble")
        file.write_text("id\n1\n2\n")
        loop.hear("over")
        loop.said.clear()
        victim = next(pid for pid in children(loop.process.pid) if "serve" in arguments(pid))
        os.kill(victim, signal.SIGKILL)
        fell = loop.hear("trouble")
        second = loop.hear("serving")["url"]
        assert loop.stop() == 0
        types = loop.types()
    assert "monday.csv" in changed["reason"]
    assert "the server ended with code -9" in fell["reason"]
    assert types.count("trouble") == 1
    assert refuses(first)
    assert refuses(second)


def test_a_killed_loop_takes_everything_with_it(small: Path) -> None:
    """SIGKILL gives no time to say anything; server and worker end all the same, and the next one can begin."""
    with up(small) as loop:
        url = loop.hear("serving")["url"]
        pids = children(loop.process.pid)
        loop.process.kill()
        assert len(pids) == 2
        eventually("server and worker have ended", gone(*pids))
        assert refuses(url)
    with up(small) as loop:
        loop.hear("serving")
        assert loop.stop() == 0


def test_a_port_that_is_taken_ends_it_at_once(small: Path) -> None:
    """Nothing is left half up: the reason, code 1, and no process that stays."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        change(small / "everloop.toml", "port = 0", f"port = {port}")
        said = command("up", "-C", small)
    assert said.code == 1
    assert f"cannot listen at 127.0.0.1:{port}" in said.err
    assert "the server could not start" in said.err


def test_one_server_answers_for_all_endpoints(small: Path) -> None:
    """Two endpoints are one process more, and one port."""
    change(
        small / "small.py",
        'endpoint = Endpoint("bought", model="bought")',
        'both = [Endpoint("north", model="bought"), Endpoint("south", model="bought")]',
    )
    with up(small) as loop:
        north, south = (loop.hear("serving", endpoint=name) for name in ("north", "south"))
        assert north["url"] == south["url"]
        assert len(children(loop.process.pid)) == 2
        assert loop.stop() == 0


def test_without_an_endpoint_there_is_still_a_loop(small: Path) -> None:
    """Deleting the endpoint leaves runs by triggers."""
    change(small / "small.py", 'endpoint = Endpoint("bought", model="bought")', "")
    with up(small) as loop:
        loop.hear("run.completed")
        assert loop.stop() == 0
        assert "serving" not in loop.types()


def test_stopping_does_not_wait_for_a_long_run(small: Path, everloop: Everloop) -> None:
    """SIGTERM in the middle of a step ends all within seconds; the run stays open for the next worker."""
    begun = small / "begun"
    change(small / "small.py", "    return rows.num_rows", f"{forever(begun)}    return rows.num_rows")
    with up(small) as loop:
        eventually("the step has begun", begun.exists)
        assert loop.stop() == 0
    assert json.loads(everloop("runs", "--json", "-C", small).out)[0]["state"] == "RUNNING"


def forever(begun: Path) -> str:
    """Lines of a step that says it has begun, and does not end."""
    lines = [
        "import time",
        "from pathlib import Path",
        f'Path("{begun}").touch()',
        "while True:",
        "    time.sleep(0.01)",
    ]
    return "".join(f"    {line}\n" for line in lines)


def test_a_person_reads_what_happens(small: Path) -> None:
    """Without --json: what is up and where, each event as a line, and a word at the end."""
    with process("up", "-C", small) as running:
        assert running.stdout is not None
        said = [running.stdout.readline()]
        while not {"run.completed", "serving"} <= {word for line in said for word in line.split()}:
            said.append(running.stdout.readline())
            assert said[-1], said
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    shown = "".join(said)
    assert said[0] == "small is up: 1 pipeline, 1 endpoint, 0 monitors, 1 trigger  (Ctrl-C stops)\n"
    assert re.search(r"^serving bought at http://127\.0\.0\.1:\d+$", shown, re.M)
    assert re.search(r"^\d\d:\d\d:\d\d  data\.arrived +visits +.*rows 2", shown, re.M)
    assert (running.returncode, out.splitlines()[-1], err) == (0, "stopped", "")


def arguments(pid: int) -> list[str]:
    """The command line of a process."""
    answer = subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout.split()
