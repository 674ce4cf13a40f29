"""Seen in: huggingface/datasets#5531 (a nested column that is null in the first block). Input: 4 to 8 MB of JSON lines; meta.found is null for long, then a list of objects. Right: read, and the same each time (it is a matter of luck)."""

from _case import *


def lines(n: int) -> str:
    def row(i: int) -> str:
        return json.dumps(
            {
                "id": i,
                "meta": {"found": [{"tag": "en", "p": 0.5}] if n <= i < n + 2000 else None, "w": "x" * 20},
            }
        )

    return "".join(row(i) + "\n" for i in range(2 * n))


bad = []
for n in (15_000, 30_000, 60_000):
    with project(dataset()) as p:
        b = p.append("rows", "a.jsonl", lines(n))
        if not b.accepted:
            bad.append(f"{2 * n:,} rows: {b.verdict} {b.why[-120:]}")
tell(not bad, "; ".join(bad) or "read")
