"""Seen in: apache/arrow#4184 (null spellings in text columns are not null), great_expectations#1535 (not_null lets empty text through).
Input: a CSV whose text column is blank in half of the rows, and not_null on it. Right: a blank field of a CSV is a missing value; quarantine.
"""

from _case import *

with project(dataset(more='expect=[not_null("carrier")]')) as p:
    b = p.append("rows", "a.csv", "id,carrier,miles\n1,AA,10\n2,,20\n3,,\n4,UA,5\n")
    tell(
        b.verdict == "quarantine", f"2 of 4 carriers are blank, not_null('carrier') says {b.verdict} {b.why}"
    )
