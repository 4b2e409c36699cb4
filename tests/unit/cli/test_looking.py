"""``cyclone jobs``, ``tasks``, ``show``, ``explain``, ``results``, ``wait``: what they ask and print."""

import argparse
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from cyclone.cli import output, paging
from cyclone.cli.main import _run
from cyclone.errors import CycloneError, NoSuchJob, UsageError
from cyclone.protocol.job_messages import TaskRow
from cyclone.protocol.job_spec import JobSpec
from tests.support.client_double import ClientDouble, client, job, task

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]


def lines(capsys: Printed) -> list[str]:
    return capsys.readouterr().out.splitlines()


def value(capsys: Printed) -> Any:
    return json.loads(capsys.readouterr().out)


# --- jobs


def test_given_jobs_then_the_newest_is_first(client: ClientDouble, capsys: Printed) -> None:
    client.summaries = [job(1), job(12, "failed", tasks={"completed": 9, "failed": 1, "queued": 2}), job(0, name="")]
    assert _run(["jobs", "-o", "id,name,state,total,ended,bad,seconds"]) == 0
    assert [line.split() for line in lines(capsys)] == [
        ["ID", "NAME", "STATE", "TASKS", "ENDED", "BAD", "TIME"],
        ["12", "job12", "failed", "12", "10", "1", "1m30s"],
        ["1", "job1", "completed", "10", "10", "0", "1m30s"],
        ["0", "completed", "10", "10", "0", "1m30s"],
    ]


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["2-3,5"], ["5", "3", "2"]),
        (["2", "4"], ["4", "2"]),
        (["last"], ["5"]),
        (["-s", "failed,R"], ["4"]),
        (["-n", "night"], ["5", "3"]),
        (["--before", "3"], ["2", "1"]),
        (["--limit", "2"], ["5", "4"]),
        (["--limit", "0"], ["5", "4", "3", "2", "1"]),
    ],
)
def test_given_a_selection_and_filters_then_only_those_jobs_are_listed(
    words: list[str], ids: list[str], client: ClientDouble, capsys: Printed
) -> None:
    client.summaries = [job(n, "failed" if n == 4 else "queued", namespace=f"n{n}") for n in range(1, 6)]
    client.summaries[2:5:2] = [job(3, "queued", namespace="night"), job(5, "queued", namespace="night")]
    assert _run(["jobs", *words, "-o", "{id}"]) == 0
    assert lines(capsys) == ids


def test_given_more_jobs_than_are_wanted_then_no_more_are_asked_for_and_it_is_said_how_to_go_on(
    client: ClientDouble, capsys: Printed
) -> None:
    client.summaries = [job(n) for n in range(1, 10)]
    assert _run(["jobs", "--limit", "3", "--json"]) == 0
    printed = capsys.readouterr()
    assert [one["id"] for one in json.loads(printed.out)["jobs"]] == [9, 8, 7]
    assert json.loads(printed.err) == {"note": "there are older ones: --before 7 goes on, --limit 0 lists all"}
    assert client.pages == [4]


def test_given_a_terminal_then_a_screen_or_two_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    for words, wanted in (({"limit": None}, paging.TERMINAL_LIMIT), ({"limit": 0}, None), ({"limit": 7}, 7)):
        assert paging.wanted(argparse.Namespace(json=False, **words)) == wanted
    assert paging.wanted(argparse.Namespace(json=True, limit=None)) is None


# --- tasks


def test_given_tasks_then_they_are_listed_by_index_with_what_is_asked_for(
    client: ClientDouble, capsys: Printed
) -> None:
    client.rows[5] = [task(0), task(1, "failed"), task(2, "running", started=0.0, seconds=0.0)]
    assert _run(["tasks", "5", "-s", "failed", "--args", "--values", "--json"]) == 0
    assert value(capsys)["tasks"] == [
        {
            "id": "5.1",
            "job": 5,
            "index": 1,
            "task_id": 1001,
            "state": "failed",
            "attempt": 1,
            "node": "node1",
            "since": None,
            "started": "2023-11-14T22:13:21Z",
            "seconds": 0.5,
            "cpu_s": 0.0,
            "peak_bytes": 0,
            "error": "ValueError: no\nmore of it",
            "args": [1],
            "value": None,
            "traceback": None,
        }
    ]
    assert _run(["tasks", "5.1-2", "-o", "id,state,value"]) == 0
    assert [line.split() for line in lines(capsys)] == [["ID", "STATE", "VALUE"], ["5.1", "failed"], ["5.2", "running"]]


