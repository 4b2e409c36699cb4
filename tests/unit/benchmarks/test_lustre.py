"""How ``make bench-lustre`` judges its run, by rows whose verdict is plain."""

import pytest

from benchmarks.lustre import Ran, lost, outcomes, streams


def row(number: int, started: float, finished: float, source: int = 0, target: int = 9) -> Ran:
    return Ran(started, finished, number, source, target, "SUCCESS", ("node", 1))


def test_given_a_path_that_is_missing_or_there_twice_then_not_each_is_there_once() -> None:
    rows = [row(0, 0, 1), row(1, 1, 2)]
    assert outcomes(rows, 2)["each_path_once"]
    assert not outcomes(rows, 3)["each_path_once"]
    assert not outcomes([*rows, row(1, 2, 3)], 2)["each_path_once"]


@pytest.mark.parametrize(
    ("rows", "most", "permitted"),
    [
        ([row(0, 0, 1), row(1, 1, 2)], {"source": 1, "target": 1}, True),
        ([row(0, 0, 1), row(1, 0.5, 2, source=1)], {"source": 1, "target": 2}, True),
        ([row(0, 0, 1), row(1, 0.5, 2, target=8)], {"source": 2, "target": 1}, False),
        ([row(n, n / 10, 5, source=n) for n in range(3)], {"source": 1, "target": 3}, False),
    ],
)
def test_given_rows_then_the_most_streams_at_a_time_are_found(
    rows: list[Ran], most: dict[str, int], permitted: bool
) -> None:
    assert streams(rows, 2) == {"streams_at_most": most, "never_more_than_permitted": permitted}


def test_given_workers_that_wait_then_their_time_is_lost() -> None:
    # Two could be at work from 0 on; one of them waits from 4 to 5, until the last path of a source begins.
    rows = [row(0, 0, 4), row(1, 0, 10, source=1), row(2, 5, 6), row(3, 10, 11, source=1), row(4, 10, 11)]
    found = lost(sorted(rows), 2)
    # From 6 to 10 too.
    assert (found["judged_s"], found["lost_share"], found["lost_met"]) == (10, 0.25, False)
    full = [row(0, 0, 5), row(1, 0, 5, source=1), row(2, 5, 9), row(3, 5, 9, source=1)]
    assert lost(full, 2)["lost_share"] == 0
