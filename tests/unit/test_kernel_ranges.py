"""What a Range header asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kernel.ranges import RangeNotSatisfiable, Span, span


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_range_is_cut_to_what_there_is(size: int, first: int, last: int) -> None:
    asked = f"bytes={first}-{last}"
    if last < first:
        assert span(asked, size) is None
    elif first >= size:
        with pytest.raises(RangeNotSatisfiable):
            span(asked, size)
    else:
        assert span(asked, size) == Span(first, min(last + 1, size))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("bytes=5-", Span(5, 10)),
        ("bytes=-3", Span(7, 10)),
        ("bytes=-30", Span(0, 10)),
        ("Bytes = 0 - 0", Span(0, 1)),
    ],
)
def test_ranges_we_need_not_know_mean_the_whole(asked: str, found: Span | None) -> None:
    assert span(asked, 10) == found


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=-0", "bytes=11-12"])
def test_ranges_without_a_byte_cannot_be_satisfied(asked: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        span(asked, 10)
