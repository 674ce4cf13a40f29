"""A signature made ready for requests: each value is held against it, and what passes becomes the model's matrix."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from everloop.errors import InvalidInput, shown
from everloop.records.models import Datatype, Field, Signature
from everloop.records.serving import Scalar

Columns: TypeAlias = Mapping[str, Sequence[Scalar]]


class CompiledSignature:
    """A signature with everything that depends on it alone done once: what may be sent, and how it becomes a matrix.

    >>> signature = Signature(
    ...     inputs=(Field(name="temp", datatype=Datatype.FP64, nullable=True),),
    ...     outputs=(Field(name="late", datatype=Datatype.FP64),),
    ... )
    >>> CompiledSignature(signature).column("temp", "INT64", [20, None])
    [20.0, None]
    """

    def __init__(self, signature: Signature) -> None:
        self.declared = signature
        self.names = tuple(field.name for field in signature.inputs)
        self._known = frozenset(self.names)
        self._columns = {field.name: _converters(field) for field in signature.inputs}
        self._natural = {field.name: field.datatype.value for field in signature.inputs}
        self._codes = tuple(
            {level: float(code) for code, level in enumerate(field.categories)}
            if field.datatype is Datatype.BYTES
            else None
            for field in signature.inputs
        )

    def column(self, name: str, datatype: str, values: Sequence[Scalar]) -> Sequence[Scalar]:
        """One input's values, converted to the input's own type; raises InvalidInput for what does not fit."""
        try:
            convert = self._columns[name][datatype]
        except KeyError:
            raise self._refusal(name, datatype) from None
        return convert(values)

    def check_names(self, names: Iterable[str], where: str = "") -> None:
        """Refuse inputs that the model does not know, then inputs that it lacks."""
        given = names if isinstance(names, dict) else dict.fromkeys(names)
        if given.keys() == self._known:
            return
        for name in given:
            if name not in self._known:
                raise self._unknown(name, where)
        missing = [name for name in self.names if name not in given]
        raise InvalidInput(
            f"{where}input {missing[0]!r} is missing; expected {_list(self.names)}, null where nothing is known.",
            next_step="send it with every row.",
        )

    def fit(self, columns: Columns) -> Columns:
        """The columns that this signature needs, from columns that were held against another one.

        A revision may take fewer inputs than the endpoint is sent; one that takes more cannot answer.
        """
        missing = [name for name in self.names if name not in columns]
        if missing:
            raise InvalidInput(
                f"input {missing[0]!r} is missing; the endpoint's requests do not carry it.",
                next_step="send it with every request, or train a model that does without it.",
            )
        return {name: self.column(name, self._natural[name], columns[name]) for name in self.names}

    def matrix(self, columns: Columns) -> np.ndarray:
        """Float64 matrix of shape (rows, inputs) from checked values; None and an unknown category are NaN."""
        rows = len(columns[self.names[0]])
        filled = np.empty((rows, len(self.names)), dtype=np.float64)
        for place, (name, codes) in enumerate(zip(self.names, self._codes, strict=True)):
            values = columns[name]
            if codes is None:
                filled[:, place] = [np.nan if value is None else value for value in values]
            else:
                filled[:, place] = [codes.get(value, np.nan) for value in values]  # type: ignore[arg-type]
        return filled

    def from_rows(self, rows: Sequence[Sequence[Scalar] | Mapping[str, Scalar]]) -> Columns:
        """Columns from rows: each row an object by input name, or an array in the signature's order."""
        for place, row in enumerate(rows):
            if isinstance(row, Mapping):
                self.check_names(row, where=f"instance {place}: ")
            elif len(row) != len(self.names):
                raise InvalidInput(
                    f"instance {place} has {len(row)} values; expected {len(self.names)}: {_list(self.names)}.",
                    next_step="send one value for each input.",
                )
        tables = [
            row if isinstance(row, Mapping) else dict(zip(self.names, row, strict=True)) for row in rows
        ]
        return self.fit({name: [row[name] for row in tables] for name in self.names})

    def check_outputs(self, names: Iterable[str]) -> None:
        """Refuse to be asked for an output that the model does not have."""
        known = tuple(field.name for field in self.declared.outputs)
        for name in names:
            if name not in known:
                raise InvalidInput(
                    f"output {shown(name)} is unknown; expected {_list(known)}.",
                    next_step="ask for one of these, or for none.",
                )

    def _refusal(self, name: str, datatype: str) -> InvalidInput:
        if name not in self._known:
            return self._unknown(name)
        return InvalidInput(
            f"input {name!r} has datatype {shown(datatype)}; "
            f"the model takes {self._natural[name]} and accepts {', '.join(self._columns[name])}.",
            next_step="send it as one of these.",
        )

    def _unknown(self, name: str, where: str = "") -> InvalidInput:
        return InvalidInput(
            f"{where}input {shown(name)} is unknown; expected {_list(self.names)}.",
            next_step="leave it out, or send one of these.",
        )


