"""One request and one answer for all wire protocols, and the signature that a request is held against."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

import msgspec

from everloop.clock import parse_time
from everloop.errors import InvalidInput, NotFound, shown
from everloop.models.compiled import Columns, CompiledSignature
from everloop.records.models import Field
from everloop.records.serving import Arm, Value
from everloop.serving.errors import TooLarge

T = TypeVar("T")
Parameter: TypeAlias = bool | int | float | str

MOST_ROWS = 10_000
_LONGEST_ID = 200  # the column `request_id` has room for so many
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """What a client asks, after it has been held against a signature."""

    signature: CompiledSignature
    columns: Columns
    """Values by input: exactly the signature's inputs, each `rows` long and of the input's own type."""
    rows: int
    id: str | None = None
    wanted: Sequence[str] = ()
    """Outputs that were asked for by name; none means all."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """`unit` and `time` mean something to everloop; others are kept unread, as the Open Inference Protocol has it."""

    @property
    def unit(self) -> str | None:
        """Whom or what it is about, for assignments that stick: the parameter `unit`, else the request's id."""
        return checked_id(str(self.parameters.get("unit", "")), "parameter 'unit'") or self.id

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
    outputs: Sequence[Field]
    """The outputs that are answered, in the signature's order."""
    values: Mapping[str, Sequence[Value]]
    """A value for each row, by output."""


def row_id(prediction_id: str, row: int, rows: int) -> str:
    """The id of one row's prediction: the request's own for a single row, numbered from 0 for several.

    >>> row_id("p", 0, 1), row_id("p", 2, 3)
    ('p', 'p/2')
    """
    return prediction_id if rows == 1 else f"{prediction_id}/{row}"


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Read JSON into its typed form; raises InvalidInput that names the place that does not fit."""
    if not body:
        raise InvalidInput("the body is empty; expected a JSON object.", next_step="send one.")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"the body does not fit: {str(error)[:300]}.",
            next_step="send what the description of this address shows.",
        ) from None
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the body is not JSON: {error}.", next_step="send JSON.") from None
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8: {error.reason}.", next_step="send it as UTF-8.") from None
    except RecursionError:
        raise InvalidInput(
            "the body is nested too deeply; expected at most a few levels.", next_step="send it flatter."
        ) from None


def checked_id(sent: str | None, where: str = "id") -> str | None:
    """A name that the client gave, as it may be kept; an empty one counts as not sent."""
    if not sent:
        return None
    if len(sent) > _LONGEST_ID or _CONTROL.search(sent):
        raise InvalidInput(
            f"{where} {shown(sent)} cannot be kept; "
            f"expected at most {_LONGEST_ID} characters, none of them control characters.",
            next_step="send a shorter one, of letters that can be printed.",
        )
    return sent


def checked_rows(rows: int) -> int:
    """How many rows were sent, when it is a number that one request may have."""
    if rows == 0:
        raise InvalidInput("the request has no rows; expected at least one.", next_step="send one.")
    if rows > MOST_ROWS:
        raise TooLarge(
            f"the request has {rows} rows; expected at most {MOST_ROWS}, so send several requests.",
            next_step="share its rows out among them.",
        )
    return rows


def version_number(sent: str | None) -> int | None:
    """The version that a path names; raises NotFound for what can be none."""
    if sent is None:
        return None
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 9):
        raise NotFound(
            f"there is no version {shown(sent)}; versions are numbers.",
            next_step="ask for a number, or for no version.",
        )
    return int(sent)


def event_time(sent: Parameter, where: str) -> datetime:
    """Read an RFC 3339 time from a request."""
    try:
        time = parse_time(sent) if isinstance(sent, str) else None
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error.reason[:200]}", next_step=error.next_step) from None
    except OverflowError:
        time = None
    if time is None or not 1000 <= time.year <= 9998:
        raise InvalidInput(
            f"{where} is {shown(sent)}; expected a time like 2013-01-31T23:00:00Z.", next_step="send it so."
        )
    return time
