"""Controllers by hand: killed, stopped, restarted, doubled, sent away; each task is recorded once all the same."""

import os
import signal

import pytest

from tests.support import procfs
from tests.support.lab import Lab, Started
from tests.support.procfs import wait_until

ONE_WORKER = "processing.worker_count=1"


def results(lab: Lab) -> dict[int, str]:
    """State by task; each has been delivered once."""
    notes = lab.notes("result")
    found = {note["task"]: note["state"] for note in notes}
    assert len(found) == len(notes), f"a result was delivered twice: {notes}"
    return found


def all_recorded(lab: Lab, count: int) -> None:
    lab.noted("result", count)
    assert results(lab) == dict.fromkeys(range(1, count + 1), "completed")


def whose(lab: Lab, pid: int, controllers: list[Started]) -> Started:
    """The controller whose worker this is."""
    (found,) = [one for one in controllers if procfs.parent(pid) == one.pid]
    return found


def test_given_two_controllers_when_one_is_killed_then_the_other_runs_its_tasks_after_the_time_out(lab: Lab) -> None:
    config = lab.script({"what": "gate_once", "value": "gate", "times": 2}, {"what": "quick", "times": 20})
    master = lab.master(config)
    one, two = (lab.controller(config, name, ONE_WORKER) for name in ("one", "two"))
    starts = lab.noted("start", 2, what="gate_once")
    one.signal(signal.SIGKILL)
    lab.wait_until(lambda: not any(procfs.parent(note["pid"]) == one.pid for note in starts), "its workers are gone")
    lab.open("gate")
    all_recorded(lab, 22)
    assert "controller=one silent for " in master.stderr()
    assert sorted(note["attempt"] for note in lab.notes("start", what="gate_once")) == [1, 1, 2]
    assert {note["controller"] for note in lab.notes("result")} == {"two"}
    assert two.alive


def test_given_a_killed_controller_when_it_is_restarted_with_its_name_then_its_tasks_come_back_at_once(
    lab: Lab,
) -> None:
    config = lab.script(
        {"what": "gate_once", "value": "never"}, control={"controller_timeout": "1h", "heartbeat_interval": "500ms"}
    )
    lab.master(config)
    first = lab.controller(config, "same", ONE_WORKER)
    lab.noted("start", what="gate_once")
    first.signal(signal.SIGKILL)
    first.exits()
    lab.controller(config, "same", ONE_WORKER)
    all_recorded(lab, 1)
    assert [note["attempt"] for note in lab.notes("start")] == [1, 2]


@pytest.mark.parametrize("late", ["while the second attempt runs", "after the second attempt"])
def test_given_a_stopped_controller_when_continued_beyond_the_time_out_then_its_late_result_is_judged(
    lab: Lab, late: str
) -> None:
    config = lab.script({"what": "gate", "value": "gate"}, {"what": "quick"})
    master = lab.master(config)
    one, two = (lab.controller(config, name, ONE_WORKER) for name in ("one", "two"))
    (first,) = lab.noted("start", what="gate")
    frozen = whose(lab, first["pid"], [one, two])
    sessions = frozen.stderr().count("welcomed by the master")
    frozen.signal(signal.SIGSTOP)
    lab.noted("start", 2, what="gate")
    assert " silent for " in master.stderr()
    lab.open("gate")
    # Both attempts compute a result: the stopped controller's worker runs on.
    lab.noted("passed", 2)
    if late == "after the second attempt":
        lab.noted("result", 2)
    frozen.signal(signal.SIGCONT)
    all_recorded(lab, 2)
    wait_until(lambda: frozen.stderr().count("welcomed by the master") > sessions, "it is back in session")
    # Whatever it had to say has been said: it takes work again, and nothing was recorded twice.
    assert results(lab) == {1: "completed", 2: "completed"}
    assert one.alive and two.alive


def test_given_controllers_that_start_first_when_the_master_comes_then_they_find_it(lab: Lab) -> None:
    config = lab.script({"what": "gate", "value": "gate", "times": 2}, {"what": "quick", "times": 50})
    early = [lab.controller(config, name, ONE_WORKER, welcomed=False) for name in ("one", "two")]
    lab.master(config)
    for controller in early:
        controller.says("welcomed by the master")
    lab.noted("start", 2, what="gate")
    lab.open("gate")
    all_recorded(lab, 52)
    assert {note["controller"] for note in lab.notes("result")} == {"one", "two"}


