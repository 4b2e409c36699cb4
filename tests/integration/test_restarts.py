"""A master that is killed, stopped or out of disk, and the next one on its journal: nothing lost, nothing twice."""

import os
import resource
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.support.exports import assert_each_once, exported, state_folder
from tests.support.lab import Lab, Started

DONE = "control.exit_when_done=yes"
COUNT = 600
# Each notes that it was started, and so few run at a time that the master dies in the middle of them.
WORK = ({"what": "quick", "times": 200}, {"what": "gate", "value": "gate", "times": 2}, {"what": "quick", "times": 398})
FILE_BYTES_MAX = 256 << 10


def journal(lab: Lab) -> Path:
    return state_folder(lab) / "master.journal"


def kill(started: Started) -> None:
    started.signal(signal.SIGKILL)
    started.exits()


def assert_none_ran_twice(lab: Lab, count: int) -> None:
    """By the tasks' own history."""
    starts = Counter(note["task"] for note in lab.notes("start"))
    assert {task: times for task, times in starts.items() if times > 1} == {}
    assert sorted(starts) == list(range(1, count + 1))


def test_given_a_killed_master_when_started_again_then_no_task_runs_again_and_each_is_recorded_once(lab: Lab) -> None:
    config = lab.script(*WORK)
    master = lab.master(config, DONE)
    controllers = [lab.controller(config, name) for name in ("one", "two")]
    lab.noted("start", 2, what="gate")
    lab.noted("start", 150)
    kill(master)
    # What runs ends while there is nobody to tell.
    lab.open("gate")
    lab.noted("passed", 2)
    master = lab.master(config, DONE)
    assert master.exits() == 0, master.stderr()
    assert [controller.exits() for controller in controllers] == [0, 0]
    assert_none_ran_twice(lab, COUNT)
    assert_each_once(exported(lab, journal(lab)), COUNT)
    # It went on from its cursor, or was asked to yield again what it had: not one task more than it has.
    assert len(lab.notes("generator")) == 2


@pytest.mark.timeout(120)
def test_given_a_master_that_is_killed_again_and_again_under_load_then_no_task_runs_again(lab: Lab) -> None:
    naps = {"what": "nap", "value": 0.002, "times": 3000}
    # Without the last task a master could find that all is done, and end, before the controller has found it.
    config = lab.script(naps, {"what": "gate", "value": "last"})
    count = 3000 + 1
    master = lab.master(config, DONE)
    controller = lab.controller(config, "one")
    for killed in range(1, 9):
        lab.noted("start", killed * 300)
        kill(master)
        master = lab.master(config, DONE)
    lab.open("last")
    assert master.exits() == 0, master.stderr()
    assert controller.exits() == 0
    assert_none_ran_twice(lab, count)
    assert_each_once(exported(lab, journal(lab)), count)


def test_given_a_controller_that_died_with_its_master_then_its_tasks_run_again_after_its_time_out(lab: Lab) -> None:
    config = lab.script(*WORK)
    master = lab.master(config, DONE)
    controllers = [lab.controller(config, name) for name in ("one", "two")]
    lab.noted("start", 2, what="gate")
    for started in (master, *controllers):
        kill(started)
    lab.open("gate")
    master = lab.master(config, DONE)
    lab.controller(config, "three")
    assert master.exits() == 0, master.stderr()
    assert_each_once(exported(lab, journal(lab)), COUNT)


def test_given_a_finished_journal_when_a_master_starts_on_it_then_it_ends_with_0_without_a_controller(lab: Lab) -> None:
    config = lab.script({"what": "quick", "times": 10})
    master = lab.master(config, DONE)
    assert lab.controller(config, "one").exits() == 0
    assert master.exits() == 0
    again = lab.master(config, DONE)
    assert again.exits() == 0
    assert "10 completed, 0 unfinished" in again.stderr()
    assert f"nothing is left to do: journal {journal(lab)} is finished" in again.stderr()
    assert_none_ran_twice(lab, 10)


@pytest.mark.parametrize("sets", [("script.tasks=[]",), ("task_generator.class=task_generators.sum:SumTaskGenerator",)])
def test_given_a_journal_of_another_generator_then_a_master_refuses_it_with_78(lab: Lab, sets: tuple[str, ...]) -> None:
    config = lab.script({"what": "quick"})
    master = lab.master(config, DONE)
    lab.controller(config, "one")
    assert master.exits() == 0
    other = lab.start("cyclone-master", "-f", config, *(word for text in sets for word in ("--set", text)))
    assert other.exits() == 78
    assert str(journal(lab)) in other.stderr()
    assert sets[0].partition("=")[2] in other.stderr()


def test_given_a_master_when_a_second_one_starts_on_its_journal_then_that_is_refused(lab: Lab) -> None:
    config = lab.script({"what": "quick"})
    master = lab.master(config)
    second = lab.start("cyclone-master", "-f", config, "--set", "comm.port=1")
    assert second.exits() == 1
    assert str(journal(lab)) in second.stderr()
    assert master.alive


def test_given_durability_off_when_a_master_starts_then_its_log_says_so_and_there_is_no_journal(lab: Lab) -> None:
    master = lab.master(lab.script({"what": "quick"}), "journal.durability=off")
    assert "WARNING: [journal] durability = off: a killed master forgets its tasks" in master.stderr()
    assert not state_folder(lab).exists()


def test_given_a_master_that_stands_still_beyond_every_time_out_then_it_goes_on_and_records_once(lab: Lab) -> None:
    config = lab.script(*WORK)
    master = lab.master(config, DONE)
    controller = lab.controller(config, "one")
    lab.noted("start", 2, what="gate")
    master.signal(signal.SIGSTOP)
    controller.says("master silent for")
    lab.open("gate")
    lab.noted("passed", 2)
    master.signal(signal.SIGCONT)
    assert master.exits() == 0, master.stderr()
    assert controller.exits() == 0
    assert_each_once(exported(lab, journal(lab)), COUNT)


def test_given_a_full_disk_then_the_master_waits_and_goes_on_when_there_is_room(lab: Lab) -> None:
    count = 1500
    config = lab.script({"what": "return", "value": "x" * 2000, "times": count})
    master = lab.master(config, DONE)
    # The generator would inherit what comes now.
    lab.noted("generator")
    before = resource.prlimit(master.pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, resource.RLIM_INFINITY))
    controller = lab.controller(config, "one", welcomed=False)
    master.says("nothing can be recorded, so nothing is answered; trying again")
    asked = lab.start("cyclone", "status", "--connect", f"tcp://127.0.0.1:{lab.port}", "--connect-timeout", "500ms")
    assert asked.exits() == os.EX_UNAVAILABLE
    assert (
        f"within 0.5 s: nothing can be recorded at the moment: journal {journal(lab)}: the disk takes no more"
        in asked.stderr()
    )
    resource.prlimit(master.pid, resource.RLIMIT_FSIZE, before)
    assert master.exits() == 0, master.stderr()
    assert controller.exits() == 0
    assert_each_once(exported(lab, journal(lab)), count)
