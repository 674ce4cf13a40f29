"""What a model takes and answers, inferred from rows, and the matrix that rows become; the server has it compiled."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from everloop.errors import InvalidInput
from everloop.models.rows import as_table
from everloop.records.models import Datatype, Field, Signature, Task
from everloop.storage.columns import decode, is_text

_MOST_CATEGORIES = 10_000


def infer_signature(
    rows: pa.Table,
    *,
    inputs: Sequence[str],
    output: str = "score",
    optional: Sequence[str] = (),
    task: Task = Task.BINARY,
) -> Signature:
    """The signature of a model that reads these columns of these rows.

    Text becomes categories in sorted order; whole numbers and booleans keep their kind; a column that holds
    nulls or NaN here may hold them later, and so may those in `optional`, which only happened to be complete.

    >>> rows = pa.table({"hour": [6, 17], "carrier": ["UA", "AA"]})
    >>> signature = infer_signature(rows, inputs=["hour", "carrier"], optional=["carrier"])
    >>> [(field.name, str(field.datatype), field.nullable, field.categories) for field in signature.inputs]
    [('hour', 'INT64', False, ()), ('carrier', 'BYTES', True, ('AA', 'UA'))]

    Raises InvalidInput for a column that is missing, or of a type that no model takes.
    """
    rows = as_table(rows)
    if not inputs:
        raise InvalidInput(
            "a model needs at least one input.", next_step='name them: inputs=["price", "months"].'
        )
    strangers = [name for name in optional if name not in inputs]
    if strangers:
        raise InvalidInput(
            f"{', '.join(strangers)} cannot be optional: it is no input.",
            next_step="name it among the inputs, too.",
        )
    missing = [name for name in inputs if name not in rows.column_names]
    if missing:
        raise InvalidInput(
            f"there is no column {', '.join(missing)} among {', '.join(rows.column_names)}.",
            next_step="name columns that the rows have.",
        )
    if len(set(inputs)) != len(inputs):
        raise InvalidInput("an input is named twice.", next_step="name it once.")
    outputs = (Field(name=output, datatype=Datatype.FP64),)
    fields = tuple(_field(name, _plain(name, rows[name]), name in optional) for name in inputs)
    return Signature(inputs=fields, outputs=outputs, task=task)


def matrix(signature: Signature, rows: pa.Table) -> np.ndarray:
    """Float64 matrix of shape (rows, inputs): a null is NaN, a category its code, an unknown category NaN.

    >>> rows = pa.table({"hour": [6, None], "carrier": ["UA", "AA"]})
    >>> matrix(infer_signature(rows, inputs=["hour", "carrier"]), rows).tolist()
    [[6.0, 1.0], [nan, 0.0]]
    """
    rows = as_table(rows)
    missing = [field.name for field in signature.inputs if field.name not in rows.column_names]
    if missing:
        raise InvalidInput(
            f"the model needs column {', '.join(missing)}, which the rows lack.",
            next_step="add it, or train a model that does without it.",
        )
    filled = np.empty((rows.num_rows, len(signature.inputs)), dtype=np.float64)
    for place, field in enumerate(signature.inputs):
        filled[:, place] = _numbers(field, _plain(field.name, rows[field.name]))
    return filled


def categorical_places(signature: Signature) -> list[int]:
    """Columns of the matrix that hold category codes, for libraries that treat them apart.

    >>> rows = pa.table({"hour": [6, 17], "carrier": ["UA", "AA"]})
    >>> categorical_places(infer_signature(rows, inputs=["hour", "carrier"]))
    [1]
    """
    return [place for place, field in enumerate(signature.inputs) if field.datatype is Datatype.BYTES]


def _field(name: str, column: pa.ChunkedArray, optional: bool) -> Field:
    kind = column.type
    nullable = optional or column.null_count > 0
    if pa.types.is_boolean(kind):
        return Field(name=name, datatype=Datatype.BOOL, nullable=nullable)
    if pa.types.is_integer(kind):
        return Field(name=name, datatype=Datatype.INT64, nullable=nullable)
    if pa.types.is_floating(kind):
        gaps = pc.any(pc.is_nan(column)).as_py()  # to a model NaN is a null
        return Field(name=name, datatype=Datatype.FP64, nullable=nullable or bool(gaps))
    if pa.types.is_string(kind):
        return Field(name=name, datatype=Datatype.BYTES, nullable=nullable, categories=_levels(name, column))
    raise InvalidInput(
        f"{name} holds nothing but nulls, so nobody knows its type.",
        next_step="cast it to what it is, or leave it out.",
    )


def _levels(name: str, column: pa.ChunkedArray) -> tuple[str, ...]:
    levels = tuple(sorted(level for level in column.unique().to_pylist() if level is not None))
    if len(levels) > _MOST_CATEGORIES:
        raise InvalidInput(
            f"{name} has {len(levels)} different texts; more than {_MOST_CATEGORIES} are no categories.",
            next_step="leave the column out or derive features from it.",
        )
    return levels


def _numbers(field: Field, column: pa.ChunkedArray) -> np.ndarray:
    text = pa.types.is_string(column.type)
    if text != (field.datatype is Datatype.BYTES) and not pa.types.is_null(column.type):
        raise InvalidInput(
            f"{field.name} is of type {column.type}; the model was trained on {field.datatype}.",
            next_step="cast it to what it was in training.",
        )
    if text:
        column = pc.index_in(column, value_set=pa.array(field.categories, pa.string()), skip_nulls=True)
    # A number beyond 2^53 is rounded, as in `CompiledSignature.matrix`.
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False))


def _plain(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column without its encoding: numbers, booleans, text or nothing but nulls."""
    column, types = decode(column), pa.types
    kind = column.type
    if is_text(kind):
        return pc.cast(column, pa.string())
    if types.is_float16(kind):
        return pc.cast(column, pa.float32())
    if not (
        types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind)
    ):
        raise InvalidInput(
            f"{name} is of type {kind}; a model takes numbers, booleans and text.",
            next_step="cast it to float64 for what it counts, or derive numbers from it.",
        )
    return column
