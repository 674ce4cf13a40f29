"""Records to JSON and back: equal records, equal bytes; what does not fit is refused by name."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import Corrupted
from everloop.records.checks import CheckResult
from everloop.storage.codec import digest_of, dumps, from_json, loads, storable_text, to_json

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
CHECKS = st.recursive(
    st.builds(CheckResult, name=NAMES, passed=st.booleans(), because=NAMES),
    lambda inner: st.builds(
        CheckResult,
        name=NAMES,
        passed=st.booleans(),
        because=NAMES,
        parts=st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=5,
)

ZONES = st.integers(-720, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(timezones=ZONES)


@dataclass(frozen=True)
class Kept:
    """A record with the types that JSON lacks."""

    time: datetime
    counts: dict[int, float]


@given(check=CHECKS)
def test_a_record_comes_back_as_it_was(check: CheckResult) -> None:
    """Through bytes and through a JSON column alike, however deep."""
    assert loads(CheckResult, dumps(check)) == check
    assert from_json(CheckResult, to_json(check)) == check


@given(
    time=TIMES,
    counts=st.dictionaries(st.integers(-99, 99), st.floats(-9, 9)),
)
def test_times_and_keys_that_json_lacks_come_back_too(time: datetime, counts: dict[int, float]) -> None:
    """A time is the same instant, a number as a key is a number again."""
    record = Kept(time, counts)
    assert from_json(Kept, to_json(record)) == record
    assert loads(Kept, dumps(record)) == record


@given(pairs=st.lists(st.tuples(NAMES, st.integers()), unique_by=lambda pair: pair[0]))
def test_equal_values_have_equal_bytes(pairs: list[tuple[str, int]]) -> None:
    """In whatever order they were put together."""
    assert dumps(dict(pairs)) == dumps(dict(reversed(pairs)))
    assert digest_of(dict(pairs)) == digest_of(dict(reversed(pairs)))


def test_a_digest_stays_what_it_was() -> None:
    """What an older version has kept under it is found by this one, and the other way round."""
    record = CheckResult(name="gate", passed=True, because="better")
    assert (
        digest_of({"b": [1, 0.5, None, 1e16], "a": "é", "c": record})
        == "46b84811b4025b1349a153aeb9b2d737b8a1ec1b02c2a2402381eb096d7dcda4"
    )


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"name": 1, "passed": true, "because": ""}', b'{"name": "a"}']
)
def test_what_does_not_fit_is_corrupted(data: bytes) -> None:
    """And never a half-filled record."""
    with pytest.raises(Corrupted, match="stored CheckResult cannot be read"):
        loads(CheckResult, data)


@pytest.mark.parametrize("value", [None, [], {"name": "a"}, {"name": "a", "passed": "true", "because": ""}])
def test_a_column_that_does_not_fit_is_corrupted(value: object) -> None:
    """A text that says true is no truth."""
    with pytest.raises(Corrupted, match="stored CheckResult cannot be read"):
        from_json(CheckResult, value)


@given(text=st.text(st.characters(codec=None)))
def test_any_text_can_be_made_storable(text: str) -> None:
    """It encodes, holds no NUL, keeps its length, and is left alone when it could be kept all along."""
    kept = storable_text(text)
    assert "\0" not in kept.encode().decode()
    assert len(kept) == len(text)
    if kept != text:
        assert any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text)
