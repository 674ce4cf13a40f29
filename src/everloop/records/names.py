"""Names of things, and the one way to say which version is meant: `late@3`, `late@champion`, `flights@7`.

Called by whoever takes a name from a person: declarations, the command line, lineage, a notebook.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from everloop.errors import InvalidInput, shown

NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
"""Of datasets, endpoints, monitors, views and features; a folder, a column or a part of an address may be called so."""
MODEL_NAME = re.compile(r"[a-z][a-z0-9_-]{0,99}")
"""Of registered models, which may have a hyphen."""
_REFERENCE = re.compile(rf"(?P<name>{MODEL_NAME.pattern})@(?:(?P<version>[0-9]{{1,9}})|(?P<alias>[a-z]+))")
_LETTERS = {NAME: "lower-case letters, digits and _", MODEL_NAME: "lower-case letters, digits, - and _"}


def check_name(name: object, what: str, *, pattern: re.Pattern[str] = NAME) -> None:
    """Refuse what cannot name a thing; `what` says what it was to name, as in "a dataset".

    >>> check_name("late-flights", "a model", pattern=MODEL_NAME)
    """
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is no name for {what}.",
            next_step=f"use up to 100 {_LETTERS[pattern]}, a letter first.",
        )


def as_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Names that were given as one text or as several: a lone text is one name, and not its letters.

    >>> as_names("carrier"), as_names(["origin", "carrier"])
    (('carrier',), ('origin', 'carrier'))
    """
    return (names,) if isinstance(names, str) else tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A thing with many versions, and which of them: by number, or by the alias that points at it."""

    name: str
    version: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.alias if self.version is None else self.version}"


def find_reference(text: str) -> Reference | None:
    """The reference that a text is; None when it is something else.

    >>> find_reference("late@3"), find_reference("late")
    (Reference(name='late', version=3, alias=None), None)
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return None
    version = None if match["version"] is None else int(match["version"])
    return Reference(name=match["name"], version=version, alias=match["alias"])


def get_reference(text: str) -> Reference:
    """The same, or InvalidInput.

    >>> str(get_reference("late@champion"))
    'late@champion'
    """
    found = find_reference(text)
    if found is None:
        raise InvalidInput(
            f"{shown(text)} is not model@version.", next_step="write it like late@3 or late@champion."
        )
    return found
