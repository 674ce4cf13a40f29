"""One request and one answer for all wire protocols, and the signature that a request is held against."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

import msgspec

from everloop.clock import parse_time
from everloop.errors import InvalidInput
from everloop.records.models import Datatype, Field, Signature
from everloop.records.serving import Arm, Scalar
from everloop.serving.errors import TooLarge, shown

T = TypeVar("T")
Parameter: TypeAlias = bool | int | float | str
Columns: TypeAlias = Mapping[str, Sequence[Scalar]]

MOST_ROWS = 10_000
_LONGEST_ID = 200  # the column `request_id` has room for so many
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """What a client asks, after it has been held against a contract."""

    contract: "Contract"
    columns: Columns
    """Values by input: exactly the contract's inputs, each `rows` long and of the input's own type."""
    rows: int
    id: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """`unit` and `time` mean something to everloop; others are kept unread, as the Open Inference Protocol has it."""

    @property
    def unit(self) -> str | None:
        """Whom or what it is about, for assignments that stick: the parameter `unit`, else the request's id."""
        unit = self.parameters.get("unit")
        return self.id if unit is None else checked_id(str(unit), "parameter 'unit'")

    @property
    def time(self) -> datetime | None:
        """When the thing asked about happened, if the client said so: the parameter `time`."""
        time = self.parameters.get("time")
        return None if time is None else event_time(time, "parameter 'time'")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceResponse:
    """What the endpoint answers."""

    id: str
    """The client's id, or the prediction's when it sent none."""
    prediction_id: str
    """Labels name it; of several rows, row i is `<prediction_id>/<i>`, counted from 0."""
    model: str
    version: int
    arm: Arm
    output: str
    scores: Sequence[float]


def row_id(prediction_id: str, row: int, rows: int) -> str:
    """The id of one row's prediction: the request's own for a single row, numbered from 0 for several.

    >>> row_id("p", 0, 1), row_id("p", 2, 3)
    ('p', 'p/2')
    """
    return prediction_id if rows == 1 else f"{prediction_id}/{row}"


class Contract:
    """A signature with everything that depends on it alone done once.

    >>> signature = Signature(
    ...     inputs=(Field(name="temp", datatype=Datatype.FP64, nullable=True),),
    ...     outputs=(Field(name="late", datatype=Datatype.FP64),),
    ... )
    >>> Contract(signature).column("temp", "INT64", [20, None])
    [20.0, None]
    """

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.names = tuple(field.name for field in signature.inputs)
        self._known = frozenset(self.names)
        self._columns = {field.name: _converters(field) for field in signature.inputs}
        self._natural = {field.name: field.datatype.value for field in signature.inputs}

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
            f"{where}input {missing[0]!r} is missing; expected {_list(self.names)}, null where nothing is known."
        )

    def fit(self, columns: Columns) -> Columns:
        """The columns that this contract needs, from columns that were held against another one.

        A revision may take fewer inputs than the endpoint is sent; one that takes more cannot answer.
        """
        missing = [name for name in self.names if name not in columns]
        if missing:
            raise InvalidInput(f"input {missing[0]!r} is missing; the endpoint's requests do not carry it.")
        return {name: self.column(name, self._natural[name], columns[name]) for name in self.names}

    def from_rows(self, rows: Sequence[Sequence[Scalar] | Mapping[str, Scalar]]) -> Columns:
        """Columns from rows: each row an object by input name, or an array in the signature's order."""
        for place, row in enumerate(rows):
            if isinstance(row, Mapping):
                self.check_names(row, where=f"instance {place}: ")
            elif len(row) != len(self.names):
                raise InvalidInput(
                    f"instance {place} has {len(row)} values; expected {len(self.names)}: {_list(self.names)}."
                )
        tables = [
            row if isinstance(row, Mapping) else dict(zip(self.names, row, strict=True)) for row in rows
        ]
        return self.fit({name: [row[name] for row in tables] for name in self.names})

    def check_outputs(self, names: Iterable[str]) -> None:
        """Refuse to be asked for an output that the model does not have."""
        known = tuple(field.name for field in self.signature.outputs)
        for name in names:
            if name not in known:
                raise InvalidInput(f"output {shown(name)} is unknown; expected {_list(known)}.")

    def _refusal(self, name: str, datatype: str) -> InvalidInput:
        if name not in self._known:
            return self._unknown(name)
        return InvalidInput(
            f"input {name!r} has datatype {shown(datatype)}; "
            f"the model takes {self._natural[name]} and accepts {', '.join(self._columns[name])}."
        )

    def _unknown(self, name: str, where: str = "") -> InvalidInput:
        return InvalidInput(f"{where}input {shown(name)} is unknown; expected {_list(self.names)}.")


def decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Read JSON into its typed form; raises InvalidInput that names the place that does not fit."""
    if not body:
        raise InvalidInput("the body is empty; expected a JSON object.")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the body does not fit: {str(error)[:300]}.") from None
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the body is not JSON: {error}.") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8: {error.reason}.") from None
    except RecursionError:
        raise InvalidInput("the body is nested too deeply; expected at most a few levels.") from None


def checked_id(sent: str | None, where: str = "id") -> str | None:
    """A name that the client gave, as it may be kept; an empty one counts as not sent."""
    if not sent:
        return None
    if len(sent) > _LONGEST_ID or _CONTROL.search(sent):
        raise InvalidInput(
            f"{where} {shown(sent)} cannot be kept; "
            f"expected at most {_LONGEST_ID} characters, none of them control characters."
        )
    return sent


def checked_rows(rows: int) -> int:
    """How many rows were sent, when it is a number that one request may have."""
    if rows == 0:
        raise InvalidInput("the request has no rows; expected at least one.")
    if rows > MOST_ROWS:
        raise TooLarge(
            f"the request has {rows} rows; expected at most {MOST_ROWS}, so send several requests."
        )
    return rows


def event_time(sent: Parameter, where: str) -> datetime:
    """Read an RFC 3339 time from a request."""
    try:
        time = parse_time(sent) if isinstance(sent, str) else None
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error.reason[:200]}") from None
    except OverflowError:
        time = None
    if time is None or not 1000 <= time.year <= 9998:
        raise InvalidInput(f"{where} is {shown(sent)}; expected a time like 2013-01-31T23:00:00Z.")
    return time


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
            f"expected {expected}{' or null' if field.nullable else ''}."
        )
    return result
