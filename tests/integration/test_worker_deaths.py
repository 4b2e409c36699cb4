"""Whatever kills a worker: the task that it was executing is charged and no other, and each task has one record."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from cyclone.protocol.messages import Job, State
from tests.support import procfs
from tests.support.fake_master import FakeMaster, packed
from tests.support.lab import Lab, new_lab
from tests.support.procfs import wait_until

SIBLINGS = 60
CRASH_LIMIT = 2
# How each kills its worker, and how the quarantine tells it.
SIGKILLED = "killed by SIGKILL (out of memory?)"
KILLERS: list[tuple[dict[str, Any], str]] = [
    ({"what": "segfault"}, "signal 11 (SIGSEGV)"),
    ({"what": "kill"}, SIGKILLED),
    ({"what": "abort"}, "signal 6 (SIGABRT)"),
    ({"what": "os_exit", "value": 7}, "exit code 7"),
    ({"what": "os_exit", "value": 0}, "exit code 0"),
    ({"what": "scratch", "value": "kill"}, SIGKILLED),
    ({"what": "leave_child_and_die"}, SIGKILLED),
]


class Seen:
    """Each killer in the middle of a batch of quick tasks of the same job."""

    def __init__(self, lab: Lab) -> None:
        tasks: list[dict[str, Any]] = [{"what": "quick", "times": SIBLINGS, "number": True}]
        for killer, _ in KILLERS:
            tasks += [killer, {"what": "quick", "times": SIBLINGS, "number": True}]
        tasks += [{"what": "kill_once"}]
        self.records = lab.records(lab.script(*tasks, control={"crash_limit": str(CRASH_LIMIT)}), exit_code=1)
        self.starts = Counter(note["task"] for note in lab.notes("start"))
        self.results = Counter(note["task"] for note in lab.notes("result"))
        self.children = [note["child"] for note in lab.notes("child") if note["child"] in lab.processes()]
        self.stderr = "".join(path.read_text() for path in lab.folder.glob("cyclone-*.stderr"))

    def record(self, task: dict[str, Any]) -> dict[str, Any]:
        (found,) = [record for record in self.records if record["args"] == [task["what"], task.get("value")]]
        return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with new_lab(tmp_path_factory.mktemp("deaths")) as lab:
        yield Seen(lab)


def test_given_workers_that_die_when_run_then_each_task_has_one_record_and_one_result(seen: Seen) -> None:
    total = (len(KILLERS) + 1) * SIBLINGS + len(KILLERS) + 1
    assert [record["task_id"] for record in seen.records] == list(range(1, total + 1))
    assert seen.results == dict.fromkeys(range(1, total + 1), 1)


@pytest.mark.parametrize(("killer", "cause"), KILLERS, ids=lambda item: item["what"] if isinstance(item, dict) else "")
def test_given_a_task_that_kills_its_worker_when_tried_again_then_it_is_quarantined_with_the_cause(
    seen: Seen, killer: dict[str, Any], cause: str
) -> None:
    record = seen.record(killer)
    assert record["state"] == "quarantined"
    assert record["error"]["type"] == "Quarantined"
    assert record["error"]["message"] == f"killed {CRASH_LIMIT} workers, the last one: {cause}"
    assert record["worker_pid"] > 0
    assert record["started"] > "2020"
    assert seen.starts[record["task_id"]] == CRASH_LIMIT


def test_given_batch_mates_of_a_killer_when_run_then_all_are_completed_with_their_own_value(seen: Seen) -> None:
    quick = [record for record in seen.records if record["args"][0] == "quick"]
    assert {record["state"] for record in quick} == {"completed"}
    assert all(record["value"] == record["args"][1] for record in quick)


def test_given_a_task_that_kills_one_worker_when_tried_again_then_it_may_complete(seen: Seen) -> None:
    record = seen.record({"what": "kill_once"})
    assert (record["state"], record["value"]) == ("completed", "second time lucky")
    assert record["attempt"] == 2


def test_given_a_task_that_left_children_when_it_kills_its_worker_then_they_are_gone(seen: Seen) -> None:
    assert seen.children == []


@pytest.mark.parametrize("what", ["close_descriptors", "rubbish"])
def test_given_a_task_that_breaks_the_pipe_when_run_then_it_is_quarantined_and_its_mates_complete(
    lab: Lab, what: str
) -> None:
    mates = {"what": "quick", "times": 30, "number": True}
    config = lab.script(mates, {"what": what}, mates, control={"crash_limit": "3"})
    records = lab.records(config, exit_code=1)
    states = {record["args"][0]: record["state"] for record in records}
    assert states == {"quick": "completed", what: "quarantined"}
    assert [record["task_id"] for record in records] == list(range(1, 62))


def test_given_a_task_that_leaves_a_child_when_the_run_ends_then_the_child_ends_with_it(lab: Lab) -> None:
    config = lab.script({"what": "leave_child"}, {"what": "gate", "value": "gate"})
    run = lab.run(config)
    (note,) = lab.noted("child")
    lab.wait_until(lambda: note["child"] in lab.processes("sleep 3600"), "the child is at work")
    lab.open("gate")
    assert run.exits() == 0
    lab.all_gone()


@pytest.mark.parametrize(
    ("task", "crash_limit", "attempts"),
    [
        pytest.param({"what": "quick", "class": "DeadlyConstructor"}, 2, [1, 2], id="after the start"),
        pytest.param({"what": "kill_once"}, 2, [1, 2], id="in the middle"),
        # With this limit a charge would be the end of it.
        pytest.param({"what": "die_before_report"}, 1, [1, 2], id="before the result is written"),
        pytest.param({"what": "die_after_report"}, 1, [1], id="after the result is written"),
    ],
)
def test_given_a_sigkill_at_a_moment_then_the_task_completes_and_only_one_that_was_running_is_charged(
    lab: Lab, task: dict[str, Any], crash_limit: int, attempts: list[int]
) -> None:
    # The first task of a job is a batch of its own; what follows is there to be run twice by mistake.
    mates = {"what": "quick", "value": "mate", "times": 20}
    config = lab.script(task, mates, control={"crash_limit": str(crash_limit)}, processing={"worker_count": "1"})
    records = lab.records(config, exit_code=0)
    assert [record["state"] for record in records] == ["completed"] * 21
    starts = lab.notes("start", task=1)
    assert [note["attempt"] for note in starts] == attempts
    assert starts[0]["pid"] not in {record["worker_pid"] for record in records[1:]}, "it was not killed"
    assert Counter(note["task"] for note in lab.notes("start", value="mate")) == dict.fromkeys(range(2, 22), 1)
    assert Counter(note["task"] for note in lab.notes("result")) == dict.fromkeys(range(1, 22), 1)


def test_given_a_sigkill_while_a_worker_exits_then_it_is_replaced_and_nothing_runs_again(lab: Lab) -> None:
    config = lab.script({"what": "die_at_exit"}, {"what": "quick"}, processing={"worker_max_tasks": "1"})
    run = lab.run(config, "--workers", "1", "--set", "log.level=info")
    assert run.exits() == 0
    assert f"ended: {SIGKILLED}" in run.stderr()
    assert [(note["task"], note["attempt"]) for note in lab.notes("start")] == [(1, 1), (2, 1)]
    assert [note["state"] for note in lab.notes("result")] == ["completed"] * 2


def test_given_a_sigkill_before_a_worker_has_read_its_task_then_another_gets_it_in_the_same_attempt(lab: Lab) -> None:
    with FakeMaster(lab.port) as master:
        lab.controller(
            lab.config(), "target", "processing.worker_count=1", "processing.spare_workers=0", welcomed=False
        )
        master.welcome(session=5)
        master.await_message(State, lambda state: state.slots == 1)
        worker = lab.process("cyclone.controller.worker")
        os.kill(worker, signal.SIGSTOP)
        wait_until(lambda: procfs.state(worker) == "T", "the worker is stopped")
        master.add(Job(1, "tests.support.workload:Act"), 1, [packed("quick", "value")])
        master.await_message(State, lambda state: state.busy == 1)
        os.kill(worker, signal.SIGKILL)
        (result,) = master.await_results([1])
    assert (result.state, result.value, result.attempt) == ("completed", "value", 1)
    assert [note["pid"] for note in lab.notes("start")] == [result.worker_pid]
    assert result.worker_pid != worker


def test_given_a_sigkill_from_outside_when_a_task_runs_then_it_is_tried_again_and_completes(lab: Lab) -> None:
    config = lab.script({"what": "gate_once", "value": "never"}, {"what": "quick"})
    run = lab.run(config, "--results", lab.folder / "results.jsonl")
    (start,) = lab.noted("start", what="gate_once")
    os.kill(start["pid"], signal.SIGKILL)
    assert run.exits() == 0
    assert [note["attempt"] for note in lab.notes("start", what="gate_once")] == [1, 2]
    assert len(lab.notes("result")) == 2
