"""True answers as they come over the wire."""

import msgspec

from everloop.clock import Clock
from everloop.errors import InvalidInput, shown
from everloop.records.serving import Label
from everloop.serving.errors import TooLarge
from everloop.serving.protocol import MOST_ROWS, checked_id, decode, event_time


class _Label(msgspec.Struct, forbid_unknown_fields=True):
    prediction_id: str
    label: bool | int | float
    time: str | None = None


class _Labels(msgspec.Struct, forbid_unknown_fields=True):
    labels: list[_Label]


_one_label = msgspec.json.Decoder(_Label)
_many_labels = msgspec.json.Decoder(_Labels)
_any_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_labels(body: bytes, now: Clock) -> list[Label]:
    """Decode `{"prediction_id", "label", "time"?}`, or `{"labels": [...]}` with many of them.

    Raises InvalidInput that names the place and what is expected.
    """
    many = "labels" in decode(_any_object, body)
    sent = decode(_many_labels, body).labels if many else [decode(_one_label, body)]
    if len(sent) > MOST_ROWS:
        raise TooLarge(
            f"the request has {len(sent)} labels; expected at most {MOST_ROWS}.",
            next_step="send several requests.",
        )
    return [_label(place, label, now) for place, label in enumerate(sent)]


def _label(place: int, sent: _Label, now: Clock) -> Label:
    prediction_id = checked_id(sent.prediction_id, f"label {place}: prediction_id")
    if prediction_id is None or len(prediction_id) > 120:
        raise InvalidInput(
            f"label {place}: prediction_id must have 1 to 120 characters.",
            next_step="send the prediction_id that came with the answer.",
        )
    try:
        value = float(sent.label)
    except OverflowError:
        raise InvalidInput(
            f"label {place}: {shown(sent.label)} is too large; expected a number.",
            next_step="send one that a float can hold.",
        ) from None
    time = now() if sent.time is None else event_time(sent.time, f"label {place}: time")
    return Label(prediction_id=prediction_id, value=value, time=time)
