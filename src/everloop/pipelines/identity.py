"""Which function is this? What goes into a cache key beside the digest of the project's sources."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from types import FunctionType

from everloop.evaluation.metric import Metric
from everloop.pipelines.steps import Step

_INSTALLED = tuple({Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")})
_Known = tuple[object, ...]


def function_id(function: object, root: Path) -> _Known | None:
    """What tells this function from every other one while sources and libraries stay the same.

    None when nobody can tell, and then its results are not taken from another run: it was written outside the project and
    outside what is installed (a notebook, say), where no digest would notice a change; or it closes over a value that is
    neither plain nor such a function.
    """
    return _of_function(function, root.resolve(), ()) if isinstance(function, FunctionType) else None


def _of_function(function: FunctionType, root: Path, above: tuple[FunctionType, ...]) -> _Known | None:
    code = function.__code__
    if not _is_covered(Path(code.co_filename), root):
        return None
    try:
        held = [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # a name that nothing has been put under yet
        return None
    parts = [_of_value(value, root, (*above, function)) for value in held]
    if any(part is None for part in parts):
        return None
    return (function.__module__, function.__qualname__, code.co_firstlineno, *parts)


def _of_value(value: object, root: Path, above: tuple[FunctionType, ...]) -> _Known | None:
    if isinstance(value, Step):
        value = value.function
    if isinstance(value, FunctionType):
        # A function that closes over itself has been told of already.
        return ("above", above.index(value)) if value in above else _of_function(value, root, above)
    if value is None or type(value) in (bool, int, float, str, bytes):
        return (type(value).__name__, repr(value))
    if isinstance(value, Metric):
        return ("metric", value.name, value.digest)
    if isinstance(value, tuple) and type(value) is tuple:
        parts = [_of_value(item, root, above) for item in value]
        return None if any(part is None for part in parts) else ("tuple", *parts)
    return None


def _is_covered(file: Path, root: Path) -> bool:
    place = file.resolve()
    if any(place.is_relative_to(folder) for folder in _INSTALLED):
        return True
    # As in `metadata.provenance`: what lies in a hidden folder is no source of the project.
    inside = place.relative_to(root).parts if place.is_relative_to(root) else (".",)
    return place.suffix == ".py" and not any(part.startswith(".") for part in inside)
