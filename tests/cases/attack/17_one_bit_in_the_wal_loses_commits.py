"""20 committed events in the WAL, one bit flipped in it, 20 times: lost events must be noticed."""

import random
from _h import *
from everloop.settings import load_settings
from everloop.storage import ledger
from everloop.storage.workspace import open_workspace

R, lost, noticed, tries = random.Random(5), 0, 0, 20
for _ in range(tries):
    root, _port = project()
    ws = open_workspace(load_settings(root))
    hold = ws.database.engine.connect()
    hold.exec_driver_sql("select 1").all()
    for k in range(20):
        with ws.database.write() as tx:
            ledger.append(tx, ws.event("run.completed", "/x", f"s{k}", {"k": k}))
    copy = root.parent / "copy"
    shutil.copytree(root, copy)
    hold.close()
    ws.close()
    wal = copy / ".everloop/everloop.db-wal"
    b = bytearray(wal.read_bytes())
    b[R.randrange(32, len(b))] ^= 1 << R.randrange(8)
    wal.write_bytes(bytes(b))
    (copy / ".everloop/everloop.db-shm").unlink(missing_ok=True)
    try:
        ws = open_workspace(load_settings(copy))
        with ws.database.read() as tx:
            n = sum(e.source == "/x" for e in ledger.read(tx))
        ws.close()
        lost += n < 20
    except Exception:
        noticed += 1
    shutil.rmtree(root.parent)
verdict(
    lost == 0, f"in {lost} of {tries} trials committed events were gone without a word; noticed in {noticed}"
)
