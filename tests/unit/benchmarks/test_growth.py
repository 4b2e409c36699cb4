"""What ``make bench-growth`` makes of its runs."""

from typing import Any

import pytest

from benchmarks.growth import FULL, QUICK, Cost, Memory, costs, is_constant, memory, table


def report(cpu_us: float = 2.0, rate: float = 500_000.0, rss: int = 40 << 20) -> dict[str, Any]:
    return {"cpu_us_per_task": {"total": cpu_us}, "tasks_per_s": rate, "rss_late_bytes": rss}


def test_given_several_runs_of_a_size_then_their_median_counts_and_further_tasks_are_without_the_start() -> None:
    found = costs(
        {
            ("cost", 1_000): [report(12.0), report(32.0), report(90.0)],
            ("cost", 10_000): [report(5.0, 250_000.0)],
            ("keep", 1_000_000): [report()],
        }
    )
    few, many = found
    assert few == pytest.approx((1_000, 32.0, 2.0, 32.0, 6.4))
    assert many == pytest.approx((10_000, 5.0, 4.0, 2.0, 1.0))


@pytest.mark.parametrize(
    ("cpu_us", "constant"),
    [
        pytest.param((30.0, 2.0, 2.1, 2.2), True, id="the smallest number does not count"),
        pytest.param((2.0, 2.4, 2.1, 2.0), False, id="dearer for few"),
        pytest.param((2.0, 2.0, 2.1, 2.4), False, id="dearer for many"),
    ],
)
def test_given_costs_then_they_are_constant_where_no_two_sizes_are_too_far_apart(
    cpu_us: tuple[float, ...], constant: bool
) -> None:
    assert is_constant([Cost(10 ** (3 + place), us, 1.0, us, 1.0) for place, us in enumerate(cpu_us)]) == constant


def test_given_few_and_many_tasks_then_the_memory_is_flat_up_to_a_twentieth() -> None:
    found = memory(
        {
            ("memory", 100): [report(rss=100)],
            ("memory", 10): [report(rss=100)],
            ("keep", 10): [report(rss=100)],
            ("keep", 100): [report(rss=106)],
        }
    )
    assert found == [Memory("memory", 10, 100, 100, 100), Memory("keep", 10, 100, 100, 106)]
    assert [line.is_flat for line in found] == [True, False]


def test_given_the_sizes_then_quick_leaves_out_what_takes_minutes() -> None:
    assert max(run.tasks for run in FULL.runs()) == 100_000_000
    assert max(run.tasks for run in QUICK.runs()) <= 3_000_000
    assert [run.tasks for run in FULL.runs() if run.name == "cost"] == [10**power for power in range(3, 8)]


def test_given_a_target_that_is_missed_then_the_table_says_so() -> None:
    good, bad = Cost(10_000, 2.0, 1.0, 2.0, 1.0), Cost(100_000, 3.0, 1.0, 3.0, 1.5)
    kept = Memory("keep", 10, 100, 100, 120)
    assert any(line.strip().endswith(": met") for line in table([good], [kept]))
    lines = list(table([good, bad], [kept]))
    assert any(line.strip().endswith(": MISSED") for line in lines)
    assert lines[-1].endswith("| NO |")
