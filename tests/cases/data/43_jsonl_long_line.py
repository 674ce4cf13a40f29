"""Seen in: apache/arrow#7835, huggingface/datasets#629 and #2181, ray PR 42357. Input: one document of 3 MB in a line. Right: read, or a sentence a user can act on (there is no block size to set)."""

from _case import *

with project(dataset()) as p:
    b = p.append("rows", "a.jsonl", '{"id":1,"doc":"' + "word " * 600_000 + '"}\n{"id":2,"doc":"short"}\n')
    tell(b.accepted, f"{b.verdict}: {b.why}")
