"""``cyclone bench`` in each of its modes, tiny. That the figures are there is tested, not what they are."""

import json
from typing import Any

import pytest

from tests.support.lab import Lab

ROLES = {"generator", "master", "controller", "workers"}


def bench(lab: Lab, *arguments: str) -> dict[str, Any]:
    """The one object that it prints, on one line."""
    started = lab.start("cyclone", "bench", *arguments, "--json")
    assert started.exits() == 0, started.stderr()
    (line,) = started.stdout().splitlines()
    report: dict[str, Any] = json.loads(line)
    return report


def test_given_a_bench_then_its_report_has_cost_and_traffic_and_batches(lab: Lab) -> None:
    report = bench(lab, "--tasks", "20000", "--workers", "2")

    assert report["tasks_per_s"] == pytest.approx(20_000 / report["seconds"], rel=0.01)
    cpu_us = report["cpu_us_per_task"]
    assert cpu_us.keys() == ROLES | {"total"}
    assert all(microseconds > 0 for microseconds in cpu_us.values())
    assert cpu_us["total"] == pytest.approx(sum(cpu_us[role] for role in ROLES), abs=0.01)
    assert report["busiest_process"].keys() == ROLES
    assert 0 < report["cores_used"] <= report["cores"] * 1.05
    # An id and an argument each, in batches of hundreds.
    assert 1 < report["bytes_per_task"]["sent"] < 100
    assert 0 < report["messages_per_task"]["sent"] < 0.5
    for name in ("tasks_per_lease", "tasks_per_result_batch"):
        assert 1 < report[name]["mean"] <= report[name]["largest"] <= 4096
    assert report["fsyncs"] == 0
    assert report["last"] is None


def test_given_a_second_bench_then_it_is_compared_with_the_first_of_the_same_parameters(lab: Lab) -> None:
    first = bench(lab, "--tasks", "2000", "--workers", "1")
    other = bench(lab, "--tasks", "3000", "--workers", "1")
    second = bench(lab, "--tasks", "2000", "--workers", "1")

    assert other["last"] is None
    assert second["last"]["tasks_per_s"] == first["tasks_per_s"]
    expected = second["tasks_per_s"] / first["tasks_per_s"] - 1
    assert second["change"]["tasks_per_s"] == pytest.approx(expected, abs=1e-4)


def test_given_a_journal_and_its_limit_then_both_are_synced_and_the_ratio_is_of_the_pair(lab: Lab) -> None:
    report = bench(lab, "--tasks", "20000", "--workers", "2", "--durability", "full", "--limit")

    assert report["fsyncs"] > 1
    limit = report["limit"]
    assert limit["ratio"]["tasks_per_s"] == pytest.approx(report["tasks_per_s"] / limit["tasks_per_s"], rel=0.01)


def test_given_round_trips_then_both_percentiles_are_over_the_limits_median(lab: Lab) -> None:
    report = bench(lab, "--mode", "latency", "--tasks", "50", "--workers", "1", "--limit")

    assert 0 < report["p50_us"] <= report["p99_us"]
    ratio, theirs = report["limit"]["ratio"], report["limit"]["p50_us"]
    assert ratio["p50_us"] == pytest.approx(report["p50_us"] / theirs, rel=0.01)
    assert ratio["p99_us"] == pytest.approx(report["p99_us"] / theirs, rel=0.01)
    assert report["tasks_per_lease"] == {"mean": 1, "largest": 1}


def test_given_payloads_then_the_bytes_are_those_of_arguments_and_results(lab: Lab) -> None:
    report = bench(lab, "--mode", "payload", "--payload-bytes", "50000", "--tasks", "100", "--workers", "2", "--limit")

    assert report["bytes_per_s"] == pytest.approx(100_000 * report["tasks_per_s"], rel=0.01)
    assert 50_000 < report["bytes_per_task"]["sent"] < 51_000
    assert 50_000 < report["bytes_per_task"]["received"] < 51_000
    assert report["limit"]["ratio"]["bytes_per_s"] > 0


