"""Names, and which version of a thing is meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import InvalidInput
from everloop.records.names import MODEL_NAME, Reference, check_name, find_reference, get_reference


@pytest.mark.parametrize(
    "text", ["late", "late@", "@3", "Late@3", "late@3 ", "late@-1", "late@0x3", "late@3@4", ""]
)
def test_what_is_no_reference_is_none_and_refused_with_an_example(text: str) -> None:
    """The one reads on, the other says how it is written."""
    assert find_reference(text) is None
    with pytest.raises(InvalidInput) as error:
        get_reference(text)
    assert "late@3" in error.value.next_step


@given(st.from_regex(MODEL_NAME, fullmatch=True), st.integers(0, 999_999_999) | st.sampled_from(["champion"]))
def test_a_reference_is_read_as_it_is_written(name: str, which: int | str) -> None:
    """Any name, with a number or an alias."""
    found = get_reference(f"{name}@{which}")
    assert found == Reference(
        name=name,
        version=which if isinstance(which, int) else None,
        alias=which if isinstance(which, str) else None,
    )
    assert str(found) == f"{name}@{which}"


@pytest.mark.parametrize("name", ["Late", "late-flights", "1late", "", "l" * 101, None, 3])
def test_a_name_that_is_none_is_refused_with_what_one_is(name: object) -> None:
    """Letters that go into a folder, a column and an address alike."""
    with pytest.raises(InvalidInput, match="no name for a dataset") as error:
        check_name(name, "a dataset")
    assert "lower-case" in error.value.next_step


def test_only_a_model_may_have_a_hyphen() -> None:
    """Whoever names one `late-flights` goes on doing so."""
    check_name("late-flights", "a model", pattern=MODEL_NAME)
