"""What ``make bench-scale`` says of its run, and how many controllers it tries."""

import resource
from pathlib import Path

import pytest

from benchmarks import scale

REPORT = {
    "controllers": 100,
    "welcomed_s": 1.0,
    "filled_s": 0.1,
    "never_served": 0,
    "sessions_lost": 0,
    "heartbeats_per_s": 100.0,
    "idle_cpu_share": 0.05,
    "flow_cpu_share": 0.2,
    "tasks_per_s": 10.0,
    "heartbeat_cpu_us": 60.0,
    "heartbeat_loop_us": 40.0,
    "task_cpu_us": 150.0,
    "task_loop_us": 100.0,
    "refill_p50_ms": 1.0,
    "refill_p99_ms": 5.0,
    "refill_max_ms": 50.0,
    "rss_bytes": 1 << 30,
}


@pytest.mark.parametrize(
    ("hard", "ports", "wanted", "expected", "reason"),
    [
        pytest.param(20_000, "32768 60999", 10_000, 10_000, "", id="all"),
        pytest.param(4096, "32768 60999", 10_000, 3896, "a process may open 4096 files", id="few descriptors"),
        pytest.param(20_000, "32768 33768", 10_000, 800, "only ports 32768 to 33768", id="few ports"),
    ],
)
def test_given_the_limits_of_the_machine_then_it_tries_as_many_as_they_allow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, hard: int, ports: str, wanted: int, expected: int, reason: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (hard, hard))
    monkeypatch.setattr(scale, "_PORTS", tmp_path / "ports")
    (tmp_path / "ports").write_text(ports, encoding="ascii")
    controllers, said = scale.possible(wanted)
    assert controllers == expected
    assert said.startswith(reason)
    assert bool(said) == bool(reason)


@pytest.mark.parametrize(
    ("name", "value"), [("idle_cpu_share", 0.11), ("sessions_lost", 1), ("never_served", 3), ("refill_max_ms", 1001.0)]
)
def test_given_a_figure_beyond_its_target_then_its_line_says_so(name: str, value: float) -> None:
    assert not [line for line in scale.table(REPORT) if "MISSED" in line[2]]
    assert len([line for line in scale.table(REPORT | {name: value}) if "MISSED" in line[2]]) == 1
