"""``cyclone stats``: what it asks, and what it makes of the answers."""

import json
from typing import Any

import pytest

from cyclone.cli import stats
from cyclone.cli.main import _run
from cyclone.errors import NoSuchJob
from cyclone.protocol.client_messages import ControllerStatus
from cyclone.protocol.figure_messages import TaskFigures
from tests.support.client_double import ClientDouble, client, job

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]
START = 1_700_000_001.0
COMPLETED = TaskFigures({"completed": 1}, 1, ["node1"], 1, 0.5, 0.5, 0.5, 0.25, 100, START, START + 0.5)
FAILED = TaskFigures(
    {"failed": 1}, 1, ["node2"], 1, 2.0, 2.0, 2.0, 0.0, 300, START, START + 2.0, [("ValueError: no", 1, 1)]
)
QUEUED = TaskFigures({"queued": 1})


def value(capsys: Printed) -> Any:
    return json.loads(capsys.readouterr().out)


def test_given_a_job_then_its_figures_are_sums_over_all_pages(client: ClientDouble, capsys: Printed) -> None:
    client.figures[5] = [COMPLETED, FAILED, QUEUED]
    assert _run(["stats", "5", "--json"]) == 0
    [found] = value(capsys)["jobs"]
    assert found == {
        "job": 5,
        "tasks": 3,
        "states": {"completed": 1, "failed": 1, "queued": 1},
        "attempts": 2,
        "mean_s": 1.25,
        "shortest_s": 0.5,
        "longest_s": 2.0,
        "seconds": 2.5,
        "cpu_s": 0.25,
        "peak_bytes": 300,
        "started": "2023-11-14T22:13:21Z",
        "elapsed_s": 2.0,
        "rate": 1.0,
        "nodes": 2,
        "errors": {"ValueError: no": 1},
    }
    assert client.asked == [("figures", 5, page, None) for page in range(3)]
    assert _run(["stats", "5"]) == 0
    assert "job 5: 1 x ValueError: no (such as 5.1)" in capsys.readouterr().err


def test_given_tasks_that_have_not_run_then_there_are_no_times(client: ClientDouble, capsys: Printed) -> None:
    client.figures[5] = [QUEUED]
    assert _run(["stats", "5", "--json"]) == 0
    [found] = value(capsys)["jobs"]
    assert (found["mean_s"], found["shortest_s"], found["longest_s"], found["started"]) == (None, None, None, None)
    assert (found["elapsed_s"], found["rate"], found["tasks"]) == (0.0, 0.0, 1)


def test_given_parts_of_jobs_then_each_job_has_a_line_and_only_the_parts_are_asked_for(
    client: ClientDouble, capsys: Printed
) -> None:
    client.figures = {5: [COMPLETED, FAILED, QUEUED], 6: [COMPLETED]}
    client.summaries = [job(5), job(6), job(7, tasks={})]
    assert _run(["stats", "5.0", "5.2-9", "6-7", "-o", "job,tasks", "--parsable", "--no-header"]) == 0
    assert capsys.readouterr().out.splitlines() == ["5\t4", "6\t1"]
    assert client.asked == [
        *(("figures", 5, page, 1) for page in range(3)),
        ("figures", 5, 2, 10),
        ("figures", 7, 0, None),
        ("figures", 6, 0, None),
    ]
    with pytest.raises(NoSuchJob):
        _run(["stats", "8"])


def test_given_many_failures_then_those_of_a_kind_are_told_together(client: ClientDouble, capsys: Printed) -> None:
    kinds = [("OSError: # is full", 4, 0), ("E: rare", 1, 8)]
    client.figures[5] = [TaskFigures({"failed": 5}, failures=kinds), TaskFigures({"failed": 4}, failures=kinds[:1])]
    assert _run(["stats", "5", "--json"]) == 0
    assert value(capsys)["jobs"][0]["errors"] == {"OSError: # is full": 8, "E: rare": 1}
    assert _run(["stats", "5"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "job 5: 8 x OSError: # is full (such as 5.0)",
        "job 5: 1 x E: rare (such as 5.8)",
    ]


def test_given_many_tasks_then_it_is_told_how_many_are_counted_except_to_programs(
    client: ClientDouble, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "_LINE_EVERY_S", 0.0)
    client.summaries, client.figures[5] = [job(5, tasks={"completed": 3})], [COMPLETED, QUEUED, COMPLETED]
    assert _run(["stats", "5"]) == 0
    assert capsys.readouterr().err.splitlines() == [f"{count} of 3 tasks counted" for count in range(3)]
    assert _run(["stats", "5.2"]) == 0
    assert capsys.readouterr().err.splitlines() == ["0 tasks counted"]
    assert _run(["stats", "5", "--json"]) == 0
    assert not capsys.readouterr().err


def test_given_no_job_then_the_figures_are_of_the_master(client: ClientDouble, capsys: Printed) -> None:
    assert _run(["stats", "--json"]) == 0
    assert value(capsys) == {
        "schema": "cyclone.master_stats/1",
        "tasks": {"queued": 1},
        "open_jobs": 0,
        "namespaces": 1,
        "controllers": 0,
        "slots": 0,
        "busy": 0,
        "resting": 0,
    }
    assert _run(["stats"]) == 0
    assert "0 of 0 at work" in capsys.readouterr().out
    client.controllers = [ControllerStatus(name, name, 4, 2, 0.0, "", 3, resting=1) for name in ("c1", "c2")]
    assert _run(["stats"]) == 0
    assert "4 of 8 at work, 50 %; 2 at rest after a task" in capsys.readouterr().out
    assert _run(["stats", "--json"]) == 0
    found = value(capsys)
    assert (found["slots"], found["busy"], found["resting"]) == (8, 6, 2)
