"""Import a user's module, so that what it declares is known; what goes wrong in it is one sentence with its place."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from everloop.errors import EverloopError, ProjectError
from everloop.metadata.provenance import python_files, sources_digest
from everloop.project.declarations import Declarations, find_declarations
from everloop.settings import Settings, find_root, load_settings

_LOADED: dict[Path, str] = {}
"""What this process has imported, by the project's folder: the digest of its files at that time."""


def load_declarations(start: Path) -> Declarations:
    """Read everloop.toml from here or above, import the module beside it, and check what it declares.

    Files that have changed since this process imported them are imported anew, so that a notebook need not be restarted.
    """
    settings = load_settings(find_root(start))
    sources = sources_digest(settings.root)
    if _LOADED.get(settings.root, sources) != sources:
        _unload_modules(settings.root)
    module = _import(settings)
    _LOADED[settings.root] = sources
    return find_declarations(settings, vars(module).values(), sources=sources)


def _unload_modules(root: Path) -> None:
    files = {str(path.resolve()) for path in python_files(root)}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and str(Path(file).resolve()) in files:
            del sys.modules[name]
    importlib.invalidate_caches()


def _import(settings: Settings) -> ModuleType:
    root = str(settings.root)
    # First of all, whatever other project this process has opened since.
    sys.path[:] = [root, *(folder for folder in sys.path if folder != root)]
    try:
        module = importlib.import_module(settings.module)
    except EverloopError as error:
        text = error.reason if root in error.reason else f"{_where(error, root)}: {error.reason}"
        raise ProjectError(text, next_step=error.next_step) from error
    except ModuleNotFoundError as error:
        if error.name == settings.module:
            raise _no_module(settings) from None
        top = (error.name or "").partition(".")[0]
        raise ProjectError(
            f"{_where(error, root)}: {error}.", next_step=f"`pip install {top}`, or take the import out."
        ) from error
    except SystemExit as error:
        raise ProjectError(
            f"{_where(error, root)}: the module ends the program while it is imported.",
            next_step='put what it does as a script below `if __name__ == "__main__":`.',
        ) from error
    except Exception as error:  # a user's module may fail in any way while it is imported
        raise ProjectError(
            f"{_where(error, root)}: {_said(error)}", next_step="correct it, and give the command again."
        ) from error
    return _from_here(settings, module)


def _from_here(settings: Settings, module: ModuleType) -> ModuleType:
    """A module of this name may be installed, or belong to another project of this process."""
    if module.__file__ is None:
        raise _no_module(settings)  # a folder of that name, which Python takes for a package
    here = Path(module.__file__).resolve()
    if settings.root not in here.parents:
        raise ProjectError(
            f"the module {settings.module} was found at {here}, not in {settings.root}.",
            next_step="give your module a name that no other has, here and in everloop.toml.",
        )
    return module


def _no_module(settings: Settings) -> ProjectError:
    return ProjectError(
        f"there is no {settings.module}.py in {settings.root}, which everloop.toml names.",
        next_step=f'write it, or change module = "{settings.module}" in everloop.toml.',
    )


def _where(error: BaseException, root: str) -> str:
    """The last line of the project's own that led to the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "the project cannot be imported"


def _said(error: Exception) -> str:
    """The error as Python prints it, with its guess at what was meant."""
    lines = list(traceback.TracebackException.from_exception(error).format_exception_only())
    return lines[-1].strip().rstrip(".?") + ("?" if lines[-1].strip().endswith("?") else ".")
