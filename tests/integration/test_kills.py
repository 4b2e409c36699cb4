"""SIGKILL of anything: the run goes on where it can, and within 5 s nothing is left of it where it cannot."""

import os
import signal
from pathlib import Path

import pytest

from tests.support import procfs
from tests.support.lab import GONE_WITHIN_S, Lab, Started, read_records
from tests.support.procfs import wait_until

CONTROLLER = "cyclone.cli.controller"
GENERATOR = "cyclone.master.generator.generator_process"
WORKER = "cyclone.controller.worker"
GUARDIAN = "guardian.py"


def busy_run(lab: Lab, *tasks: dict[str, object]) -> Started:
    """A run in the middle of its work: with a generator that waits, a command's child and scratch folders."""
    config = lab.script(*(tasks or ({"what": "child"}, {"what": "scratch", "value": "leave_child_and_hang"})))
    run = lab.run(config, "--results", lab.folder / "results.jsonl", "--workers", "2")
    lab.noted("start", 2)
    return run


def test_given_a_busy_run_when_it_is_killed_then_within_5_s_nothing_is_left(lab: Lab) -> None:
    run = busy_run(lab)
    lab.noted("child")
    wait_until(lambda: len(lab.processes("sleep 3600")) == 2, "both have a child in a session of its own")
    assert len(lab.scratch_folders()) == 2
    wait_until(lambda: len(lab.processes(WORKER)) == 3, "there is a spare worker beside the two")
    run.signal(signal.SIGKILL)
    run.exits()
    lab.all_gone()


def test_given_a_killed_controller_daemon_when_looked_for_then_within_5_s_nothing_is_left(lab: Lab) -> None:
    config = lab.script({"what": "child"}, {"what": "scratch", "value": "leave_child_and_hang"})
    master = lab.master(config)
    controller = lab.controller(config, "one")
    lab.noted("start", 2)
    lab.noted("child")
    controller.signal(signal.SIGKILL)
    controller.exits()
    wait_until(lambda: not lab.processes(WORKER) and not lab.processes("sleep"), "no worker is left", GONE_WITHIN_S)
    wait_until(lambda: len(lab.scratch_folders()) == 1, "only the master's folder is left", GONE_WITHIN_S)
    assert master.alive


def test_given_a_killed_master_when_looked_for_then_its_generator_is_gone(lab: Lab) -> None:
    master = lab.master(lab.script({"what": "quick"}))
    lab.noted("generator")
    lab.process(GENERATOR)
    master.signal(signal.SIGKILL)
    master.exits()
    lab.all_gone()


@pytest.mark.parametrize("part", [CONTROLLER, WORKER])
def test_given_a_run_when_its_controller_or_a_worker_is_killed_then_it_goes_on_and_records_once(
    lab: Lab, part: str
) -> None:
    tasks = {"what": "quick", "times": 40}, {"what": "gate_once", "value": "never"}, {"what": "quick", "times": 40}
    run = lab.run(lab.script(*tasks), "--results", lab.folder / "results.jsonl", "--workers", "1")
    (start,) = lab.noted("start", what="gate_once")
    os.kill(start["pid"] if part == WORKER else lab.process(CONTROLLER), signal.SIGKILL)
    assert run.exits() == 0, run.stderr()
    records = read_records(lab.folder / "results.jsonl")
    assert [record["task_id"] for record in records] == list(range(1, 82))
    assert {record["state"] for record in records} == {"completed"}
    assert len(lab.notes("result")) == 81
    assert len((lab.folder / "results.jsonl").read_text().splitlines()) == 81


