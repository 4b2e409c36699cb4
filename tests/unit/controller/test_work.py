"""Pieces of work and their queue; ranges put together; how much work fits into a span of time."""

import pytest

from cyclone.controller.work import Pace, Piece, WorkQueue, coalesce
from cyclone.protocol import limits
from cyclone.protocol.messages import TaskRange
from cyclone.protocol.runs import Runs
from tests.support.controllers import EPOCH, tasks


def piece(first: int, count: int, runs: Runs | None = None, attempt: int = 1) -> Piece:
    """The argument of a task is its id."""
    return Piece(first, EPOCH, attempt, runs or [(1, count)], [b"%d" % (first + row) for row in range(count)])


def shown(queue: WorkQueue) -> list[tuple[int, int]]:
    assert len(queue) == sum(map(len, queue))
    return [(part.first, len(part)) for part in queue]


@pytest.fixture
def queue() -> WorkQueue:
    queue = WorkQueue()
    queue.append(piece(1, 3))
    queue.append(piece(10, 2))
    return queue


def test_given_a_piece_when_a_part_is_cut_then_each_row_keeps_its_job_and_argument() -> None:
    part = piece(10, 6, [(1, 2), (2, 3), (3, 1)]).part(1, 4)
    assert (part.first, part.epoch, part.attempt, part.runs, part.args) == (
        11, EPOCH, 1, [(1, 1), (2, 2)], [b"11", b"12", b"13"],
    )  # fmt: skip
    assert [part.job_at(row) for row in range(3)] == [1, 2, 2]
    assert part.range(1, 3) == tasks(12, 2)
    with pytest.raises(IndexError):
        part.job_at(3)


@pytest.mark.parametrize(
    ("count", "taken", "left"),
    [(1, (1, 1), [(2, 2), (10, 2)]), (3, (1, 3), [(10, 2)]), (4, (1, 3), [(10, 2)])],
)
def test_given_a_queue_when_taken_from_then_the_front_of_one_piece_goes(
    queue: WorkQueue, count: int, taken: tuple[int, int], left: list[tuple[int, int]]
) -> None:
    got = queue.take(count)
    assert (got.first, len(got)) == taken
    assert shown(queue) == left
    queue.prepend(got)
    assert shown(queue)[0] == taken


@pytest.mark.parametrize(
    ("count", "taken", "left"),
    [
        (0, [], [(1, 3), (10, 2)]),
        (1, [(11, 1)], [(1, 3), (10, 1)]),
        (4, [(10, 2), (2, 2)], [(1, 1)]),
        (9, [(10, 2), (1, 3)], []),
    ],
)
def test_given_a_queue_when_taken_back_from_then_the_end_goes(
    queue: WorkQueue, count: int, taken: list[tuple[int, int]], left: list[tuple[int, int]]
) -> None:
    assert [(part.first, len(part)) for part in queue.take_back(count)] == taken
    assert shown(queue) == left


@pytest.mark.parametrize(
    ("unwanted", "left"),
    [
        ([], [(1, 3), (10, 2)]),
        ([tasks(2)], [(1, 1), (3, 1), (10, 2)]),
        ([tasks(1, 3)], [(10, 2)]),
        ([tasks(3, 8)], [(1, 2), (11, 1)]),
        ([tasks(1, 99, attempt=2), tasks(1, 99, epoch=6)], [(1, 3), (10, 2)]),
        ([tasks(1), tasks(3), tasks(10, 2)], [(2, 1)]),
    ],
)
def test_given_what_is_no_longer_ours_then_exactly_that_lease_is_forgotten(
    queue: WorkQueue, unwanted: list[TaskRange], left: list[tuple[int, int]]
) -> None:
    queue.discard(unwanted)
    assert shown(queue) == left


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], []),
        ([tasks(3, 2), tasks(1, 2)], [tasks(1, 4)]),
        ([tasks(1, 2), tasks(4, 2)], [tasks(1, 2), tasks(4, 2)]),
        ([tasks(1, 3), tasks(2, 5)], [tasks(1, 6)]),
        ([tasks(2, 2), tasks(1, 6)], [tasks(1, 6)]),
        ([tasks(1, 2), tasks(3, 2, attempt=2)], [tasks(1, 2), tasks(3, 2, attempt=2)]),
        ([tasks(1, 2), tasks(3, 2, epoch=6)], [tasks(3, 2, epoch=6), tasks(1, 2)]),
    ],
)
def test_given_ranges_then_neighbours_of_one_lease_become_one(
    ranges: list[TaskRange], expected: list[TaskRange]
) -> None:
    assert coalesce(ranges) == expected


