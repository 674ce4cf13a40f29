"""Seen in: no report looked up (byte order mark in the first column name). Input: UTF-8 with BOM. Right: the first column is id."""

from _case import *

with project(dataset(), dump="rows") as p:
    b = p.append("rows", "a.csv", b"\xef\xbb\xbfid,x\n1,2.5\n")
    tell(b.accepted and p.rows().column_names == ["id", "x"], f"{b.verdict} {b.why}")
