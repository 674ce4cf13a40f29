"""everloop.db is cut to 0 bytes (or lost) while blobs and tables are there: must be refused or said, not begun anew in silence."""

from _h import *

root, port = project()
store = root / ".everloop"
for extra in ("-wal", "-shm"):
    (store / f"everloop.db{extra}").unlink(missing_ok=True)
(store / "everloop.db").write_bytes(b"")
r = cli(root, "status")
run = cli(root, "run", "keep_fresh")
verdict(
    r.returncode != 0,
    f"`everloop status` exit {r.returncode}, says {r.stdout.strip().splitlines()[-1]!r}; then `run` says {run.stdout.strip().splitlines()[-1:]} ({len(list((store / 'blobs').rglob('*')))} blobs were there)",
)
