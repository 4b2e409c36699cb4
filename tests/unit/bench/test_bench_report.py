"""What is made of measurements: the middle run, the spread, the bottleneck in words, what stands beside."""

from typing import Any

import pytest

from cyclone.bench import report
from cyclone.bench.cpu import Used
from cyclone.bench.plan import Plan
from cyclone.bench.stopwatch import Measured, Sizes
from cyclone.protocol.traffic import Traffic


def measured(**changes: Any) -> Measured:
    """A run of 1,000 tasks in 2 s."""
    values: dict[str, Any] = {
        "seconds": 2.0,
        "generator_s": 4.0,
        "slots": 2,
        "cpu": {
            "generator": Used(1.0, 1.0),
            "master": Used(0.4, 0.4),
            "controller": Used(0.2, 0.1),
            "workers": Used(1.2, 0.7),
        },
        "traffic": Traffic(sent=20, sent_bytes=5000, received=10, received_bytes=2000),
        "syncs": 7,
        "leases": Sizes(batches=4, tasks=1000, largest=400),
        "results": Sizes(batches=8, tasks=1000, largest=200),
        "rss_early_bytes": 30 << 20,
        "rss_late_bytes": 31 << 20,
        "trips_us": [],
    }
    return Measured(**values | changes)


def throughput(tasks_per_s: float, cpu_us: float = 2.0) -> dict[str, Any]:
    return {"mode": "throughput", "tasks_per_s": tasks_per_s, "cpu_us_per_task": {"total": cpu_us}, "tag": tasks_per_s}


def test_given_a_run_then_what_it_cost_is_by_task_and_by_role() -> None:
    found = report.of_run(Plan("throughput", 1000, 2), measured(), cores=2)

    assert found["tasks_per_s"] == 500
    assert found["cpu_us_per_task"] == {
        "generator": 1000,
        "master": 400,
        "controller": 200,
        "workers": 1200,
        "total": 2800,
    }
    # The generator has had until it had taken in the last result.
    assert found["busiest_process"] == {"generator": 0.25, "master": 0.2, "controller": 0.05, "workers": 0.35}
    assert found["cores_used"] == pytest.approx(0.25 + 0.2 + 0.1 + 0.6)
    assert found["messages_per_task"] == {"sent": 0.02, "received": 0.01}
    assert found["bytes_per_task"] == {"sent": 5, "received": 2}
    assert found["tasks_per_lease"] == {"mean": 250, "largest": 400}
    assert found["tasks_per_result_batch"] == {"mean": 125, "largest": 200}
    assert (found["fsyncs"], found["slots"], found["workers"]) == (7, 2, 2)


def test_given_the_modes_then_each_has_its_figures() -> None:
    trips = [float(number) for number in range(100, 0, -1)]
    latency = report.of_run(Plan("latency", 1000, 1), measured(trips_us=trips), cores=2)
    busy = report.of_run(Plan("busy", 1000, 2, task_ms=3.0), measured(), cores=2)
    payload = report.of_run(Plan("payload", 1000, 2, payload_bytes=50), measured(), cores=2)

    assert (latency["p50_us"], latency["p99_us"]) == (51, 100)
    assert busy["efficiency"] == pytest.approx(1000 * 0.003 / 2 / 2.0)
    assert payload["bytes_per_s"] == 50_000
    for found in (latency, busy, payload):
        assert set(report.FIGURES[found["mode"]]) - {"cpu_us"} <= found.keys()


@pytest.mark.parametrize(
    ("busiest", "cores_used", "words"),
    [
        ({"master": 0.95, "workers": 0.4}, 1.4, "the master: its busiest process used 95 % of a core"),
        ({"master": 0.5, "workers": 0.81}, 1.7, "the workers: its busiest process used 81 % of a core"),
        ({"master": 0.95, "workers": 0.8}, 1.8, "the cores of this host: 1.80 of 2 were busy with this run"),
        (
            {"master": 0.3, "workers": 0.4},
            1.0,
            "none of these processes: the busiest, of the workers, used 40 % of a core",
        ),
        ({}, 0.0, "unknown"),
    ],
)
def test_given_shares_of_cores_then_the_bottleneck_is_named(
    busiest: dict[str, float], cores_used: float, words: str
) -> None:
    assert report.bottleneck(busiest, cores_used, cores=2) == words


@pytest.mark.parametrize(("rates", "middle"), [([3], 3), ([9, 1, 5], 5), ([1, 9], 1), ([4, 2, 8, 6], 4)])
def test_given_several_runs_then_the_middle_one_is_reported_with_the_spread_of_all(
    rates: list[float], middle: float
) -> None:
    runs = [throughput(rate, cpu_us=10 - rate) for rate in rates]

    found = report.of_runs(runs)

    assert (found["tasks_per_s"], found["tag"], found["repeat"]) == (middle, middle, len(rates))
    assert found["spread"] == {
        "tasks_per_s": [min(rates), max(rates)],
        "cpu_us": [10 - max(rates), 10 - min(rates)],
    }


def test_given_pairs_with_the_limit_then_the_ratio_is_the_median_of_theirs_and_not_that_of_the_medians() -> None:
    found = report.beside_limit(
        [throughput(10), throughput(40), throughput(30)],
        [{"tasks_per_s": 100}, {"tasks_per_s": 50}, {"tasks_per_s": 60}],
    )

    assert found == {
        "tasks_per_s": 60,
        "ratio": {"tasks_per_s": 0.5},
        "ratio_spread": {"tasks_per_s": [0.1, 0.8]},
    }


def test_given_round_trips_then_both_percentiles_are_over_the_limits_median() -> None:
    found = report.beside_limit(
        [{"mode": "latency", "p50_us": 200, "p99_us": 900}], [{"p50_us": 100, "p99_us": 5000, "tasks_per_s": 1}]
    )

    assert found["ratio"] == {"p50_us": 2, "p99_us": 9}


def test_given_pairs_with_and_without_keys_then_the_cost_is_what_is_in_excess() -> None:
    found = report.beside_plain([throughput(90, cpu_us=2.5)], [throughput(100, cpu_us=2.0)])

    assert found == {"cpu_us": 2.0, "tasks_per_s": 100, "cpu_cost": 0.25, "rate_ratio": 0.9}


def test_given_the_figures_of_the_last_time_then_the_change_is_a_share_of_each_that_both_have() -> None:
    assert report.change(throughput(110, cpu_us=1.5), {"tasks_per_s": 100, "p50_us": 3}) == {"tasks_per_s": 0.1}
