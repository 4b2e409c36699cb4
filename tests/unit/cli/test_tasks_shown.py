"""What ``cyclone tasks``, ``show``, ``results`` and ``logs`` tell of single tasks: why they failed, and since when they
are with a node.
"""

import json
from typing import Any

import msgspec
import pytest

from cyclone.cli import columns
from cyclone.cli.main import _run
from cyclone.client.task_output import TaskOutput
from cyclone.errors import CycloneError
from cyclone.protocol.job_messages import OutputAnswer
from tests.support.client_double import ClientDouble, client, job, task

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]
TRACEBACK = 'Traceback (most recent call last):\n  File "work.py", line 7, in execute\nValueError: no\x1b[2J\n'


@pytest.fixture
def looked_at(client: ClientDouble) -> ClientDouble:
    """A task that completed, one that raised, one that runs and one that waits."""
    client.summaries = [job(5, "running")]
    out = {"started": 0.0, "seconds": 0.0, "value": b""}
    client.rows[5] = [
        task(0),
        task(1, "failed", traceback=TRACEBACK),
        task(2, "running", since=1_700_000_000.5, attempt=3, **out),
        task(3, "queued", controller="", error="", **out),
    ]
    return client


def objects(capsys: Printed) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_given_a_task_that_raised_then_its_traceback_is_shown(looked_at: ClientDouble, capsys: Printed) -> None:
    assert _run(["show", "5.1"]) == 0
    text = capsys.readouterr().out
    assert text.endswith(
        '\nTraceback (most recent call last):\n  File "work.py", line 7, in execute\nValueError: no\\x1b[2J\n'
    )
    assert _run(["show", "5.1", "--json"]) == 0
    assert objects(capsys)[0]["task"]["traceback"] == TRACEBACK
    assert _run(["show", "5.0"]) == 0
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("task_class", "args", "entry"),
    [
        ("tasks.job_command:JobCommand", [17], 17),
        ("tasks.job_command:JobCommand", ["a b", 3], "a b"),
        ("tasks.job_command:JobCommand", [{"x": [1]}, 0], {"x": [1]}),
        ("tasks.job_command:JobCommand", [["cat", "a"], None, 9, 5.0, ["a", "b"], 4], ["a", "b"]),
        ("tasks.script:ScriptTask", [17, 2], 17),
        ("tasks.job_command:JobCommand", [None], None),
        ("tasks.job_command:JobCommand", [], None),
        ("tasks.job_command:JobCommand", "what no submit packs", None),
        ("tests:Task", [17], None),
    ],
)
def test_given_a_task_of_an_array_then_its_entry_is_told(
    task_class: str, args: Any, entry: Any, client: ClientDouble, capsys: Printed
) -> None:
    client.summaries = [job(5, task_class=task_class)]
    client.rows[5] = [task(0, args=msgspec.msgpack.encode(args))]
    assert _run(["tasks", "5", "-o", "id,entry", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == [{"id": "5.0", "entry": entry}]
    assert _run(["show", "5.0", "--json"]) == 0
    assert objects(capsys)[0]["task"]["entry"] == entry
    assert _run(["show", "5.0"]) == 0
    assert ("\nentry " in capsys.readouterr().out) == (entry is not None)


def test_given_results_then_a_failed_one_has_its_traceback(looked_at: ClientDouble, capsys: Printed) -> None:
    assert _run(["results", "5"]) == 0
    assert [one["traceback"] for one in objects(capsys)] == [None, TRACEBACK]
    assert _run(["tasks", "5", "--values", "--json"]) == 0
    assert [one["traceback"] for one in json.loads(capsys.readouterr().out)["tasks"]] == [None, TRACEBACK, None, None]


def test_given_a_task_that_is_out_then_it_is_said_since_when(looked_at: ClientDouble, capsys: Printed) -> None:
    assert _run(["tasks", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["tasks"]
    assert [one["since"] for one in found] == [None, None, "2023-11-14T22:13:20.500Z", None]
    assert [one["started"] is None for one in found] == [False, False, True, True]
    assert _run(["tasks", "5"]) == 0
    head = capsys.readouterr().out.splitlines()[0].split()
    assert "SINCE" in head
    assert "ATTEMPT" not in head
    assert _run(["show", "5.2"]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["since"].endswith(", with node1")
    assert shown["attempt"] == "3: so often was it given to a node"


class Output:
    """What a task has printed, as a Client reads it."""

    def __init__(self, data: bytes, state: str, cut: str = "") -> None:
        self.lost_bytes, self.cut = 0, cut
        self.last = OutputAnswer(1, 1, 0, [], len(data), True, state, "node1")
        self._pieces = [TaskOutput(1, "node1", 0, "stdout", data)] if data else []

    def read(self) -> list[TaskOutput]:
        return self._pieces

    def follow(self, _: float) -> list[TaskOutput]:
        return self._pieces


@pytest.mark.parametrize(
    ("words", "data", "state", "says"),
    [
        (
            [],
            b"",
            "failed",
            "printed nothing, or it is not kept any more; it has ended: failed; `cyclone show 5.1` says why",
        ),
        ([], b"", "completed", "printed nothing, or it is not kept any more"),
        (["-f"], b"hi\n", "cancelled", "it has ended: cancelled; `cyclone show 5.1` says why"),
        (["-f"], b"hi\n", "timed_out", "it has ended: timed_out; `cyclone show 5.1` says why"),
        (["-f"], b"hi\n", "completed", ""),
        ([], b"hi\n", "failed", ""),
    ],
)
def test_given_a_task_that_ended_badly_then_it_is_not_silently_at_an_end(
    words: list[str], data: bytes, state: str, says: str, looked_at: ClientDouble, capfdbinary: Any
) -> None:
    looked_at.answer = lambda *_, **__: Output(data, state)  # type: ignore[assignment]
    assert _run(["logs", "5.1", *words]) == 0
    assert capfdbinary.readouterr() == (data, f"task 5.1: {says}\n".encode() if says else b"")


def test_given_json_then_what_is_said_beside_the_lines_is_an_object_too(
    looked_at: ClientDouble, capsys: Printed
) -> None:
    looked_at.answer = lambda *_, **__: Output(b"", "completed")  # type: ignore[assignment]
    assert _run(["logs", "5.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().err) == {"note": "task 5.1: printed nothing, or it is not kept any more"}


def test_given_a_task_that_there_is_not_then_it_is_named(looked_at: ClientDouble) -> None:
    for verb in ("logs", "tasks", "results"):
        with pytest.raises(CycloneError, match="job 5 has no task 55: its indexes are 0-9"):
            _run([verb, "5.1", "5.55"])
    assert _run(["tasks", "5.1", "-s", "expired"]) == 0


def test_given_reasons_then_people_get_local_time_and_no_place_in_a_queue_that_does_not_matter(
    looked_at: ClientDouble, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = 1_700_000_000
    monkeypatch.setattr(columns, "moment_text", lambda unix_s: "soon" if unix_s == at else str(unix_s))
    position = ("position", "it is next in namespace default")
    looked_at.reasons = [("not_before", "not before 2023-11-14T22:13:20Z"), position]
    assert _run(["explain", "5"]) == 0
    assert capsys.readouterr().out == "not before soon\n"
    assert _run(["explain", "5", "--json"]) == 0
    assert objects(capsys)[0]["reasons"][1] == {"code": "position", "text": "it is next in namespace default"}
    drained = ("drained", "2 of 2 controllers fit, and of these 1 is drained: a")
    busy = ("busy", "2 of 2 controllers fit, and of these 1 is busy: b (2 of 2 slots taken by job 1)")
    for reasons, has_place in (([busy], True), ([drained, busy], True), ([drained], False)):
        looked_at.reasons = [*reasons, position]
        assert _run(["explain", "5"]) == 0
        assert (position[1] in capsys.readouterr().out.splitlines()) == has_place


def test_given_kinds_of_failures_then_each_is_told_by_what_its_example_says(
    looked_at: ClientDouble, capsys: Printed
) -> None:
    path = "/var/tmp/cyclone/c3fedf2fcbd9"
    looked_at.rows[5] = [task(1, "failed", error=f"tasks.errors.Broken: {path}\nand more"), task(2, "running")]
    looked_at.failures = [("tasks.errors.Broken: /var/tmp/cyclone/c#fedf#fcbd#", 12, 1), ("others", 3, 2)]
    assert _run(["show", "5"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"       12  Broken: {path}  (such as 5.1)",
        "        3  others  (such as 5.2)",
    ]
    assert _run(["show", "5", "--json"]) == 0
    found = objects(capsys)[0]["job"]["failures"][0]
    assert (found["count"], found["error"], found["example"]) == (
        12,
        "tasks.errors.Broken: /var/tmp/cyclone/c#fedf#fcbd#",
        f"tasks.errors.Broken: {path}\nand more",
    )


def test_given_tasks_that_printed_nothing_then_it_is_told_of_all_of_them_together(
    looked_at: ClientDouble, capfdbinary: Any
) -> None:
    looked_at.answer = lambda _, index, **__: Output(b"hi\n" if index == 1 else b"", "cancelled")  # type: ignore[assignment]
    assert _run(["logs", "5"]) == 0
    assert capfdbinary.readouterr() == (
        b"==> 5.1 <==\nhi\n",
        b"3 tasks printed nothing, or it is not kept: 5.0,2-3\n",
    )


def test_given_a_task_that_printed_more_than_is_kept_then_logs_and_show_say_so(
    looked_at: ClientDouble, capfd: pytest.CaptureFixture[str]
) -> None:
    cut = "9 more bytes were discarded: [processing] stdout_max_bytes = 3"
    looked_at.read_output = lambda *_, **__: Output(b"hi\n", "completed", cut)  # type: ignore[attr-defined]
    assert _run(["logs", "5.0"]) == 0
    assert capfd.readouterr() == ("hi\n", f"task 5.0: it has printed more: {cut}\n")
    looked_at.printed_bytes = 3
    assert _run(["show", "5.0"]) == 0
    assert f"more than is kept: {cut}\n" in capfd.readouterr().out
    assert _run(["show", "5.0", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["task"]["output_cut"] == cut
