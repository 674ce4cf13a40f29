"""Where things are kept and with whose permission: one frozen tree, read once from everloop.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from keyword import iskeyword
from pathlib import Path
from typing import Any

from everloop.errors import ProjectError

FILE = "everloop.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Rows, artifacts and tables."""

    folder: str = ".everloop"
    """Holds the database, the artifacts and the tables. Change it to keep them on another disk."""
    database: str = ""
    """Empty means SQLite in `folder`. For a team: postgresql://user@host/name."""

    def __post_init__(self) -> None:
        if not self.folder:
            raise ProjectError(
                '[storage] folder is empty; write folder = "." for the project\'s own folder.',
                next_step='write folder = ".everloop", which is the default.',
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSettings:
    """Which clock the workspace lives by."""

    file: str = ""
    """A file that holds the time, for replays and demos. Empty means the machine's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What may be loaded that could run code; the list never comes from the file that is loaded."""

    pickle: tuple[str, ...] = ()
    """Pipelines whose step outputs may be pickled. Name one only if you trust everybody who can write its code."""
    skops: tuple[str, ...] = ()
    """Further types that scikit-learn models may hold, by full name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where the prediction server listens."""

    host: str = "127.0.0.1"
    """Loopback by default. Use 0.0.0.0 behind a proxy that authenticates."""
    port: int = 8080
    """0 takes a free port and prints it."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ProjectError(
                f"[serving] port is {self.port}; it must be 0 to 65535.",
                next_step="choose one; 0 takes any that is free.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How runs are executed."""

    poll_seconds: float = 1.0
    """How often `everloop up` looks for work and for reasons to start it."""
    executor: str = "in_process"
    """What does the steps of a run: `in_process` is the worker itself, one after the other; `process` is fresh processes
    beside it, for branches that can run side by side, and for steps that may take their process with them."""

    def __post_init__(self) -> None:
        if not 0 < self.poll_seconds <= 3_600:
            raise ProjectError(
                f"[worker] poll_seconds is {self.poll_seconds:g}; it must be above 0, at most 3600.",
                next_step="write 1, which is the default.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it, and the folder that it was read from."""

    root: Path
    module: str
    """The project's Python module; importing it is enough to know the project."""
    storage: Storage = field(default_factory=Storage)
    clock: ClockSettings = field(default_factory=ClockSettings)
    trust: Trust = field(default_factory=Trust)
    serving: Serving = field(default_factory=Serving)
    worker: WorkerSettings = field(default_factory=WorkerSettings)

    @property
    def folder(self) -> Path:
        """The storage folder as an absolute path."""
        return (self.root / self.storage.folder).resolve()


_WANTED: Mapping[object, str] = {str: "a text", int: "a whole number", float: "a number"}

_SECTIONS: Mapping[str, type[Any]] = {
    "storage": Storage,
    "clock": ClockSettings,
    "trust": Trust,
    "serving": Serving,
    "worker": WorkerSettings,
}


def find_root(start: Path) -> Path:
    """The nearest folder, from here upward, that holds an everloop.toml."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / FILE).is_file():
            return folder
    raise ProjectError(
        f"no {FILE} in {start.resolve()} or above it.",
        next_step="go to your project's folder, or make one with `everloop init DIR`.",
    )


def load_settings(root: Path) -> Settings:
    """Read `root/everloop.toml`; an unknown key or a wrong type is refused and named."""
    path = root / FILE
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(
            f"{path} does not exist.", next_step="make a project with `everloop init DIR`."
        ) from None
    except OSError as error:
        raise ProjectError(
            f"{path} cannot be read: {error.strerror}.", next_step="see that it may be read."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(
            f"{path} is not valid TOML: {error}.", next_step="correct it at that place."
        ) from None
    project = _table(path, tree.pop("project", None), "project")
    module = project.pop("module", None)
    if not isinstance(module, str) or not module.isidentifier() or iskeyword(module):
        raise ProjectError(
            f'{path}: [project] needs module = "name", the Python module beside it.',
            next_step='write module = "name" below [project].',
        )
    _refuse_unknown(path, "project", project)
    sections = {name: _section(path, name, kind, tree.pop(name, {})) for name, kind in _SECTIONS.items()}
    _refuse_unknown(path, "", tree)
    return Settings(root=root.resolve(), module=module, **sections)


def _section(path: Path, name: str, kind: type[Any], raw: object) -> Any:
    table = _table(path, raw, name)
    values: dict[str, object] = {}
    for known in fields(kind):
        if known.name in table:
            values[known.name] = _typed(path, f"[{name}] {known.name}", known.type, table.pop(known.name))
    _refuse_unknown(path, name, table)
    return kind(**values)


def _typed(path: Path, where: str, kind: object, value: object) -> object:
    if kind is str and isinstance(value, str):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind not in _WANTED and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ProjectError(
        f"{path}: {where} is {value!r}; it must be {_WANTED.get(kind, 'a list of texts')}.",
        next_step="correct it.",
    )


def _table(path: Path, raw: object, name: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ProjectError(
            f"{path}: a section [{name}] is needed." if raw is None else f"{path}: {name} must be a section.",
            next_step=f"write [{name}] on a line of its own, and its settings below.",
        )
    return dict(raw)


def _refuse_unknown(path: Path, section: str, left: Mapping[str, object]) -> None:
    if left:
        where = f"[{section}]" if section else "the file"
        raise ProjectError(
            f"{path}: {where} has no {', '.join(sorted(left))}; nothing is ignored, so take it out.",
            next_step="take it out, or correct its name.",
        )
