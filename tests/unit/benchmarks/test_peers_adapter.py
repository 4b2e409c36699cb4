"""The stop-watch that every peer is under: no figure without right results."""

from pathlib import Path

import pytest

from benchmarks.peers import adapter, work
from benchmarks.peers.work import Work


class Fake(adapter.Adapter):
    """Executes at once; ``variant`` says what it gets wrong."""

    def prepare(self) -> None:
        raise AssertionError("nothing here needs it")

    def run(self, work: Work, tasks: int) -> int:
        return sum(work(value) for value in range(tasks)) - (self.variant == "loses one")

    def round_trip(self, value: int) -> int:
        return value + (self.variant == "confuses")

    def close(self) -> None:
        raise AssertionError("nothing here needs it")


def fake(variant: str = "right") -> Fake:
    return Fake(variant, Path())


def test_given_right_results_then_each_measure_has_its_figures() -> None:
    speed = adapter.throughput(fake(), 1_000)
    assert speed["tasks_per_s"] == pytest.approx(1_000 / speed["seconds"])
    trips = adapter.round_trips(fake(), 50)
    assert 0 < trips["p50_us"] <= trips["p99_us"]


def test_given_busy_tasks_executed_one_after_the_other_then_half_of_two_workers_is_used_at_most() -> None:
    assert 0 < adapter.efficiency(fake(), 10)["efficiency"] <= 0.5


def test_given_a_lost_result_then_there_is_no_figure() -> None:
    with pytest.raises(SystemExit, match="the results of 10 tasks add up to 44, not to 45"):
        adapter.throughput(fake("loses one"), 10)


def test_given_another_tasks_result_then_there_is_no_figure() -> None:
    with pytest.raises(SystemExit, match="the result of task 0 is 1"):
        adapter.round_trips(fake("confuses"), 5)


def test_given_a_peer_without_a_round_trip_then_it_says_whose_it_is() -> None:
    with pytest.raises(NotImplementedError, match="test_peers_adapter has no round trip"):
        adapter.Adapter.round_trip(fake(), 1)


@pytest.mark.parametrize(
    ("tasks", "size", "expected"),
    [(0, 3, []), (2, 3, [[0, 1]]), (3, 3, [[0, 1, 2]]), (7, 3, [[0, 1, 2], [3, 4, 5], [6]])],
)
def test_given_a_number_of_tasks_then_the_chunks_hold_each_once(
    tasks: int, size: int, expected: list[list[int]]
) -> None:
    assert work.chunks(tasks, size) == expected


def test_given_a_chunk_then_its_sum_is_that_of_its_results() -> None:
    assert work.chunk_sum(work.noop, [1, 2, 3]) == 6