def test_given_a_run_when_every_guardian_is_killed_then_they_are_replaced_and_the_run_goes_on(lab: Lab) -> None:
    run = busy_run(lab, {"what": "gate", "value": "gate", "times": 2}, {"what": "quick", "times": 20})
    old = lab.processes(GUARDIAN)
    assert len(old) == 2, "the master's and the controller's"
    procfs.kill_all(list(old))
    wait_until(lambda: len(lab.processes(GUARDIAN).keys() - old.keys()) == 2, "both are replaced")
    assert "the guardian process was killed: replaced" in run.stderr()
    lab.open("gate")
    assert run.exits() == 0
    assert len(lab.notes("result")) == 22
    assert len(lab.notes("start")) == 22


def test_given_replaced_guardians_when_the_run_is_killed_then_they_know_what_to_clear(lab: Lab) -> None:
    run = busy_run(lab)
    old = lab.processes(GUARDIAN)
    procfs.kill_all(list(old))
    wait_until(lambda: len(lab.processes(GUARDIAN).keys() - old.keys()) == 2, "both are replaced")
    run.signal(signal.SIGKILL)
    run.exits()
    lab.all_gone()


def test_given_a_run_and_its_guardians_killed_at_once_when_another_starts_then_it_clears_their_folders(
    lab: Lab,
) -> None:
    run = busy_run(lab, {"what": "gate", "value": "never", "times": 2})
    doomed = [*lab.processes(GUARDIAN), lab.process(CONTROLLER), run.pid]
    # Stopped first, so that none of them notices the end of another.
    for pid in doomed:
        os.kill(pid, signal.SIGSTOP)
    procfs.kill_all(doomed)
    wait_until(lambda: not lab.processes(), "workers and generator die with their parents", GONE_WITHIN_S)
    assert len(lab.scratch_folders()) == 2
    assert lab.run(lab.script({"what": "quick"})).exits() == 0
    assert lab.scratch_folders() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_given_a_run_when_interrupted_then_what_runs_is_finished_recorded_and_the_code_tells(
    lab: Lab, number: signal.Signals
) -> None:
    run = busy_run(lab, {"what": "gate", "value": "gate", "times": 2}, {"what": "quick", "times": 50})
    run.signal(number)
    lab.open("gate")
    assert run.exits() == 128 + number
    records = read_records(lab.folder / "results.jsonl")
    assert [record["value"] for record in records[:2]] == ["gate", "gate"]
    assert "unfinished" in run.stdout()


def test_given_a_run_when_interrupted_twice_then_it_ends_at_once(lab: Lab) -> None:
    run = busy_run(lab)
    run.signal(signal.SIGINT)
    run.says("a second signal stops at once")
    run.signal(signal.SIGINT)
    assert run.exits(5) == 130
    lab.all_gone()


def test_given_ctrl_c_on_a_terminal_when_the_whole_group_gets_it_then_tasks_are_finished(lab: Lab) -> None:
    config = lab.script({"what": "gate", "value": "gate", "times": 2})
    run = lab.run(config, "--results", lab.folder / "results.jsonl", start_new_session=True)
    lab.noted("start", 2)
    os.killpg(run.pid, signal.SIGINT)
    lab.open("gate")
    assert run.exits() == 130
    assert len(read_records(lab.folder / "results.jsonl")) == 2


@pytest.mark.parametrize("ending", ["jsonl", "csv", "sqlite"])
def test_given_a_results_file_when_the_run_is_killed_then_it_holds_what_was_done(lab: Lab, ending: str) -> None:
    results = lab.folder / f"results.{ending}"
    run = lab.run(lab.script({"what": "quick", "times": 30}, {"what": "hang"}), "--results", results)
    lab.noted("result", 30)
    # A result is flushed in the turn that recorded it, so that the generator heard of it later.
    run.signal(signal.SIGKILL)
    run.exits()
    assert rows(results) == 30


def rows(path: Path) -> int:
    """How many records a results file has."""
    if path.suffix == ".sqlite":
        import sqlite3

        with sqlite3.connect(path) as database:
            (count,) = database.execute("select count(*) from results").fetchone()
            return int(count)
    lines = path.read_text().splitlines()
    return len(lines) - (path.suffix == ".csv")
