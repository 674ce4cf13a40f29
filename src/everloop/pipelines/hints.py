"""Does a value of this type go where that type is asked for? Asked of a trace before it runs, and of every output."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

SINGLE = "output"
"""The name of the only output of a step that returns one value."""


def is_record(hint: Any) -> bool:
    """Whether a hint is a NamedTuple, whose fields are outputs of their own."""
    return isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields")


def output_fields(hint: Any) -> Mapping[str, Any]:
    """The named outputs of a return type: the fields of a NamedTuple, one for anything else, none for None.

    >>> output_fields(int), output_fields(None)
    ({'output': <class 'int'>}, {})
    """
    if hint is None or hint is types.NoneType:
        return {}
    return typing.get_type_hints(hint) if is_record(hint) else {SINGLE: hint}


def fits(offered: Any, wanted: Any) -> bool:
    """Whether a value of one type may go where another is asked for; what cannot be told is let through.

    >>> fits(int, float), fits(str, int), fits(type(None), int | None), fits(list[int], typing.Sequence[int])
    (True, False, True, True)
    """
    offered, wanted = _plain(offered), _plain(wanted)
    if offered is Any or wanted is Any or offered == wanted:
        return True
    if (offered is int and wanted in (float, complex)) or (offered is float and wanted is complex):
        return True
    if _is_union(offered):
        return all(fits(part, wanted) for part in typing.get_args(offered))
    if _is_union(wanted):
        return any(fits(offered, part) for part in typing.get_args(wanted))
    have, want = typing.get_origin(offered) or offered, typing.get_origin(wanted) or wanted
    if not isinstance(have, type) or not isinstance(want, type) or getattr(want, "_is_protocol", False):
        return True
    return issubclass(have, want)


def describe_type(hint: Any) -> str:
    """A type as a person would write it."""
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _plain(hint: Any) -> Any:
    """The hint without what only a type checker reads."""
    if hint is None:
        return types.NoneType
    if isinstance(hint, typing.TypeVar | typing.ForwardRef | str):
        return Any
    if typing.get_origin(hint) is typing.Annotated:
        return _plain(typing.get_args(hint)[0])
    if typing.get_origin(hint) is typing.Literal:
        return typing.Union[tuple(type(value) for value in typing.get_args(hint))]  # noqa: UP007 - built at run time
    for inner in ("__supertype__", "__value__"):  # NewType, and `type X = …` of newer Pythons
        if not isinstance(hint, type) and hasattr(hint, inner):
            return _plain(getattr(hint, inner))
    return hint


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)
