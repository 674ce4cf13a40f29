"""What must be known of a way to keep values in a file; filled in once for each, in the files beside this one."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from everloop.settings import Trust
from everloop.storage.blobs import Blobs, BlobWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Where a value belongs, and with whose permission it is kept there: what a format may ask beside the value."""

    name: str
    hint: Any
    pipeline: str
    trust: Trust
    blobs: Blobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How one kind of values is recognised, written and read."""

    name: str
    """As it is in the artifact's row: it says who can read the file."""
    owns: Callable[[Any, Any], bool]
    """Whether it gives back this value, of which the hint is that, as it was."""
    write: Callable[[Any, BlobWriter, Slot], None]
    read: Callable[[io.BufferedReader, Slot], object]
    """From a file whose bytes have been checked."""
    names_others: bool = False
    """Whether the file names other blobs, so that it is whole only while it can be read."""
    comes_back: Callable[[Any], bool] = lambda _value: False
    """Whether reading would give just this value, which nobody can change: then it may be handed on without being read."""
