"""How values are kept in files: one file and one line of `FORMATS` each; only a pickle can run code when it is read."""

from everloop.pipelines.formats.format import Format, Slot
from everloop.pipelines.formats.json import JSON
from everloop.pipelines.formats.model import MODEL
from everloop.pipelines.formats.npy import NPY
from everloop.pipelines.formats.parquet import PARQUET
from everloop.pipelines.formats.pickle import PICKLE
from everloop.pipelines.formats.raw import RAW

__all__ = ["FORMATS", "Format", "Slot"]

FORMATS = (MODEL, PARQUET, NPY, RAW, JSON, PICKLE)
"""The first one that owns a value keeps it; the last one owns whatever is left."""