@pytest.mark.parametrize(
    ("means", "runs", "rows"),
    [
        pytest.param({}, [(1, 9)], 1, id="an unknown job: one, to learn from"),
        pytest.param({1: 0.001}, [(1, 9)], 4, id="as many as fit"),
        pytest.param({1: 0.001}, [(1, 3)], 3, id="no more than there are"),
        pytest.param({1: 1.0}, [(1, 9)], 1, id="at least one"),
        pytest.param({1: 1e-6}, [(1, 99)], 6, id="no more than the bound"),
        pytest.param({1: 0.001}, [(1, 2), (2, 9)], 2, id="up to a job that is unknown"),
        pytest.param({1: 0.001, 2: 0.0005}, [(1, 2), (2, 9)], 6, id="what is left of the time for the next job"),
        pytest.param({1: 0.001, 2: 1.0}, [(1, 2), (2, 9)], 2, id="nothing left for a long one"),
    ],
)
def test_given_mean_times_then_rows_fill_four_milliseconds(means: dict[int, float], runs: Runs, rows: int) -> None:
    pace = Pace()
    for job, mean_s in means.items():
        pace.learn([(job, 1)], 1, mean_s)
    count = sum(count for _, count in runs)
    assert pace.rows_within(piece(1, count, runs), 0.0041, 6) == rows


def test_given_reports_then_the_means_follow_them() -> None:
    pace = Pace()
    pace.learn([(1, 10)], 10, 1.0)
    pace.learn([(1, 10)], 10, 2.0)
    assert pace.overall_s == pace.mean_s(1) == pytest.approx(0.15)
    pace.learn([(1, 1), (2, 1)], 2, 0.0)
    assert pace.mean_s(1) == pytest.approx(0.15)
    assert pace.mean_s(2) == 1e-7


@pytest.mark.parametrize(
    ("reports", "mean_s"),
    [
        pytest.param([(1, 9.0), (8, 8.0)], 17 / 9, id="a first task of nine times the length counts for one"),
        pytest.param([(1, 1.0), (1, 2.0), (1, 3.0)], 2.0, id="the first ones are averaged"),
        pytest.param([(100, 100.0), (1, 2.0)], 1.3, id="a change is followed within a few reports"),
        pytest.param([(100, 100.0), (1, 99.0)], 1.9, id="a single long one counts for no more than four"),
    ],
)
def test_given_reports_of_so_many_rows_then_the_mean_is_near_what_comes_next(
    reports: list[tuple[int, float]], mean_s: float
) -> None:
    pace = Pace()
    for rows, busy_s in reports:
        pace.learn([(1, rows)], rows, busy_s)
    assert pace.overall_s == pace.mean_s(1) == pytest.approx(mean_s)


def test_given_a_piece_that_goes_on_from_the_last_when_queued_then_they_make_one_batch() -> None:
    queue = WorkQueue()
    queue.append(Piece(1, 7, 1, [(1, 2)], [b"a", b"b"]))
    queue.append(Piece(3, 7, 1, [(2, 1)], [b"c"]))
    taken = queue.take(9)
    assert (taken.first, taken.runs, taken.args, len(queue)) == (1, [(1, 2), (2, 1)], [b"a", b"b", b"c"], 0)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Piece(4, 7, 1, [(1, 1)], [b"c"]), id="a gap"),
        pytest.param(Piece(3, 8, 1, [(1, 1)], [b"c"]), id="another epoch"),
        pytest.param(Piece(3, 7, 2, [(1, 1)], [b"c"]), id="another attempt"),
        pytest.param(Piece(3, 7, 1, [(1, 1)], [bytes(limits.BATCH_BYTES_TARGET)]), id="too large together"),
    ],
)
def test_given_any_other_piece_when_queued_then_it_stays_by_itself(other: Piece) -> None:
    queue = WorkQueue()
    queue.append(Piece(1, 7, 1, [(1, 2)], [b"a", b"b"]))
    queue.append(other)
    assert len(queue.take(9)) == 2
    assert queue.take(9) is other