def test_given_a_master_that_was_away_when_another_comes_then_the_controller_drops_the_old_work(lab: Lab) -> None:
    config = lab.script({"what": "gate", "value": "never"}, {"what": "quick"})
    first = lab.master(config, "journal.durability=off")
    controller = lab.controller(config, "one", ONE_WORKER)
    (old,) = lab.noted("start", what="gate")
    first.signal(signal.SIGKILL)
    first.exits()
    second = lab.master(lab.script({"what": "quick", "value": "new", "times": 5}), "journal.durability=off")
    lab.noted("result", 5, value="new")
    assert "the master has another journal" in controller.stderr()
    assert procfs.state(old["pid"]) == "", "the worker that ran the old task was ended"
    assert lab.notes("start", what="gate") == [old]
    assert second.alive


def test_given_no_master_when_the_retries_are_used_up_then_the_controller_exits_69(lab: Lab) -> None:
    config = lab.script(control={"max_num_request_retries": "3", "request_retry_wait_duration": "20ms"})
    controller = lab.controller(config, "one", ONE_WORKER, welcomed=False)
    assert controller.exits(10) == 69
    assert "no answer from the master after 3 retries" in controller.stderr()


def test_given_a_live_controller_when_another_takes_its_name_then_it_exits_1_and_its_task_moves(lab: Lab) -> None:
    config = lab.script({"what": "gate_once", "value": "never"})
    master = lab.master(config)
    old = lab.controller(config, "same", ONE_WORKER)
    (first,) = lab.noted("start")
    new = lab.controller(config, "same", ONE_WORKER)
    assert old.exits() == 1
    assert f"superseded: a new incarnation of same said hello from {os.uname().nodename}, pid {new.pid}" in old.stderr()
    all_recorded(lab, 1)
    assert procfs.state(first["pid"]) == ""
    assert "controller=same superseded" in master.stderr()
    assert new.alive


def test_given_a_busy_controller_when_terminated_then_it_hands_back_finishes_and_exits_0(lab: Lab) -> None:
    config = lab.script(
        {"what": "quick", "times": 30}, {"what": "gate", "value": "gate"}, {"what": "quick", "times": 30}
    )
    master = lab.master(config)
    controller = lab.controller(config, "one", ONE_WORKER)
    (running,) = lab.noted("start", what="gate")
    controller.signal(signal.SIGTERM)
    controller.says("handing back what has not started")
    assert controller.alive, "it finishes what runs"
    lab.open("gate")
    assert controller.exits() == 0
    assert "controller=one left: stopped by a signal" in master.stderr()
    assert results(lab)[running["task"]] == "completed"
    assert len(results(lab)) < 61
    lab.controller(config, "two", ONE_WORKER)
    all_recorded(lab, 61)
    assert len(lab.notes("start")) == 61, "without a fault no task starts twice"


def test_given_a_stopping_controller_when_terminated_again_then_it_ends_at_once(lab: Lab) -> None:
    config = lab.script({"what": "hang"})
    lab.master(config)
    controller = lab.controller(config, "one", ONE_WORKER)
    (running,) = lab.noted("start")
    controller.signal(signal.SIGTERM)
    controller.says("handing back what has not started")
    controller.signal(signal.SIGTERM)
    assert controller.exits(5) == 0
    assert "stopped at once by a second " in controller.stderr()
    assert procfs.state(running["pid"]) == ""


def test_given_a_task_that_does_not_end_when_the_stop_times_out_then_the_controller_leaves_all_the_same(
    lab: Lab,
) -> None:
    config = lab.script({"what": "hang"}, control={"stop_timeout": "500ms"})
    lab.master(config)
    controller = lab.controller(config, "one", ONE_WORKER)
    lab.noted("start")
    controller.signal(signal.SIGTERM)
    assert controller.exits(10) == 0
    assert "stop_timeout passed with 1 tasks unfinished" in controller.stderr()


def test_given_one_busy_and_one_idle_controller_when_tasks_wait_behind_a_long_one_then_the_idle_one_runs_them(
    lab: Lab,
) -> None:
    config = lab.script(
        {"what": "quick", "times": 30}, {"what": "gate", "value": "gate"}, {"what": "quick", "times": 30}
    )
    lab.master(config)
    lab.controller(config, "one", ONE_WORKER)
    (running,) = lab.noted("start", what="gate")
    lab.controller(config, "two", ONE_WORKER)
    lab.noted("result", 60)
    assert running["task"] not in results(lab)
    lab.open("gate")
    all_recorded(lab, 61)
    assert len(lab.notes("start")) == 61, "what was recalled had not started"
