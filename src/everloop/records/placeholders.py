"""What stands in a pipeline for a value that only a run has: to be handed to a step, and nothing else.

Declarations give it where a type checker sees the value itself (`renewals.rows`, `churn.champion`).
"""

from __future__ import annotations

from typing import NoReturn

from everloop.errors import ProjectError


class Placeholder:
    """Refuses what would otherwise answer at once and quietly, with something that is not the value."""

    __slots__ = ()

    def __bool__(self) -> bool:
        self._refuse()

    def __str__(self) -> str:
        self._refuse()

    def __format__(self, spec: str) -> str:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ProjectError(
            f"a pipeline cannot branch on {self!r}, compare it or print it: it is traced before it runs.",
            next_step="do it inside a step.",
        )
