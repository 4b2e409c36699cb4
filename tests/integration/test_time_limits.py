"""A task that exceeds its time limit is ended with all that it started; nobody else notices."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lab import Lab, new_lab

SIBLINGS = 40
# A batch of quick tasks around one that hangs: all of one job, so that they travel together.
BATCH = [
    {"what": "quick", "times": SIBLINGS, "number": True, "limit": 0.6},
    {"what": "hang", "limit": 0.6},
    {"what": "quick", "times": SIBLINGS, "number": True, "limit": 0.6},
]
PROCESSING = {"task_time_limit": "1500ms", "setup_limit": "1s", "kill_grace": "1s"}
TASKS: list[dict[str, Any]] = [
    *BATCH,
    {"what": "hang", "class": "LimitedAct"},
    {"what": "tidy_up", "limit": 0.1, "times": 20},
    {"what": "ignore_sigterm", "limit": 0.3},
    {"what": "hold_gil", "limit": 0.3},
    {"what": "child", "limit": 0.3},
    {"what": "sleep 3600 & sleep 3600", "class": "CommandTask", "limit": 0.3},
    {"what": "scratch", "value": "hang", "limit": 0.3},
    {"what": "quick", "class": "PreparedAct", "value": 0.4, "limit": 0.2},
    {"what": "hang", "class": "PreparedAct", "value": 0.4, "limit": 0.2},
    {"what": "quick", "class": "PreparedAct", "value": 3600.0, "limit": 0.2},
    {"what": "hang"},
    {"what": "about"},
    {"what": "about", "class": "LimitedAct"},
    {"what": "about", "limit": 20.0},
    {"what": "quick", "value": "last"},
]


class Seen:
    def __init__(self, lab: Lab) -> None:
        config = lab.script(*TASKS, processing=PROCESSING)
        self.records = lab.records(config, exit_code=1)
        self.starts = Counter(note["task"] for note in lab.notes("start"))
        self.tidied = lab.notes("tidied")
        self.prepared = {note["task"] for note in lab.notes("prepared")}
        self.sleeping = lab.processes("sleep 3600")

    def ended(self, what: str, task_class: str = "Act", value: Any = None) -> list[dict[str, Any]]:
        return [
            r for r in self.records if r["task_class"].endswith(f":{task_class}") and r["args"][:2] == [what, value]
        ]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with new_lab(tmp_path_factory.mktemp("limits")) as lab:
        yield Seen(lab)


def test_given_tasks_beyond_their_limit_when_run_then_each_task_has_one_record(seen: Seen) -> None:
    assert [record["task_id"] for record in seen.records] == list(range(1, sum(t.get("times", 1) for t in TASKS) + 1))
    assert Counter(record["state"] for record in seen.records) == {
        "timed_out": 29,
        "completed": 2 * SIBLINGS + 5,
        "setup_failed": 1,
    }


def test_given_a_time_limit_of_class_instance_or_configuration_when_exceeded_then_that_one_is_named(seen: Seen) -> None:
    messages = {record["error"]["message"] for record in seen.ended("hang")}
    assert messages == {"exceeded its time limit of 0.6 s", "exceeded its time limit of 1.5 s"}
    (by_class,) = seen.ended("hang", "LimitedAct")
    assert by_class["error"]["message"] == "exceeded its time limit of 0.4 s"
    assert by_class["error"]["type"] == "TaskTimedOut"


def test_given_a_preparation_longer_than_the_limit_then_only_what_the_task_itself_takes_counts(seen: Seen) -> None:
    (quick,), (hanging,) = seen.ended("quick", "PreparedAct", 0.4), seen.ended("hang", "PreparedAct", 0.4)
    assert quick["state"] == "completed"
    assert (hanging["state"], hanging["error"]["message"]) == ("timed_out", "exceeded its time limit of 0.2 s")
    assert 0.2 <= hanging["seconds"] < 0.4


def test_given_a_preparation_beyond_the_limit_of_its_own_then_it_has_failed_and_tidied_up(seen: Seen) -> None:
    (record,) = seen.ended("quick", "PreparedAct", 3600.0)
    assert record["state"] == "setup_failed"
    assert (record["error"]["type"], record["error"]["message"]) == (
        *("SetupTimedOut", "its preparation took longer than [processing] setup_limit, 1 s"),
    )
    assert record["task_id"] in seen.prepared
    assert 1.0 <= record["seconds"] < 5.0


@pytest.mark.parametrize("what", ["tidy_up", "ignore_sigterm", "hold_gil", "child"])
def test_given_any_way_to_hang_when_the_limit_has_passed_then_the_task_is_timed_out(seen: Seen, what: str) -> None:
    assert {(record["state"], record["attempt"]) for record in seen.ended(what)} == {("timed_out", 1)}


def test_given_a_task_with_a_finally_block_when_ended_then_that_runs(seen: Seen) -> None:
    # Often: the signal must never meet another thread of the worker than the one that executes.
    records = seen.ended("tidy_up")
    assert len(records) == 20
    assert sorted(note["task"] for note in seen.tidied) == [record["task_id"] for record in records]


def test_given_a_batch_when_one_task_of_it_is_ended_then_no_sibling_is_run_twice(seen: Seen) -> None:
    siblings = [record["task_id"] for record in seen.records[: 2 * SIBLINGS + 1] if record["state"] == "completed"]
    assert len(siblings) == 2 * SIBLINGS
    assert {seen.starts[task_id] for task_id in siblings} == {1}


def test_given_tasks_beyond_their_limit_when_ended_then_none_is_tried_again(seen: Seen) -> None:
    assert {seen.starts[r["task_id"]] for r in seen.records if r["state"] == "timed_out" and len(r["args"]) == 2} == {1}


def test_given_a_child_in_a_session_of_its_own_when_its_task_is_ended_then_it_is_killed_too(seen: Seen) -> None:
    (command,) = seen.ended("sleep 3600 & sleep 3600", "CommandTask")
    assert command["state"] == "timed_out"
    assert seen.sleeping == {}


def test_given_a_running_task_when_it_asks_then_the_time_left_is_of_its_own_limit_or_the_default(seen: Seen) -> None:
    left_s = [record["value"]["left_s"] for record in seen.records if record["args"][0] == "about"]
    assert [left is not None for left in left_s] == [True, True, True]
    assert 0 < left_s[0] <= 1.5
    assert 0 < left_s[1] <= 0.4
    assert 15 < left_s[2] <= 20


def test_given_timed_out_tasks_when_recorded_then_worker_and_seconds_are_told(seen: Seen) -> None:
    record = seen.ended("hang", "LimitedAct")[0]
    assert record["worker_pid"] > 0
    assert 0.4 <= record["seconds"] < 5.0