def test_given_a_range_of_indexes_then_no_more_is_read(client: ClientDouble, capsys: Printed) -> None:
    read = []

    def endless() -> Iterator[TaskRow]:
        for index in itertools.count():
            read.append(index)
            yield task(index)

    client.rows[5] = endless()
    assert _run(["tasks", "5.3-4", "-o", "{index}"]) == 0
    assert lines(capsys) == ["3", "4"]
    assert read[-1] == 5
    assert client.pages == [2]


def test_given_no_such_job_then_it_is_said(client: ClientDouble) -> None:
    with pytest.raises(NoSuchJob, match="there is no job 9"):
        _run(["tasks", "9"])


def test_given_numbers_that_no_job_has_then_that_is_an_error_and_an_empty_list_is_none(
    client: ClientDouble, capsys: Printed
) -> None:
    client.summaries = [job(5)]
    for words, says in ((["9"], "there is no job 9"), (["7-9", "12"], "there are no jobs 7-9,12")):
        with pytest.raises(NoSuchJob, match=says):
            _run(["jobs", *words])
    for words in (["5", "-s", "failed"], ["-n", "default", "-s", "failed"], ["5", "--before", "5"]):
        assert _run(["jobs", "--no-header", *words]) == 0
    assert capsys.readouterr().out == ""


# --- show, explain


def test_given_a_job_then_everything_is_shown_that_is_not_as_always(client: ClientDouble, capsys: Printed) -> None:
    client.summaries = [job(5, "failed", tags={"a": "b"}, name="x\x1b[2J")]
    client.spec = JobSpec(
        task_class="tests:Task", time_limit_s=90, nodes=("n1", "n2"), exclusive=True, mem_bytes=1 << 30, limits={"a": 2}
    )
    client.failures = [("ValueError: no", 1234, 7)]
    assert _run(["show", "last"]) == 0
    text = capsys.readouterr().out
    assert [line.split(maxsplit=1) for line in text.splitlines()[-8:]] == [
        ["time", "limit  1m30s"],
        ["exclusive", "yes"],
        ["mem", "1 GiB"],
        ["nodes", "n[1-2]"],
        ["limits", "a=2"],
        [],
        ["failures"],
        ["1,234", "ValueError: no  (such as 5.7)"],
    ]
    assert "\x1b" not in text


def test_given_a_job_then_json_has_its_options_too(client: ClientDouble, capsys: Printed) -> None:
    client.summaries = [job(5)]
    client.spec = JobSpec(task_class="tests:Task", shared=b"\x91\x01", not_before=1_700_000_000.0)
    assert _run(["show", "5", "--json"]) == 0
    found = value(capsys)
    assert (found["schema"], found["job"]["id"], found["job"]["failures"]) == ("cyclone.job/1", 5, [])
    options = found["job"]["options"]
    assert options["not_before"] == "2023-11-14T22:13:20Z"
    assert options["not_after"] is None
    assert "shared" not in options


def test_given_a_task_then_it_is_shown(client: ClientDouble, capsys: Printed) -> None:
    client.summaries = [job(5)]
    client.rows[5] = [task(0), task(1, "failed")]
    assert _run(["show", "5.1"]) == 0
    *named, more = lines(capsys)
    shown = dict(line.split(maxsplit=1) for line in named)
    assert shown["task"] == "5.1, of the whole master 1001"
    assert shown["args"] == "[1]"
    assert shown["error"] == "ValueError: no"
    assert more.strip() == "more of it"
    assert _run(["show", "5.0", "--json"]) == 0
    assert value(capsys)["task"]["value"] == 0
    with pytest.raises(CycloneError, match="job 5 has no task 7"):
        _run(["show", "5.7"])


def test_given_no_job_at_all_then_last_says_so(client: ClientDouble) -> None:
    with pytest.raises(CycloneError, match="there are no jobs yet"):
        _run(["show", "last"])


def test_given_reasons_then_they_are_sentences_for_people_and_codes_for_programs(
    client: ClientDouble, capsys: Printed
) -> None:
    client.summaries = [job(5, "queued"), job(6)]
    client.reasons = [("labels", "no node has the label gpu"), ("held", "it is held")]
    assert _run(["explain", "5.3"]) == 0
    assert lines(capsys) == ["no node has the label gpu", "it is held"]
    assert client.asked == [("explain", 5, 3)]
    assert _run(["explain", "5", "--json"]) == 0
    found = value(capsys)
    assert (found["index"], found["reasons"][1]) == (None, {"code": "held", "text": "it is held"})
    assert _run(["explain", "6"]) == 0
    assert lines(capsys) == ["job 6 has ended: completed; 10 completed"]
    client.rows[6] = [task(0), task(1, "failed")]
    assert _run(["explain", "6.0"]) == _run(["explain", "6.1"]) == 0
    assert lines(capsys) == ["task 6.0 has ended: completed", r"task 6.1 has ended: failed: ValueError: no\nmore of it"]
    with pytest.raises(CycloneError, match="job 6 has no task 7"):
        _run(["explain", "6.7"])
    client.reasons, client.rows[5] = [("done", "task 1 has its result")], [task(0), task(1, "cancelled")]
    assert _run(["explain", "5.1"]) == 0
    assert lines(capsys)[0].startswith("task 5.1 has ended: cancelled")
    with pytest.raises(NoSuchJob):
        _run(["explain", "7"])


