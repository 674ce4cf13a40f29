"""What a function is, as text: it changes when what the function does may have changed, and else it does not.

Called by `Metric` for the digest that is kept beside its numbers. Comments and layout do not count; what the function closes
over, and what it names of its own module and of other modules of the project, does: functions, classes, and values as they
would be pickled. What it imports only in its body is not followed.

Whoever overlooks a change here lets numbers of two meanings be compared under one name; whoever sees one where there is
none has every champion evaluated anew. `tests/evaluation/test_metric.py` shows both.
"""

from __future__ import annotations

import ast
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import TypeAlias

# Libraries and everloop itself are kept by their versions, and are not read.
_KEPT = {str(Path(sysconfig.get_path(name))) for name in ("purelib", "platlib", "stdlib")}
_INSTALLED = (*_KEPT, str(Path(__file__).parents[1]))
_DICE = (
    "random",
    "numpy.random",
)  # where dice lie differs from process to process, and says nothing of what is done
_Told: TypeAlias = dict[int, tuple[int, object]]
"""What has been told of, by its address: its number, and itself, so that nothing else gets that address meanwhile."""


def source_of(value: object, told: _Told | None = None) -> object:
    """The source as nested lists of text, to be taken a digest of.

    >>> source_of(lambda score: score * 2) == source_of(lambda score: score * 3)
    False
    """
    told = {} if told is None else told
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return [type(value).__name__, repr(value)]
    if type(value) is tuple:
        return ["tuple", *(source_of(part, told) for part in value)]
    if isinstance(value, MethodType):
        return ["method", source_of(value.__func__, told), source_of(value.__self__, told)]
    if id(value) in told:
        return ["again", str(told[id(value)][0])]
    told[id(value)] = (len(told), value)
    if isinstance(value, FunctionType):
        return _of_function(value, told)
    if isinstance(value, partial):
        return ["partial", *(source_of(part, told) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, type):
        return _of_class(value, told)
    return _of_value(value, told)


def _of_function(function: FunctionType, told: _Told) -> object:
    code = function.__code__
    if code.co_filename.startswith(_INSTALLED):
        return ["named", _name(function)]
    held = [_content(cell) for cell in function.__closure__ or ()]
    names = _names(code)
    named = {name: function.__globals__.get(name) for name in names}
    texts = _texts(function)
    return [
        "function",
        *(texts if len(texts) == 1 else (*texts, *_of_code(code))),
        *(source_of(value, told) for value in (held, function.__defaults__, function.__kwdefaults__)),
        *([name, _of_name(value, names, told)] for name, value in named.items() if value is not None),
    ]


def _of_name(value: object, names: list[str], told: _Told) -> object:
    """A global; of a module of the project what the code may look up in it."""
    if not isinstance(value, ModuleType) or _is_installed(value.__name__):
        return source_of(value, told)
    inside = {name: vars(value)[name] for name in names if name in vars(value)}
    return [
        "module",
        value.__name__,
        *([name, _of_name(one, names, told)] for name, one in inside.items() if one is not value),
    ]


def _of_class(kind: type, told: _Told) -> object:
    if _is_installed(kind.__module__):
        return ["named", _name(kind)]
    # Python and the dataclasses write attributes of their own, which say nothing more.
    own = {
        name: value
        for name, value in vars(kind).items()
        if isinstance(value, FunctionType) or not (name.startswith("__") and name.endswith("__"))
    }
    members = [[name, source_of(own[name], told)] for name in sorted(own) if not _is_written(own[name])]
    return ["class", kind.__qualname__, *(source_of(base, told) for base in kind.__bases__), *members]


def _of_value(value: object, told: _Told) -> object:
    if isinstance(value, set | frozenset):
        return [type(value).__name__, *sorted(str(source_of(part, {})) for part in value)]
    if isinstance(value, Mapping):
        pairs = [[source_of(key, told), source_of(part, told)] for key, part in value.items()]
        return [type(value).__name__, *pairs]
    if isinstance(value, list):
        return [type(value).__name__, *(source_of(part, told) for part in value)]
    if isinstance(value, staticmethod | classmethod):
        return [type(value).__name__, source_of(value.__func__, told)]
    if isinstance(value, property):
        return ["property", source_of(value.fget, told)]
    if isinstance(wrapped := getattr(value, "__wrapped__", None), FunctionType):
        return ["wraps", source_of(wrapped, told)]
    return _of_thing(value, told)


def _of_thing(value: object, told: _Told) -> object:
    """A thing of some class as it would be pickled; of what cannot be, and of a module or a function of C, the name."""
    try:
        parts = None if type(value).__module__.startswith(_DICE) else value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - a class may refuse in any way
        parts = None
    if not isinstance(parts, tuple):
        return ["named", _name(value if hasattr(value, "__name__") else type(value))]
    made, given, *more = parts
    held = [list(part) if isinstance(part, Iterator) else part for part in more]
    return ["made", source_of(made, told), source_of(given, told), source_of(tuple(held), told)]


def _is_installed(module: object) -> bool:
    """Whether it comes with Python or a library; what has no file, as at a prompt, is the user's."""
    if not isinstance(module, str) or module in sys.builtin_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and file.startswith(_INSTALLED)


def _is_written(value: object) -> bool:
    """A method that a dataclass has made of its fields."""
    return isinstance(value, FunctionType) and value.__code__.co_filename == "<string>"


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # nothing has been put there yet
        return None


def _name(value: object) -> str:
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    return f"{getattr(value, '__module__', '')}.{name}"


def _names(code: CodeType) -> list[str]:
    """Every name that the code, and the code within it, may look up in its module."""
    within = (part for part in code.co_consts if isinstance(part, CodeType))
    return sorted({*code.co_names, *(name for part in within for name in _names(part))})


def _texts(function: FunctionType) -> list[str]:
    """The function as Python writes it: one text, more where two lambdas begin on one line, none at a prompt."""
    try:
        lines, _ = inspect.findsource(function)
        nodes = _functions("".join(lines))
    except (OSError, TypeError, SyntaxError):
        return []
    code = function.__code__
    return [text for line, name, text in nodes if (line, name) == (code.co_firstlineno, code.co_name)]


@lru_cache(maxsize=4)
def _functions(text: str) -> list[tuple[int, str, str]]:
    return [
        (min([node.lineno, *_decorated(node)]), getattr(node, "name", "<lambda>"), ast.unparse(node))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.Lambda)
    ]


def _decorated(node: ast.FunctionDef | ast.Lambda) -> list[int]:
    return [decorator.lineno for decorator in getattr(node, "decorator_list", [])]


def _of_code(code: CodeType) -> Iterator[object]:
    """What a function was compiled to, where its text does not tell which it is."""
    yield code.co_code.hex()
    yield list(code.co_names)
    for part in code.co_consts:
        yield list(_of_code(part)) if isinstance(part, CodeType) else source_of(part)
