"""The small parts that count: histograms, marks, labels, durations."""

import math
import random
from bisect import bisect_left

import msgspec
import pytest

from cyclone.metrics.durations import durations
from cyclone.metrics.histogram import Histogram
from cyclone.metrics.labels import OTHER, ClassLabels
from cyclone.metrics.marks import Marks
from cyclone.protocol.messages import ResultColumns
from cyclone.results import encode_columns, pack_seconds

BOUNDS = (0.01, 0.1, 1.0)


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        (0.0, (1, 0, 0, 0)),
        (0.01, (1, 0, 0, 0)),
        (0.010001, (0, 1, 0, 0)),
        (1.0, (0, 0, 1, 0)),
        (1.5, (0, 0, 0, 1)),
    ],
)
def test_given_a_value_when_observed_then_it_counts_below_the_bound_that_it_does_not_exceed(
    value: float, counts: tuple[int, ...]
) -> None:
    one, many = Histogram(BOUNDS), Histogram(BOUNDS)
    one.observe(value)
    many.observe_each([value])
    assert one.buckets() == many.buckets() == (BOUNDS, counts, value)


def test_given_many_values_when_observed_together_then_it_is_as_if_one_by_one() -> None:
    chance = random.Random(1)
    for size in (1, 2, 3, 10, 1000):
        values = [chance.choice([0.01, 0.1, 1.0, 10 ** chance.uniform(-4, 2)]) for _ in range(size)]
        together = Histogram(BOUNDS)
        together.observe_each(values)
        counts = [0] * (len(BOUNDS) + 1)
        for value in values:
            counts[bisect_left(BOUNDS, value)] += 1
        assert together.buckets().counts == tuple(counts)
        assert together.buckets().total == pytest.approx(math.fsum(values))


def test_given_no_values_when_observed_then_nothing_counts() -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe_each([])
    assert histogram.buckets() == (BOUNDS, (0, 0, 0, 0), 0.0)


def test_given_buckets_that_were_taken_when_more_is_observed_then_they_stay_as_they_are() -> None:
    histogram = Histogram(BOUNDS)
    taken = histogram.buckets()
    histogram.observe(0.5, 3)
    assert taken.counts == (0, 0, 0, 0)
    assert histogram.buckets() == (BOUNDS, (0, 0, 3, 0), 1.5)


def test_given_blocks_when_asked_in_order_then_each_task_is_as_old_as_its_block() -> None:
    marks = Marks(start=5.0)
    marks.offered(11, 20.0)
    marks.offered(21, 30.0)
    assert [marks.offered_at(task) for task in (3, 10, 11, 20, 21, 99)] == [5.0, 5.0, 20.0, 20.0, 30.0, 30.0]


def test_given_more_blocks_than_it_keeps_when_asked_then_no_task_seems_younger_and_few_much_older() -> None:
    marks = Marks(start=0.0, marks_max=8)
    for block in range(100):
        marks.offered(1 + 10 * block, float(block))
    ages = [marks.offered_at(1 + 10 * block) for block in range(100)]
    assert all(at <= block for block, at in enumerate(ages))
    assert ages == sorted(ages)
    assert len(set(ages)) >= 4


def test_given_more_classes_than_it_names_when_asked_then_the_later_ones_share_a_label() -> None:
    labels = ClassLabels(classes_max=2)
    assert [labels.of(name) for name in ("a:A", "b:B", "c:C", "a:A", "d:D")] == ["a:A", "b:B", OTHER, "a:A", OTHER]


def test_given_a_body_when_read_then_its_durations_are_found_whatever_the_values_are() -> None:
    columns = ResultColumns([b"\xc0", b"\xc4\x03abc"], pack_seconds([0.25, 1.5]), 100.0, 42)
    found = durations(encode_columns(columns), 2)
    assert found is not None and list(found) == [0.25, 1.5]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x92\xc0",
        encode_columns(ResultColumns([b"\xc0"], pack_seconds([0.25]), 100.0, 42)),
        encode_columns(ResultColumns([b"\xc0"] * 2, b"torn", 100.0, 42)),
        *(
            encode_columns(ResultColumns([b"\xc0"] * 2, pack_seconds([wrong, 1.0]), 100.0, 42))
            for wrong in (math.nan, math.inf, -1.0, 1e12)
        ),
        msgspec.msgpack.encode({"values": 1}),
    ],
)
def test_given_a_body_that_holds_something_else_when_read_then_there_are_no_durations(body: bytes) -> None:
    assert durations(body, 2) is None
