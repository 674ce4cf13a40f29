"""Arrow tables as Parquet."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from everloop.errors import InvalidInput
from everloop.pipelines.formats.format import Format, Slot
from everloop.storage.blobs import BlobWriter


def _owns(value: object, _hint: Any) -> bool:
    return isinstance(value, pa.Table)


def _write(table: pa.Table, blob: BlobWriter, slot: Slot) -> None:
    try:
        pq.write_table(table, blob)
    except pa.ArrowException as error:
        raise InvalidInput(
            f"output {slot.name!r} has a column that Parquet cannot hold: {error}.",
            next_step="cast it to a type that Parquet has.",
        ) from None


def _read(file: io.BufferedReader, _slot: Slot) -> object:
    # By its name, because Arrow reads in threads of its own, which should not have to call Python for each piece.
    # Buffered before it is needed, the whole file would be held beside the table.
    with pa.OSFile(file.name) as opened:
        return pq.read_table(opened, pre_buffer=False)


def _comes_back(table: pa.Table) -> bool:
    # Parquet knows fewer types than Arrow. Where one was changed, the next step must see the changed one, or a run that is
    # resumed would go on with another table than the one that was not. Types are changed alike with rows and without.
    file = io.BytesIO()
    pq.write_table(table.slice(0, 0), file)
    return bool(pq.read_schema(file).equals(table.schema, check_metadata=True))


PARQUET = Format(name="parquet", owns=_owns, write=_write, read=_read, comes_back=_comes_back)
