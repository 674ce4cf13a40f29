"""What a function is, as text: it changes when what the function does may have changed, and else it does not.

Called by `Metric` for the digest that is kept beside its numbers. Comments and layout do not count; what the function closes
over, and what it names of its own module and of other modules of the project, does.
"""

from __future__ import annotations

import ast
import inspect
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType

# Libraries and everloop itself are kept by their versions, and are not read.
_KEPT = {str(Path(sysconfig.get_path(name))) for name in ("purelib", "platlib", "stdlib")}
_INSTALLED = (*_KEPT, str(Path(__file__).parents[1]))
_Above = tuple[object, ...]


def source_of(value: object, above: _Above = ()) -> object:
    """The source as nested lists of text, to be taken a digest of.

    >>> source_of(lambda score: score * 2) == source_of(lambda score: score * 3)
    False
    """
    if any(value is one for one in above):
        return ["above", type(value).__name__]  # it holds itself, and has been told of
    if isinstance(value, FunctionType):
        return _of_function(value, (*above, value))
    if isinstance(value, partial):
        parts = (value.func, value.args, value.keywords)
        return ["partial", *(source_of(part, above) for part in parts)]
    if isinstance(value, MethodType):
        return ["method", source_of(value.__func__, above), source_of(value.__self__, above)]
    return _of_value(value, (*above, value))


def _of_function(function: FunctionType, above: _Above) -> object:
    code = function.__code__
    if code.co_filename.startswith(_INSTALLED):
        return ["named", _name(function)]
    held = [_content(cell) for cell in function.__closure__ or ()]
    named = {name: function.__globals__.get(name) for name in _names(code)}
    texts = _texts(function)
    return [
        "function",
        *(texts if len(texts) == 1 else (*texts, *_of_code(code))),
        *(source_of(value, above) for value in (held, function.__defaults__, function.__kwdefaults__)),
        *([name, source_of(value, above)] for name, value in named.items() if value is not None),
    ]


def _of_value(value: object, above: _Above) -> object:
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return [type(value).__name__, repr(value)]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *(source_of(part, above) for part in value)]
    if isinstance(value, set | frozenset):
        return [type(value).__name__, *sorted(str(source_of(part, above)) for part in value)]
    if isinstance(value, Mapping):
        pairs = [[source_of(key, above), source_of(part, above)] for key, part in value.items()]
        return [type(value).__name__, *pairs]
    # A class, a module, a function of C, or a thing of some class: its name has to do.
    return ["named", _name(value if hasattr(value, "__name__") else type(value))]


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
        yield list(_of_code(part)) if isinstance(part, CodeType) else _of_value(part, ())
