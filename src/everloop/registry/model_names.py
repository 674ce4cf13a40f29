"""How a project names a registered model, and the version that an alias means."""

import re
from dataclasses import dataclass

from everloop.errors import InvalidInput
from everloop.records.models import CHALLENGER, CHAMPION

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,99}")


@dataclass(frozen=True, slots=True)
class ModelAlias:
    """The version that an alias points at when a run begins."""

    model: str
    alias: str


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """The name under which versions of a model live.

    >>> late = RegisteredModel("late")
    >>> late.champion
    ModelAlias(model='late', alias='champion')
    """

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                f"{self.name!r} cannot name a model; use small letters, digits, - and _, a letter first."
            )

    @property
    def champion(self) -> ModelAlias:
        """The version in production."""
        return ModelAlias(self.name, CHAMPION)

    @property
    def challenger(self) -> ModelAlias:
        """The version that may become champion."""
        return ModelAlias(self.name, CHALLENGER)
