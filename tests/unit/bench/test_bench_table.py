"""The report as people read it."""

from typing import Any

from cyclone.bench.table import lines

REPORT: dict[str, Any] = {
    "mode": "throughput",
    "tasks": 1_000_000,
    "controllers": 1,
    "workers": 2,
    "slots": 2,
    "durability": "off",
    "curve": False,
    "repeat": 3,
    "seconds": 1.6,
    "tasks_per_s": 612_345.0,
    "cpu_us_per_task": {"generator": 1.25, "master": 0.42, "controller": 0.45, "workers": 1.0, "total": 3.12},
    "busiest_process": {"generator": 0.8, "master": 0.3, "controller": 0.31, "workers": 0.5},
    "bottleneck": "the generator: its busiest process used 80 % of a core",
    "messages_per_task": {"sent": 0.002, "received": 0.001},
    "bytes_per_task": {"sent": 7.58, "received": 15.7},
    "tasks_per_lease": {"mean": 812.3, "largest": 4096},
    "tasks_per_result_batch": {"mean": 402.0, "largest": 1024},
    "fsyncs": 0,
    "rss_early_bytes": 30 << 20,
    "rss_late_bytes": 31 << 20,
    "spread": {"tasks_per_s": [598_000.0, 631_000.0], "cpu_us": [3.1, 3.3]},
    "last": None,
    "change": {},
}


def shown(**changes: Any) -> dict[str, str]:
    """Each line's text by its name; all texts begin in one column."""
    found = lines(REPORT | changes)
    column = len(found[0]) - len(found[0].partition("  ")[2].lstrip())
    return {line[:column].rstrip(): line[column:] for line in found}


def test_given_a_report_then_rate_spread_cost_and_bottleneck_are_told() -> None:
    found = shown()

    assert found["measured"] == "throughput: 1,000,000 tasks, 1 controller with 2 workers in all, without a journal"
    assert found["shown"] == "the middle one of 3 runs (and the spread of all)"
    assert found["rate"] == "612,345 tasks/s  (598,000 tasks/s to 631,000 tasks/s)"
    assert found["CPU per task"] == "3.120 us  (3.100 us to 3.300 us)"
    assert found["CPU by role"] == "generator 1.25 us, master 0.42 us, controller 0.45 us, workers 1.00 us"
    assert found["bottleneck"] == REPORT["bottleneck"]
    assert found["messages"] == "2.000 sent and 1.000 received for 1,000 tasks"
    assert found["bytes on the wire"] == "7.580 sent and 15.7 received for each task"
    assert found["lease"] == "812.3 tasks, at most 4,096"
    assert found["last run"] == "none with these parameters to compare with"
    assert not any(name.startswith(("limit", "encryption")) for name in found)


def test_given_one_run_then_no_spread_is_shown() -> None:
    found = shown(repeat=1)

    assert found["shown"] == "one run"
    assert found["rate"] == "612,345 tasks/s"


def test_given_a_last_run_then_the_change_is_in_per_cent() -> None:
    last = {"when": "2026-11-20 10:00 UTC", "tasks_per_s": 600_000.0, "cpu_us": 3.2}
    found = shown(last=last, change={"tasks_per_s": 0.0206, "cpu_us": -0.025})

    assert found["last run"] == "2026-11-20 10:00 UTC; since then rate +2.1 %, CPU per task -2.5 %"


def test_given_what_stands_beside_then_the_ratios_are_told() -> None:
    limit = {"tasks_per_s": 1.0, "ratio": {"tasks_per_s": 0.421}, "ratio_spread": {"tasks_per_s": [0.4, 0.44]}}
    plain = {"cpu_us": 3.0, "tasks_per_s": 1.0, "cpu_cost": 0.04, "rate_ratio": 0.98}
    found = shown(limit=limit, plain=plain, curve=True)

    assert found["measured"].endswith(", encrypted")
    assert found["limit, rate"] == "0.421 of the bare pipeline's (0.400 to 0.440)"
    assert found["encryption"] == "+4.0 % of CPU per task (3.00 us without), -2.0 % of the rate"


def test_given_controllers_of_other_nodes_then_it_says_what_is_not_seen() -> None:
    per_task, busiest = {"generator": 1.25, "master": 0.42, "total": 1.67}, {"generator": 0.8, "master": 0.3}
    found = shown(listen="tcp://*:5678", controllers=3, slots=24, cpu_us_per_task=per_task, busiest_process=busiest)

    assert "3 controllers with 24 workers in all, started elsewhere and come to tcp://*:5678" in found["measured"]
    assert found["CPU by role"] == "generator 1.25 us, master 0.42 us"
    assert "not seen" in found[""]
