"""How a project names a registered model, and the version that an alias means."""

from dataclasses import dataclass

from everloop.records.models import CHALLENGER, CHAMPION
from everloop.records.names import MODEL_NAME, check_name


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
        check_name(self.name, "a model", pattern=MODEL_NAME)

    @property
    def champion(self) -> ModelAlias:
        """The version in production."""
        return ModelAlias(self.name, CHAMPION)

    @property
    def challenger(self) -> ModelAlias:
        """The version that may become champion."""
        return ModelAlias(self.name, CHALLENGER)
