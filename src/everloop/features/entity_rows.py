"""The rows that ask for history: their moments and keys on the way in, their places on the way out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from everloop.features import arrays
from everloop.features.arrays import UNKNOWN, Bools, Ints, Unit
from everloop.features.timeline import Lookups
from everloop.features.windows import Values

WHERE = "The rows that ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRows:
    """Rows that ask, in the order of their moments: searches then walk through memory and do not jump."""

    table: pa.Table
    unit: Unit
    moments: Ints
    there: Bools
    """Which rows have a moment, in the order of the rows."""
    order: Ints | None
    """The rows in the order of their moments; None when they came like that."""

    @classmethod
    def of(cls, entities: pa.Table, at: str, unit: Unit) -> EntityRows:
        """Read the moments of the rows."""
        moments, there = arrays.moments(cls.column_of(entities, at), unit, f"{WHERE}: column {at!r}")
        if np.all(moments[1:] >= moments[:-1]):
            return cls(table=entities, unit=unit, moments=moments, there=there, order=None)
        order = np.argsort(moments, kind="stable")
        return cls(table=entities, unit=unit, moments=moments[order], there=there, order=order)

    @staticmethod
    def column_of(entities: pa.Table, name: str) -> pa.ChunkedArray:
        """One column of the rows that ask."""
        return arrays.column(entities, name, WHERE)

    def lookups(self, keys: Ints) -> Lookups:
        """These keys of the rows at their moments; a row without a moment asks for nobody."""
        keys = self.only_timed(keys)
        return Lookups(keys=keys if self.order is None else keys[self.order], moments=self.moments)

    def only_timed(self, keys: Ints) -> Ints:
        """The keys of the rows, unknown where there is no moment."""
        return np.where(self.there, keys, UNKNOWN)

    def in_place(self, answers: Ints) -> Ints:
        """Answers to the lookups in the order of the rows."""
        if self.order is None:
            return answers
        placed = np.empty_like(answers)
        placed[self.order] = answers
        return placed

    def column(self, answers: Values) -> pa.Array:
        """Answers to the lookups as a column beside the rows; null for a row without a moment."""
        if self.order is None:
            return pa.array(answers.numbers, mask=~(answers.there & self.there))
        numbers, there = np.empty_like(answers.numbers), np.empty_like(answers.there)
        numbers[self.order], there[self.order] = answers.numbers, answers.there
        return pa.array(numbers, mask=~(there & self.there))
