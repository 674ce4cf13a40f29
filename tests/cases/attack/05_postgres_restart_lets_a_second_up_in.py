"""PostgreSQL restarts under `everloop up`: the first controller's advisory lock is gone, and nobody takes it again. A second `up` must be refused."""

import atexit, time
from _h import *
from _pg import Postgres

pg = Postgres()
root, port = project(toml=pg.toml, keep_state=False)
loop = start(root, "up")
wait_ready(port, 90)


def second():
    text = (root / "everloop.toml").read_text()
    (root / "everloop.toml").write_text(text.replace(f"port = {port}", f"port = {free_port()}"))
    other = start(root, "up")
    ended = up_to(lambda: other.poll() is not None, 12)
    (root / "everloop.toml").write_text(text)
    return other, ended


one, refused_before = second()
pg.ctl("restart")
time.sleep(5)
answers = ask(port)[0]
two, refused_after = second()
held = pg.sql("select count(distinct pid) from pg_locks where locktype='advisory'")
why = f"before the restart a second `up` was refused: {refused_before}; after it: {refused_after} (it said {said(two).splitlines()[:2]}); predictions go on: {answers}; sessions that hold a name: {held}"
for c in (loop, two):
    if c.poll() is None:
        c.terminate()
for c in (loop, two):
    try:
        c.wait(30)
    except subprocess.TimeoutExpired:
        c.kill()
verdict(refused_before and refused_after, why)
