"""Seen in: no report looked up (concurrent appends to Delta). Input: six files appended by six processes at once. Right: all rows once, versions 0 to 5."""

from _case import *

with project(dataset(), dump="rows") as p:
    for k in range(6):
        p.write(f"{k}.csv", "id,x\n" + "".join(f"{k * 100 + i},{i}.5\n" for i in range(100)))
    running = [
        subprocess.Popen(
            [BIN, "append", "rows", f"{k}.csv"], cwd=p.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for k in range(6)
    ]
    codes = [r.wait(90) for r in running]
    ids = p.rows()["id"].to_pylist()
    versions = sorted(b["version"] for b in p.batches("rows"))
    tell(
        codes == [0] * 6 and sorted(ids) == list(range(600)) and versions == list(range(6)),
        f"codes {codes}, {len(ids)} rows, versions {versions}",
    )