def _list(names: Sequence[str]) -> str:
    named = ", ".join(names[:30])
    return named if len(names) <= 30 else f"{named} and {len(names) - 30} more"


# Datatypes: what may be sent for an input, and how a value is read. A reader returns None for a wrong value.

_Reader: TypeAlias = Callable[[Scalar], Scalar]
_BITS = {f"{sign}INT{bits}": (sign, bits) for bits in (64, 32, 16, 8) for sign in ("", "U")}
_LEAST, _MOST = -(2**63), 2**63 - 1
_FP32_LIMIT = 3.4028235677973366e38  # from here on a double rounds to infinity as a single


def _read_number(value: Scalar) -> Scalar:
    try:
        return float(value) if type(value) in (int, float) else None  # type: ignore[arg-type]
    except OverflowError:
        return None


def _read_single(value: Scalar) -> Scalar:
    number = _read_number(value)
    return number if isinstance(number, float) and abs(number) < _FP32_LIMIT else None


def _read_whole(datatype: str) -> _Reader:
    sign, bits = _BITS[datatype]
    allowed = range(2**63 if bits == 64 else 2**bits) if sign else range(-(2 ** (bits - 1)), 2 ** (bits - 1))
    return lambda value: value if type(value) is int and value in allowed else None


def _read_exact(datatype: str) -> _Reader:
    whole = _read_whole(datatype)

    def read(value: Scalar) -> Scalar:
        number = whole(value)
        return None if number is None or int(float(number)) != number else float(number)

    return read


def _read_flag(value: Scalar) -> Scalar:
    return value if type(value) is bool else None


def _read_text(value: Scalar) -> Scalar:
    return value if type(value) is str else None


_READERS: Mapping[Datatype, Mapping[str, _Reader]] = {
    Datatype.BOOL: {"BOOL": _read_flag},
    Datatype.INT64: {datatype: _read_whole(datatype) for datatype in _BITS},
    Datatype.FP64: {"FP64": _read_number, "FP32": _read_single}
    | {datatype: _read_exact(datatype) for datatype in _BITS},
    Datatype.BYTES: {"BYTES": _read_text},
}
_EXPECTED = {
    "BOOL": "true or false",
    "FP64": "a finite number",
    "FP32": "a finite number in the range of FP32",
    "BYTES": "a string",
}
_SAME: Mapping[str, type] = {"BOOL": bool, "FP64": float, "BYTES": str}
"""JSON values of this type are right as they are; one look at the type is all they cost."""

_Converter: TypeAlias = Callable[[Sequence[Scalar]], Sequence[Scalar]]


def _converters(field: Field) -> Mapping[str, _Converter]:
    readers = _READERS[field.datatype]
    return {datatype: _converter(field, datatype, read) for datatype, read in readers.items()}


def _converter(field: Field, datatype: str, read: _Reader) -> _Converter:
    def slow(values: Sequence[Scalar]) -> Sequence[Scalar]:
        return [_read_value(field, datatype, read, row, value) for row, value in enumerate(values)]

    if datatype == field.datatype is Datatype.INT64:
        return _unless_whole(slow)
    same = _SAME.get(datatype)
    return slow if same is None else _unless_same(same, slow)


def _unless_same(same: type, slow: _Converter) -> _Converter:
    def convert(values: Sequence[Scalar]) -> Sequence[Scalar]:
        for value in values:
            if type(value) is not same:
                return slow(values)
        return values

    return convert


def _unless_whole(slow: _Converter) -> _Converter:
    def convert(values: Sequence[Scalar]) -> Sequence[Scalar]:
        for value in values:
            if type(value) is not int or not _LEAST <= value <= _MOST:
                return slow(values)
        return values

    return convert


def _read_value(field: Field, datatype: str, read: _Reader, row: int, value: Scalar) -> Scalar:
    if value is None and field.nullable:
        return None
    result = read(value)
    if result is None:
        expected = _EXPECTED.get(datatype, f"a whole number in the range of {datatype}")
        if datatype in _BITS and field.datatype is Datatype.FP64:
            expected += " that FP64 holds exactly"
        raise InvalidInput(
            f"input {field.name!r}, row {row} is {'null' if value is None else shown(value)}; "
            f"expected {expected}{' or null' if field.nullable else ''}.",
            next_step="send a value that it takes.",
        )
    return result
