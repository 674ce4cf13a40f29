"""The dialects in which inference is asked for over HTTP: one file and one line here for each."""

from everloop.serving.dialects.dialect import Dialect
from everloop.serving.dialects.v1 import V1
from everloop.serving.dialects.v2 import V2

DIALECTS: tuple[Dialect, ...] = (V2, V1)
"""Every dialect that the server speaks."""
