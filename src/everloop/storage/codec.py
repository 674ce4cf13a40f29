"""Records to JSON and back, one way for the database, the artifacts and the wire.

Whoever changes a byte that `dumps` writes changes every digest and every key of the cache: what was made is made anew,
and what is equal is not known to be. `tests/storage/test_codec.py` shows it.
"""

import hashlib
from typing import Any, TypeVar

import msgspec

from everloop.errors import Corrupted

T = TypeVar("T")


def dumps(value: object) -> bytes:
    """Canonical JSON: sorted keys, so that equal records have equal bytes and equal digests."""
    try:
        return msgspec.json.encode(value, order="sorted")
    except TypeError:  # it sorts texts only; numbers as keys become texts here
        return msgspec.json.encode(to_json(value), order="sorted")


def loads(kind: type[T], data: bytes | str) -> T:
    """Read JSON into a record; what does not fit is refused and named."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise Corrupted(
            f"stored {kind.__name__} cannot be read: {error}.",
            next_step="restore it from a backup, or upgrade if a newer version has written it.",
        ) from error


def to_json(value: object) -> Any:
    """A record as the builtins that a JSON column takes."""
    return msgspec.to_builtins(value, str_keys=True)


def from_json(kind: type[T], value: object) -> T:
    """The record that those builtins were."""
    try:
        return msgspec.convert(value, type=kind, str_keys=True)
    except msgspec.MsgspecError as error:
        raise Corrupted(
            f"stored {kind.__name__} cannot be read: {error}.",
            next_step="restore it from a backup, or upgrade if a newer version has written it.",
        ) from error


def storable_text(text: str) -> str:
    r"""Text from anywhere as every database can keep it: NUL and halves of characters become a question mark.

    >>> storable_text("naive \0 \udc80")
    'naive ? ?'
    """
    return text.replace("\0", "?").encode(errors="replace").decode()


def number(value: float | None) -> float:
    """A number as it was kept: JSON and SQLite have no NaN and keep it as null.

    >>> number(0.5), number(None)
    (0.5, nan)
    """
    return float("nan") if value is None else value


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal: the name of these bytes everywhere in everloop."""
    return hashlib.sha256(data).hexdigest()


def digest_of(value: object) -> str:
    """Digest of a record's canonical JSON."""
    return digest(dumps(value))