# --- results


def test_given_results_then_they_are_json_lines_by_index(client: ClientDouble, capsys: Printed) -> None:
    client.rows[5] = [task(0), task(1, "failed"), task(2, "running"), task(3)]
    assert _run(["results", "5"]) == 0
    found = [json.loads(line) for line in lines(capsys)]
    assert [(one["index"], one["state"], one["value"], one["error"]) for one in found] == [
        (0, "completed", 0, None),
        (1, "failed", None, "ValueError: no\nmore of it"),
        (3, "completed", 3, None),
    ]
    assert _run(["results", "5", "-s", "completed", "--format", "{value}"]) == 0
    assert lines(capsys) == ["0", "3"]
    with pytest.raises(UsageError, match="running has no result yet"):
        _run(["results", "5", "-s", "running"])


@pytest.mark.parametrize("form", [[], ["--json"], ["-o", "{index}"]], ids=" ".join)
def test_given_process_then_what_was_printed_counts_as_processed_and_no_more(
    form: list[str], client: ClientDouble, capsys: Printed
) -> None:
    printed: list[int] = []
    client.rows[5] = [task(0), task(1, "failed"), task(2, "processed"), task(3)]
    client.rows[6] = [task(index) for index in range(1500)]

    def processed(job_id: int, ranges: list[tuple[int, int]]) -> Any:
        if ranges:
            printed.append(capsys.readouterr().out.count("\n"))
        return client_answer()

    client_answer = client.answer
    client.answer = processed
    assert _run(["results", "5", "6", "--process", *form]) == 0
    marked = [call for call in client.asked if call[0] == "processed" and call[2]]
    assert marked == [
        ("processed", 5, [(0, 0), (3, 3)]),
        ("processed", 6, [(0, 999)]),
        ("processed", 6, [(1000, 1499)]),
    ]
    # The first three rows, and a line before them where it is one value.
    head = form == ["--json"]
    assert printed == [3 + head, 1000, 500]


def test_given_follow_in_order_then_each_is_awaited_that_is_missing(
    client: ClientDouble, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.summaries = [job(5, "running")]
    client.rows[5] = [task(0), task(1, "running"), task(2)]

    def later(_: float) -> None:
        client.rows[5] = [task(0), task(1), task(2)]
        client.summaries = [job(5)]

    monkeypatch.setattr("time.sleep", later)
    assert _run(["results", "5", "--follow", "--in-order", "-o", "{index}"]) == 0
    assert lines(capsys) == ["0", "1", "2"]


# --- wait


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["1"], 0),
        (["1", "2"], 1),
        (["1", "2", "--infra-only"], 0),
        (["1", "3", "--timeout", "1ms"], 124),
        (["1", "--progress"], 0),
        (["1-2"], 1),
        (["all", "--timeout", "1ms"], 124),
    ],
)
def test_given_jobs_then_waiting_for_them_tells_how_they_ended(
    words: list[str], code: int, client: ClientDouble
) -> None:
    client.summaries = [job(1), job(2, "failed", tasks={"failed": 1}), job(3, "running")]
    assert _run(["wait", *words]) == code


@pytest.mark.parametrize("words", [["wait", "7-9"], ["wait", "last"], ["tasks", "7-9"], ["results", "last"]])
def test_given_nothing_that_is_meant_then_it_is_said(words: list[str], client: ClientDouble) -> None:
    with pytest.raises(NoSuchJob, match="there are no jobs"):
        _run(words)


def test_given_a_time_out_then_json_still_is_one_value(client: ClientDouble, capsys: Printed) -> None:
    client.summaries = [job(3, "running")]
    assert _run(["wait", "3", "--timeout", "1ms", "--json"]) == 124
    told = value(capsys)
    assert (told["schema"], told["timed_out"]) == ("cyclone.wait/1", True)
    assert [(one["id"], one["state"]) for one in told["jobs"]] == [(3, "running")]
    assert _run(["wait", "3", "--timeout", "1ms", "--progress"]) == 124
    assert capsys.readouterr().err.splitlines()[-1] == "job 3 running: 10 completed"
