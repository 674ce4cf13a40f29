"""The prediction server as a real process of its own, on loopback."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from everloop.errors import EverloopError


@contextmanager
def server_process(folder: Path, endpoint: str) -> Iterator[str]:
    """`everloop serve` on a free port for the length of a block; yields its address."""
    command = [sys.executable, "-m", "everloop", "serve", endpoint, "--port", "0", "--project", str(folder)]
    command.append("--with-parent")  # it stops when its standard input closes, and so when we are killed
    log = folder / "server.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            yield _address(process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    stream = process.stdout

    def listen() -> None:
        for line in stream:
            lines.put(line.decode())
        lines.put("")

    threading.Thread(target=listen, daemon=True).start()
    said = ""
    while "http://" not in said:
        line = lines.get(timeout=120)
        if not line:
            raise EverloopError(
                f"the server did not start: {log.read_text()[-500:]}",
                next_step="see server.log in the demo's folder.",
            )
        said += line
    return "http://" + said.split("http://")[1].split()[0]
