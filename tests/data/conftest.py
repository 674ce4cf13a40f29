"""A workspace whose clock a test moves by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from everloop.settings import Settings
from everloop.storage.ids import id_maker
from everloop.storage.workspace import Workspace, open_workspace

Rows = Callable[..., pa.Table]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty workspace in January."""
    opened = open_workspace(Settings(root=tmp_path, module="project"))
    january = datetime(2013, 1, 31, 23, tzinfo=UTC)
    yield replace(opened, now=lambda: january, new_id=id_maker(lambda: january))
    opened.close()


@pytest.fixture
def weather() -> Rows:
    """Makes a batch of weather: hourly, in Fahrenheit, a little different each time."""

    def make(month: int = 1, *, warmer: float = 0.0, celsius: bool = False, rows: int = 400) -> pa.Table:
        temps = [35.0 + warmer + (n * 7 + month * 3) % 29 for n in range(rows)]
        if celsius:
            temps = [(temp - 32) / 1.8 for temp in temps]
        return pa.table(
            {
                "id": pa.array(range(month * 10_000, month * 10_000 + rows)),
                "origin": [("EWR", "JFK", "LGA")[n % 3] for n in range(rows)],
                "temp": temps,
                "gust": [None if n % 5 == 0 else float(n % 11) for n in range(rows)],
            }
        )

    return make
