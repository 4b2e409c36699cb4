"""The two figures of mixed durations, as tables of small runs that can be checked by hand. Times in seconds."""

import itertools
import random

import pytest

from cyclone.bench import mixed
from cyclone.bench.mixed import Ran
from cyclone.protocol import states
from cyclone.protocol.messages import ResultColumns
from cyclone.results import RecordedBlock, encode_columns, pack_seconds
from cyclone.values import encode
from task_generators.benchmark import mixed_ms


def runs(*rows: tuple[int, float, float, str]) -> list[Ran]:
    """Tasks in order of their ids: ``(task id, started, seconds, worker)``; each took as long as it was meant to."""
    return sorted(Ran(task_id, seconds, started, seconds, (worker, 1)) for task_id, started, seconds, worker in rows)


def test_given_recorded_blocks_then_their_tasks_come_in_first_come_order() -> None:
    def block(first: int, started: float, pid: int) -> RecordedBlock:
        columns = ResultColumns([encode(None)] * 2, pack_seconds([0.5, 0.25]), started, pid)
        statuses = bytes([states.COMPLETED] * 2)
        args = [encode([500.0]), encode([250.0])]
        return RecordedBlock(first, 1, [("tasks:Sleep", 2)], args, statuses, None, encode_columns(columns), "c1")

    assert mixed.ran([block(3, 20.0, 8), block(1, 10.0, 7)]) == [
        Ran(1, 0.5, 10.0, 0.5, ("c1", 7)),
        Ran(2, 0.25, 10.5, 0.25, ("c1", 7)),
        Ran(3, 0.5, 20.0, 0.5, ("c1", 8)),
        Ran(4, 0.25, 20.5, 0.25, ("c1", 8)),
    ]


@pytest.mark.parametrize(
    ("durations_s", "workers", "best_s", "listed_s"),
    [
        pytest.param([1.0], 4, 1.0, 1.0, id="the longest task"),
        pytest.param([1.0] * 8, 4, 2.0, 2.0, id="the even share"),
        pytest.param([1.0, 1.0, 2.0], 2, 2.0, 3.0, id="a long one at the end"),
        pytest.param([2.0, 1.0, 1.0], 2, 2.0, 2.0, id="a long one at the beginning"),
    ],
)
def test_given_durations_then_no_schedule_beats_the_bound_and_first_come_takes_what_it_takes(
    durations_s: list[float], workers: int, best_s: float, listed_s: float
) -> None:
    assert mixed.best_s(durations_s, workers) == best_s
    assert mixed.listed_s(durations_s, workers) == listed_s


def test_given_few_tasks_then_the_bound_is_below_the_best_of_all_orders_and_close_to_it() -> None:
    rng = random.Random(1)
    for workers in (1, 2, 3):
        durations_s = [rng.random() for _ in range(6)]
        # One of all list schedules is optimal.
        optimum_s = min(mixed.listed_s(order, workers) for order in itertools.permutations(durations_s))
        assert optimum_s / (4 / 3) <= mixed.best_s(durations_s, workers) <= optimum_s + 1e-9


def test_given_the_durations_of_the_benchmark_then_the_bound_is_as_good_as_the_optimum() -> None:
    for seed in range(5):
        durations_s = [milliseconds / 1000 for milliseconds in mixed_ms(400, seed)]
        longest_first_s = mixed.listed_s(sorted(durations_s, reverse=True), 4)
        assert longest_first_s <= 1.0001 * mixed.best_s(durations_s, 4)


def test_given_a_wall_time_then_it_is_compared_with_the_best_and_with_the_first_come_schedule() -> None:
    tasks = runs((1, 0.0, 1.0, "a"), (2, 0.0, 1.0, "b"), (3, 1.0, 2.0, "a"))
    assert mixed.schedule(tasks, 2, 3.3) == {
        "best_s": 2.0,
        "wall_s": 3.3,
        "wall_over_best": 1.65,
        "first_come_over_best": 1.5,
        "wall_over_first_come": 1.1,
    }


LONG = (10, 1.0, 10.0, "a")


@pytest.mark.parametrize(
    ("rows", "delay_ms", "batching_ms"),
    [
        pytest.param([(11, 1.0, 0.1, "b"), (12, 1.1, 0.1, "b")], 0, 0, id="all in turn, the other worker always at it"),
        pytest.param(
            [(11, 1.3, 0.1, "b"), (12, 1.0, 0.3, "b")], 300, 0, id="behind the long one, overtaken by a later one"
        ),
        pytest.param(
            [(11, 1.4, 0.1, "b"), (12, 1.5, 0.1, "b")], 400, 0, id="behind the long one, the other worker idle"
        ),
        pytest.param(
            [(11, 1.0, 0.1, "b"), (12, 1.15, 0.1, "b"), (13, 1.25, 0.1, "b")],
            50,
            0,
            id="a gap counts for all behind it",
        ),
        pytest.param([(11, 1.2, 0.1, "b"), (12, 0.5, 0.7, "b")], 200, 0, id="only from the start of the long one on"),
        pytest.param([(11, 1.0, 0.1, "b"), (12, 11.0, 0.1, "a")], 9900, 0, id="at its own worker, after it"),
        pytest.param(
            [(1, 0.2, 0.1, "b"), (2, 0.1, 0.1, "a"), (11, 1.0, 0.1, "b")],
            0,
            100,
            id="before it there is batching alone",
        ),
    ],
)
def test_given_a_run_with_a_long_task_then_the_worst_delay_of_a_short_one_is_found(
    rows: list[tuple[int, float, float, str]], delay_ms: float, batching_ms: float
) -> None:
    # The other worker has something to do when the long task begins, unless the row says otherwise.
    busy = [] if any(start < 1.0 < start + took for _, start, took, _ in rows) else [(9, 0.9, 0.1, "b")]
    found = mixed.head_of_line(runs(LONG, *busy, *rows))
    assert found["head_of_line_delay_ms"] == pytest.approx(delay_ms)
    assert found["batching_delay_ms"] == pytest.approx(batching_ms)


def test_given_a_worker_that_idles_after_the_last_start_then_nobody_was_delayed() -> None:
    found = mixed.head_of_line(runs(LONG, (1, 0.5, 0.5, "b"), (11, 1.0, 0.1, "b")))
    assert found["head_of_line_delay_ms"] == 0
    assert found["short_after_long"] == 1


def test_given_no_long_task_then_there_is_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match=r"no long task among these: the longest has 1\.0 s"):
        mixed.head_of_line(runs((1, 0.0, 1.0, "a"), (2, 1.0, 1.0, "a")))
