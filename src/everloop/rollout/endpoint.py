"""The place that answers requests: which registered model is behind it, and how a new version gets there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from everloop.errors import InvalidInput
from everloop.records.names import NAME
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.canary import Canary
from everloop.rollout.plan import Plan


@dataclass(frozen=True, slots=True, init=False)
class Endpoint:
    """What a user declares; the server answers at `/v2/models/<model name>/infer`, or at `/v2/models/<name>/infer`.

    It is called like its model, unless it is given another name, which it needs where two endpoints have the same model:
    each is asked by its own then.

    >>> late = Endpoint(model=RegisteredModel("late"), rollout=Canary(steps=(10, 50)))
    >>> late.name, late.model, late.rollout.steps
    ('late', 'late', (10, 50))
    """

    name: str
    model: str
    rollout: Plan = field(default_factory=Canary)

    def __init__(
        self,
        name: str | None = None,
        *,
        model: RegisteredModel | str,
        rollout: Plan | None = None,
    ) -> None:
        # Written out because the name alone is positional, and a model stands for its name.
        called = model if isinstance(model, str) else model.name
        object.__setattr__(self, "name", called if name is None else name)
        object.__setattr__(self, "model", called)
        object.__setattr__(self, "rollout", Canary() if rollout is None else rollout)
        if not NAME.fullmatch(self.name):
            raise InvalidInput(
                f"{self.name!r} cannot name an endpoint; it takes small letters, digits and _, a letter first.",
                next_step=f'name it: Endpoint("{_near(self.name)}", model=…).',
            )
        if isinstance(self.rollout, type) or not isinstance(self.rollout, Plan):
            raise InvalidInput(
                f"endpoint {self.name}: rollout={self.rollout!r} is no plan.",
                next_step="give Canary(…) or AllAtOnce().",
            )


def _near(name: str) -> str:
    """A name that would do."""
    plain = re.sub(r"[^a-z0-9_]+", "_", name.lower()).rstrip("_").lstrip("_0123456789")
    return plain or "predictions"
