"""What a child process says, and what is left of it when it is killed."""

import queue
import subprocess
import sys

from everloop.app.processes.children import Child, ChildMessage, Mail

KILLED = """
import os, signal
print('{"type": "working"}', flush=True)
print('{"type": "ru', end="", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_half_a_line_of_a_child_that_was_killed_does_not_hide_its_end() -> None:
    """Or nobody would start it again."""
    mail: Mail = queue.SimpleQueue()
    child = Child(name="worker", command=[], mail=mail)
    with subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE) as process:
        child._listen(process)
    assert mail.get_nowait() == ChildMessage("worker", {"type": "working"})
    assert mail.get_nowait() == ChildMessage("worker", {}, ended=-9)
