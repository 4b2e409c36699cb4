"""Spans and the index over them: slices of columns, and which of them touch a range of ids."""

from collections.abc import Sequence

import pytest

from cyclone.master.spans import Holdings, Span, SpanIndex
from cyclone.protocol.runs import Runs, merge_runs, slice_runs
from tests.support.masters import EPOCH, tasks


def span(first: int, opened: str, attempt: int = 1) -> Span:
    """A span with a row for each character: 1 is open, 0 done. The argument of a task is its id."""
    args = [str(first + row).encode() for row in range(len(opened))]
    found = Span(first, attempt, [(1, len(opened))], args, bytearray(map(int, opened)))
    found.epoch = EPOCH
    return found


def shown(item: Span) -> tuple[int, str, list[bytes]]:
    assert item.open_count == sum(item.open)
    return item.first, "".join(map(str, item.open)), item.args


@pytest.mark.parametrize(
    ("runs", "start", "stop", "expected"),
    [
        ([(1, 5)], 0, 5, [(1, 5)]),
        ([(1, 5)], 2, 3, [(1, 1)]),
        ([(1, 2), (2, 3)], 0, 2, [(1, 2)]),
        ([(1, 2), (2, 3)], 1, 4, [(1, 1), (2, 2)]),
        ([(1, 2), (2, 3), (1, 1)], 5, 6, [(1, 1)]),
        ([(1, 2), (2, 3), (1, 1)], 0, 6, [(1, 2), (2, 3), (1, 1)]),
    ],
)
def test_given_a_column_of_jobs_when_sliced_then_each_row_keeps_its_job(
    runs: Runs, start: int, stop: int, expected: Runs
) -> None:
    assert slice_runs(runs, start, stop) == expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([], [(1, 2)], [(1, 2)]),
        ([(1, 2)], [(1, 3)], [(1, 5)]),
        ([(1, 2)], [(2, 3)], [(1, 2), (2, 3)]),
        ([(3, 1), (1, 2)], [(1, 3), (2, 1)], [(3, 1), (1, 5), (2, 1)]),
    ],
)
def test_given_two_columns_when_merged_then_equal_neighbours_become_one_run(
    left: Runs, right: Runs, expected: Runs
) -> None:
    assert merge_runs(left, right) == expected


def test_given_a_span_when_closed_twice_then_a_task_counts_once() -> None:
    item = span(10, "11111")
    assert item.close(11, 13) == 2
    assert item.close(12, 14) == 1
    assert shown(item)[:2] == (10, "10001")
    assert item.open_ids() == [10, 14]


def test_given_a_leased_span_when_split_then_both_parts_keep_lease_and_columns() -> None:
    left = Span(10, 3, [(1, 2), (2, 2)], [b"a", b"b", b"c", b"d"], bytearray(b"\x01\x00\x01\x01"))
    left.epoch, left.holder, left.seq, left.leased_at = 4, 5, 6, 7.0
    right = left.split(11)
    assert (shown(left), left.runs) == ((10, "1", [b"a"]), [(1, 1)])
    assert (shown(right), right.runs) == ((11, "011", [b"b", b"c", b"d"]), [(1, 1), (2, 2)])
    assert (right.token, right.holder, right.seq, right.leased_at) == ((4, 3), 5, 6, 7.0)


@pytest.mark.parametrize(
    ("opened", "expected"),
    [
        ("1111", [(10, 14)]),
        ("0000", []),
        ("0110", [(11, 13)]),
        ("1011", [(10, 11), (12, 14)]),
        ("0101", [(11, 12), (13, 14)]),
    ],
)
def test_given_a_span_then_its_open_stretches_are_found(opened: str, expected: list[tuple[int, int]]) -> None:
    assert span(10, opened).open_runs() == expected


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (1, 10, []),
        (1, 11, [(10, 10, 11)]),
        (12, 13, [(10, 12, 13)]),
        (13, 20, []),
        (12, 21, [(10, 12, 13), (20, 20, 21)]),
        (1, 99, [(10, 10, 13), (20, 20, 22), (22, 22, 25)]),
        (21, 23, [(20, 21, 22), (22, 22, 23)]),
        (25, 1 << 63, []),
    ],
)
def test_given_spans_when_asked_for_a_range_then_exactly_those_that_touch_it_are_found(
    start: int, stop: int, expected: list[tuple[int, int, int]]
) -> None:
    index = SpanIndex()
    for item in (span(20, "11"), span(10, "111"), span(22, "111")):
        index.add(item)
    assert [(item.first, low, high) for item, low, high in index.overlapping(start, stop)] == expected


def test_given_an_indexed_span_when_split_and_removed_then_the_index_has_the_parts() -> None:
    index = SpanIndex()
    index.add(span(10, "11111"))
    (found, _, _), *_ = index.overlapping(12, 13)
    middle = index.split(found, 12)
    index.split(middle, 13)
    assert [shown(item)[:2] for item in sorted(index, key=lambda item: item.first)] == [
        (10, "11"),
        (12, "1"),
        (13, "11"),
    ]
    index.remove(middle)
    assert [item.first for item, _, _ in index.overlapping(1, 99)] == [10, 13]
    assert len(index) == 2


@pytest.mark.parametrize(
    ("held", "opened", "expected"),
    [
        pytest.param([], "1111", [(10, 14)], id="nothing held"),
        pytest.param([tasks(10, 4)], "1111", [], id="all held"),
        pytest.param([tasks(1, 99)], "1111", [], id="more held"),
        pytest.param([tasks(11, 2)], "1111", [(10, 11), (13, 14)], id="the middle held"),
        pytest.param([tasks(13, 9), tasks(1, 10)], "1111", [(11, 13)], id="the ends held, in any order"),
        pytest.param([tasks(10, 4, attempt=2)], "1111", [(10, 14)], id="another attempt held"),
        pytest.param([tasks(10, 4, epoch=EPOCH - 1)], "1111", [(10, 14)], id="the same attempt of another epoch held"),
        pytest.param([tasks(10, 4, attempt=2), tasks(10, 4)], "1111", [], id="two attempts held"),
        pytest.param([tasks(12, 2)], "0011", [], id="the gap is done"),
        pytest.param([tasks(12, 2)], "0111", [(10, 12)], id="the gap is done in part"),
    ],
)
def test_given_what_a_controller_holds_then_the_gaps_are_the_open_rest_of_the_lease(
    held: Sequence[object], opened: str, expected: list[tuple[int, int]]
) -> None:
    assert Holdings(held).gaps(span(10, opened)) == expected  # type: ignore[arg-type]
