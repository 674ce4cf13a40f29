"""Seen in: whylogs#700 (NaN and infinity apart from null), evidently#187. Input: inf, -inf, nan, 1e400 under between(0, 10) and not_null. Right: the three infinities break between, the nan breaks not_null."""

from _case import *

with project(dataset(more='expect=[not_null("x"), between("x", 0, 10)]')) as p:
    b = p.append("rows", "a.csv", "id,x\n1,inf\n2,-inf\n3,nan\n4,1e400\n5,2.5\n")
    tell(b.verdict == "quarantine" and "3 of 5" in b.why and "1 of 5" in b.why, f"{b.verdict}: {b.why}")