def test_given_keys_then_the_same_without_stands_beside(lab: Lab) -> None:
    report = bench(lab, "--tasks", "2000", "--workers", "1", "--curve")

    assert report["curve"]
    plain = report["plain"]
    assert plain["cpu_cost"] == pytest.approx(report["cpu_us_per_task"]["total"] / plain["cpu_us"] - 1, abs=0.01)
    assert lab.scratch_folders() == []


def test_given_a_table_for_people_then_several_controllers_run_and_the_spread_is_shown(lab: Lab) -> None:
    started = lab.start(
        "cyclone", "bench", "--mode", "busy", "--tasks", "20", "--controllers", "2", "--workers", "1", "--repeat", "2"
    )
    assert started.exits() == 0, started.stderr()

    shown = dict(line.split("  ", 1) for line in started.stdout().splitlines())
    assert shown["measured"].strip() == "busy: 20 tasks of 1 ms, 2 controllers with 2 workers in all, without a journal"
    assert "of 2 runs" in shown["shown"]
    assert " to " in shown["efficiency"]
    assert shown["last run"].strip().startswith("none ")


def test_given_a_place_to_listen_then_it_waits_for_controllers_and_lets_them_live(lab: Lab) -> None:
    address = f"tcp://127.0.0.1:{lab.port}"
    started = lab.start(
        "cyclone", "bench", "--listen", address, "--controllers", "2", "--tasks", "500", "--repeat", "2", "--json"
    )
    started.says("waiting for controllers, 2 in all: cyclone-controller -f ")
    config = lab.config()
    controllers = [lab.controller(config, name, "processing.worker_count=1") for name in ("node-1", "node-2")]
    assert started.exits() == 0, started.stderr()

    report = json.loads(started.stdout())
    assert report["listen"] == address
    assert report["slots"] == 2
    assert report["repeat"] == 2
    # What others use is not seen.
    assert report["cpu_us_per_task"].keys() == {"generator", "master", "total"}
    assert all(controller.alive for controller in controllers)


def test_given_a_running_master_then_its_rate_is_watched_and_its_work_left_alone(lab: Lab) -> None:
    generator = {"class": "task_generators.benchmark:BenchmarkTaskGenerator"}
    tasks = {"num_tasks": "100000", "task": "sleep", "milliseconds": "1"}
    config = lab.config({"task_generator": generator, "benchmark": tasks, "journal": {"durability": "off"}})
    lab.master(config)
    lab.controller(config, "node-1")

    report = bench(lab, "--connect", f"tcp://127.0.0.1:{lab.port}", "--seconds", "0.5")

    assert report["tasks"] > 0
    assert report["tasks_per_s"] == pytest.approx(report["tasks"] / report["seconds"], rel=0.01)
    assert (report["controllers"], report["slots"]) == (1, 2)
    assert report["waiting_share"] > 0
    assert 0 < report["question_p50_us"] <= report["question_max_us"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode", "payload", "--payload-bytes", "5000000"], "a value has at most 4193280"),
        (["--mode", "busy", "--task-ms", "-1", "--tasks", "1"], "[benchmark] milliseconds = -1.0: expected"),
        (["--mode", "busy", "--limit"], "--limit: --mode busy is measured against the ideal"),
        (["--keys", "there"], "--keys belongs to --listen"),
        (["--listen", "tcp://127.0.0.1", "--curve"], "--listen measures across nodes; --curve"),
        (["--listen", "tcp://127.0.0.1", "--mode", "mixed"], "of one clock on one host alone"),
        (["--listen", "tcp://*"], "there are no keys"),
        (["--listen", "tcp://*", "--connect", "tcp://127.0.0.1"], "either, not both"),
        (["--listen", "udp://*"], "expected tcp://HOST"),
    ],
)
def test_given_what_cannot_be_measured_then_it_says_so_and_exits_78(
    lab: Lab, arguments: list[str], message: str
) -> None:
    started = lab.start("cyclone", "bench", *arguments)
    assert started.exits() == 78
    assert message in started.stderr()
