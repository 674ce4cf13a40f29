"""Ids: RFC 9562 to the bit, and in the order in which they were made."""

import threading
import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from everloop.storage.ids import id_maker, uuid7

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(time=TIMES, bits=st.integers(0, 2**74 - 1))
def test_each_bit_is_where_the_standard_puts_it(time: datetime, bits: int) -> None:
    """48 bits of milliseconds, the version 7, 12 random bits, the variant 10, 62 random bits."""
    made = uuid.UUID(uuid7(time, bits))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == (time - EPOCH) // timedelta(milliseconds=1)
    assert (made.int >> 64 & 0xFFF) << 62 | made.int & (2**62 - 1) == bits


def test_the_example_of_the_standard() -> None:
    """RFC 9562, appendix A.6."""
    time = datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)
    assert uuid7(time, 0xCC3 << 62 | 0x18C4DC0C0C07398F) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(times=st.lists(TIMES, min_size=2, max_size=50), draws=st.randoms(use_true_random=False))
def test_ids_sort_in_the_order_of_making(times: list[datetime], draws: object) -> None:
    """Whatever the clock does: it may stand still, and it may go back."""
    left = list(times)
    make = id_maker(lambda: left.pop(0), draws.getrandbits)  # type: ignore[attr-defined]
    made = [make() for _ in times]
    assert made == sorted(set(made))


@given(time=TIMES)
def test_ids_sort_also_when_chance_is_at_its_worst(time: datetime) -> None:
    """All random bits set: the counting goes over into the next millisecond, and on."""
    make = id_maker(lambda: time, lambda bits: 2**bits - 1)
    made = [make() for _ in range(20)]
    assert made == sorted(set(made))


def test_ids_sort_by_time() -> None:
    """A millisecond later is greater, whoever made them."""
    time = datetime(2013, 1, 1, tzinfo=UTC)
    assert uuid7(time, 2**74 - 1) < uuid7(time + timedelta(milliseconds=1), 0)


def test_threads_never_get_the_same_id() -> None:
    """Four threads at a clock that stands still."""
    make = id_maker(lambda: EPOCH + timedelta(days=1))
    made: list[str] = []

    def many() -> None:
        made.extend(make() for _ in range(500))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 2000
