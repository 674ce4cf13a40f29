"""How a project names a registered model: its gate, and the versions that its aliases mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from everloop.errors import InvalidInput
from everloop.records.checks import Check
from everloop.records.models import CHALLENGER, CHAMPION
from everloop.records.names import MODEL_NAME, check_name
from everloop.records.placeholders import Placeholder

if TYPE_CHECKING:
    from everloop.models.model import Model


@dataclass(frozen=True, slots=True, repr=False)
class ModelAlias(Placeholder):
    """The version that an alias points at when a run begins."""

    model: str
    alias: str

    def __repr__(self) -> str:
        return f"model {self.model}@{self.alias}"


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """The name under which versions of a model live, and the gate that each of them has to pass.

    >>> useful = Check[float]("useful", lambda score: (score > 0.5, f"{score} against 0.5"))
    >>> late = RegisteredModel("late", gate=useful)
    >>> late.champion
    model late@champion
    """

    name: str
    gate: Check[Any] | None = field(default=None, kw_only=True)
    """Asked of what a pipeline evaluated, before a version is registered; a version that no gate has looked at can never
    carry an alias."""

    def __post_init__(self) -> None:
        check_name(self.name, "a model", pattern=MODEL_NAME)
        if self.gate is not None and not isinstance(self.gate, Check):
            raise InvalidInput(
                f"the gate of model {self.name} is {self.gate!r}, which is no check.",
                next_step='join checks by & and |: gate=beats("constant") & not_worse(margin=0.03)',
            )

    @property
    def champion(self) -> Model | None:
        """What a pipeline hands to a step: the version in production, or None while there is none."""
        return cast("Model | None", ModelAlias(self.name, CHAMPION))

    @property
    def challenger(self) -> Model | None:
        """What a pipeline hands to a step: the version that may become champion, or None while there is none."""
        return cast("Model | None", ModelAlias(self.name, CHALLENGER))
