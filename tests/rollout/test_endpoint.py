"""An endpoint is called like its model, unless it is given another name."""

from __future__ import annotations

import pytest

from everloop.errors import InvalidInput
from everloop.registry.model_names import RegisteredModel
from everloop.rollout.endpoint import Endpoint


def test_it_is_called_like_its_model() -> None:
    """Or as it is said; a name of a model stands for the model."""
    churn = RegisteredModel("churn")
    assert (Endpoint(model=churn).name, Endpoint(model="churn").name) == ("churn", "churn")
    assert Endpoint("leavers", model=churn).name == "leavers"


@pytest.mark.parametrize(
    ("model", "name"), [("churn-eu", "churn_eu"), ("x1-", "x1"), ("été", "t"), ("42", "predictions")]
)
def test_a_model_whose_name_is_none_for_an_endpoint_says_one_that_is(model: str, name: str) -> None:
    """Models may have a dash in their names, endpoints may not."""
    with pytest.raises(InvalidInput) as error:
        Endpoint(model=model)
    assert f'Endpoint("{name}", model=…)' in error.value.next_step
    assert Endpoint(name, model=model).model == model


def test_what_is_no_plan_is_refused() -> None:
    """At once, and not when the first challenger comes."""
    with pytest.raises(InvalidInput, match="is no plan"):
        Endpoint(model="churn", rollout="canary")  # type: ignore[arg-type]
