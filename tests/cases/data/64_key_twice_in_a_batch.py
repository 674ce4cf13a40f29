"""Seen in: feast#3360, hopsworks-api PR 544 (several rows of one key). Input: keys='id' ('columns that name one row') and an id twice. Right: told; a lookup view on it can only fail later."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.parquet", pa.table({"id": [1, 1, 2], "v": [1.5, 2.5, 3.5]}))
    tell(not b.accepted or "id" in b.findings, f"{b.verdict} {b.why or 'without a word'}")
