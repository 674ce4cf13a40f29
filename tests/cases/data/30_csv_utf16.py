"""Seen in: pandas#46365 ('Expected n columns, got 1' is cryptic). Input: Excel's 'Unicode text' (UTF-16). Right: a sentence about the encoding."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.csv", "id,city\n1,Graz\n2,Wien\n".encode("utf-16"))
    tell(
        not b.crashed and not b.accepted and any(w in b.why.lower() for w in ("utf", "encod")),
        f"{b.verdict}: {b.why}",
    )
