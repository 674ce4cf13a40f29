"""The place that answers requests: which registered model is behind it, and how a new version gets there."""

from __future__ import annotations

from dataclasses import dataclass, field

from everloop.records.names import check_name
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.canary import AllAtOnce, Canary


@dataclass(frozen=True, slots=True, init=False)
class Endpoint:
    """What a user declares; the server answers at `/v2/models/<model name>/infer`.

    >>> Endpoint("late", model=RegisteredModel("late"), rollout=Canary(steps=(10, 50))).model
    'late'
    """

    name: str
    model: str
    rollout: Canary | AllAtOnce = field(default_factory=Canary)
    description: str = ""

    def __init__(
        self,
        name: str,
        *,
        model: RegisteredModel | str,
        rollout: Canary | AllAtOnce | None = None,
        description: str = "",
    ) -> None:
        check_name(name, "an endpoint")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "model", model if isinstance(model, str) else model.name)
        object.__setattr__(self, "rollout", Canary() if rollout is None else rollout)
        object.__setattr__(self, "description", description)
