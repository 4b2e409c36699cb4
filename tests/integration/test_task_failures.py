"""What a task can do to itself: each ends in one record that says what happened, and its worker lives on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclone.protocol.limits import VALUE_BYTES_MAX
from tests.support.lab import Lab, new_lab

PRINTED_LINES = 20_000
TASKS: tuple[dict[str, Any], ...] = (
    {"what": "quick", "value": "first"},
    {"what": "raise", "value": "what went wrong"},
    {"what": "base_exception", "value": "not an Exception"},
    {"what": "sys_exit", "value": 3},
    {"what": "keyboard_interrupt"},
    {"what": "too_large", "value": VALUE_BYTES_MAX + 1},
    {"what": "not_serialisable"},
    {"what": "memory_error"},
    {"what": "print", "value": PRINTED_LINES},
    {"what": "log"},
    {"what": "scratch"},
    {"what": "scratch", "value": "raise"},
    {"what": "about", "limit": 30.0},
    {"what": "descriptors"},
    {"what": "no_such_method"},
    {"what": "quick", "value": "last"},
)


class Seen:
    """One run with all of them, on a single worker."""

    def __init__(self, lab: Lab) -> None:
        results = lab.folder / "results.jsonl"
        self.records = lab.records(lab.script(*TASKS), "--workers", "1", exit_code=1)
        self.notes = lab.notes()
        self.lines = len(results.read_text().splitlines())
        self.stdout, self.stderr = (
            "".join(path.read_text() for path in lab.folder.glob(f"cyclone-*.{kind}")) for kind in ("stdout", "stderr")
        )
        self.scratch_left = [note["folder"] for note in lab.notes("scratch") if Path(note["folder"]).exists()]

    def record(self, what: str, value: Any = None) -> dict[str, Any]:
        (found,) = [record for record in self.records if record["args"] == [what, value]]
        return found

    def error(self, what: str, value: Any = None) -> tuple[str, str]:
        record = self.record(what, value)
        assert record["state"] == "failed"
        return record["error"]["type"], record["error"]["message"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with new_lab(tmp_path_factory.mktemp("failures")) as lab:
        yield Seen(lab)


def test_given_failing_tasks_when_run_then_each_has_one_record_and_one_start(seen: Seen) -> None:
    assert [record["task_id"] for record in seen.records] == list(range(1, len(TASKS) + 1))
    assert seen.lines == len(TASKS)
    starts = [note["task"] for note in seen.notes if note["kind"] == "start"]
    assert starts == list(range(1, len(TASKS) + 1))
    assert [note["task"] for note in seen.notes if note["kind"] == "result"] == starts


def test_given_failing_tasks_when_run_then_one_worker_survives_them_all(seen: Seen) -> None:
    assert len({record["worker_pid"] for record in seen.records}) == 1
    assert {record["attempt"] for record in seen.records} == {1}


def test_given_a_task_that_raises_when_recorded_then_type_message_and_remote_traceback_are_told(seen: Seen) -> None:
    assert seen.error("raise", "what went wrong") == ("ValueError", "what went wrong")
    traceback = seen.record("raise", "what went wrong")["error"]["traceback"]
    assert "in do_raise" in traceback
    assert "workload.py" in traceback


@pytest.mark.parametrize(
    ("what", "value", "kind", "message"),
    [
        ("base_exception", "not an Exception", "tests.support.workload.OddBaseError", "not an Exception"),
        ("sys_exit", 3, "SystemExit", "3"),
        ("keyboard_interrupt", None, "KeyboardInterrupt", ""),
        ("memory_error", None, "MemoryError", ""),
        ("no_such_method", None, "AttributeError", "'Act' object has no attribute 'do_no_such_method'"),
    ],
)
def test_given_any_exception_when_a_task_raises_it_then_the_task_has_failed_with_it(
    seen: Seen, what: str, value: Any, kind: str, message: str
) -> None:
    assert seen.error(what, value) == (kind, message)


def test_given_a_value_that_is_too_large_when_returned_then_the_task_fails_and_says_the_limit(seen: Seen) -> None:
    kind, message = seen.error("too_large", VALUE_BYTES_MAX + 1)
    assert kind == "PayloadTooLarge"
    assert "the value that execute() returned takes" in message
    assert str(VALUE_BYTES_MAX) in message


def test_given_a_value_without_a_form_when_returned_then_the_task_fails_and_says_what_it_holds(seen: Seen) -> None:
    kind, message = seen.error("not_serialisable")
    assert kind == "NotSerialisable"
    assert "the value that execute() returned holds a builtins.set" in message


def test_given_a_task_that_prints_when_run_then_nothing_of_it_is_on_standard_output(seen: Seen) -> None:
    assert seen.record("print", PRINTED_LINES)["value"] == "printed"
    assert seen.stderr.count("stdout of a task\n") == PRINTED_LINES
    assert seen.stderr.count("stderr of a task\n") == PRINTED_LINES
    assert "of a task" not in seen.stdout


def test_given_a_task_that_logs_when_run_then_its_line_carries_the_task_id(seen: Seen) -> None:
    task_id = seen.record("log")["task_id"]
    assert f"WARNING: task={task_id} said by a task\n" in seen.stderr


def test_given_a_scratch_directory_when_its_task_has_ended_or_failed_then_it_is_gone(seen: Seen) -> None:
    assert seen.record("scratch", "raise")["state"] == "failed"
    assert len([note for note in seen.notes if note["kind"] == "scratch"]) == 2
    assert seen.scratch_left == []


def test_given_a_running_task_when_it_asks_then_it_knows_id_attempt_and_time_left(seen: Seen) -> None:
    record = seen.record("about")
    assert record["value"]["task_id"] == record["task_id"]
    assert record["value"]["attempt"] == 1
    assert 25.0 < record["value"]["left_s"] <= 30.0


def test_given_a_worker_when_a_task_looks_then_it_has_inherited_its_own_pipe_and_nothing_else(seen: Seen) -> None:
    descriptors = seen.record("descriptors")["value"]
    sockets = [target for target in descriptors.values() if target.startswith("socket:")]
    assert len(sockets) == 2, "the channel and the nudges"
    # Standard error is the run's; the shared words have no name.
    others = [
        target for target in descriptors.values() if not target.startswith(("socket:", "pipe:", "/dev/", "/proc/"))
    ]
    assert {Path(target).name for target in others if not target.endswith(".stderr")} == {
        "memfd:cyclone-worker (deleted)"
    }
