"""The generator may raise, die, block or never end: what runs is recorded, and the run says what happened."""

import json
import os
import signal

import pytest

from tests.support.lab import Lab, Started, read_records
from tests.support.procfs import wait_until

ODD = "tests.support.odd_generators"


def start(lab: Lab, name: str, *arguments: str) -> Started:
    config = lab.config({"task_generator": {"class": f"{ODD}:{name}"}})
    return lab.run(config, "--results", lab.folder / "results.jsonl", *arguments)


def finish_the_gate(lab: Lab, run: Started) -> list[dict[str, object]]:
    """The generator has failed while a task runs: the task may end now, and the run with it."""
    run.says("the generator failed")
    assert run.alive, "the task that runs is waited for"
    lab.open("gate")
    assert run.exits() == 1
    return read_records(lab.folder / "results.jsonl")


def test_given_a_generator_that_raises_when_a_task_runs_then_it_is_recorded_and_the_traceback_told(lab: Lab) -> None:
    run = start(lab, "Raises")
    lab.noted("start", what="gate")
    lab.open("go")
    (record,) = finish_the_gate(lab, run)
    assert (record["state"], record["value"]) == ("completed", "gate")
    assert "ValueError: the generator's own trouble" in run.stderr()
    assert "in generate" in run.stderr()


def test_given_a_generator_that_calls_sys_exit_when_a_task_runs_then_that_is_a_failure(lab: Lab) -> None:
    run = start(lab, "Exits")
    lab.noted("start", what="gate")
    lab.open("go")
    assert [record["state"] for record in finish_the_gate(lab, run)] == ["completed"]
    assert "the generator failed: SystemExit: enough" in run.stderr()


def test_given_a_generator_that_is_killed_when_a_task_runs_then_that_is_recorded_and_the_signal_told(lab: Lab) -> None:
    # With a journal it would be started again: tests/integration/test_feed.py and test_restarts.py.
    run = start(lab, "Raises", "--set", "journal.durability=off")
    (generator,) = lab.noted("generator")
    lab.noted("start", what="gate")
    os.kill(generator["pid"], signal.SIGKILL)
    assert [record["state"] for record in finish_the_gate(lab, run)] == ["completed"]
    assert "GeneratorDied: the generator process ended with signal 9 (SIGKILL)" in run.stderr()


def test_given_a_generator_that_fails_in_a_daemon_when_nothing_runs_then_the_master_exits_1(lab: Lab) -> None:
    config = lab.config({"task_generator": {"class": f"{ODD}:YieldsText"}})
    master = lab.master(config)
    assert master.exits() == 1
    assert "the generator yielded a str; it must yield instances of BaseTask" in master.stderr()


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("YieldsText", 78, "PluginError: the generator yielded a str; it must yield instances of BaseTask"),
        ("YieldsUnserialisable", 1, f"NotSerialisable: {ODD}:WithProperty: the value of 'bad' holds a builtins.set"),
        ("BadConstructor", 78, "ConfigError: [odd] missing is missing or empty: BadConstructor needs it"),
        ("NoSuchGenerator", 78, "PluginError: "),
    ],
)
def test_given_a_generator_with_a_mistake_when_run_then_the_message_names_it(
    lab: Lab, name: str, code: int, message: str
) -> None:
    run = start(lab, name)
    assert run.exits() == code
    assert f"the generator failed: {message}" in run.stderr()
    assert "Traceback" not in run.stderr(), "a mistake of the user's is told in one line"


def test_given_a_slow_generator_when_it_blocks_then_what_it_yielded_runs_and_signals_are_heard(lab: Lab) -> None:
    run = start(lab, "Slow")
    lab.noted("start", count=2)
    wait_until(lambda: len(read_records(lab.folder / "results.jsonl")) == 2, "both tasks are recorded and flushed")
    run.signal(signal.SIGTERM)
    assert run.exits(5) == 143
    assert len(lab.notes("start")) == 2


def test_given_a_slow_generator_when_it_goes_on_then_the_run_completes(lab: Lab) -> None:
    run = start(lab, "Slow")
    lab.noted("start", count=2)
    lab.open("go")
    assert run.exits() == 0
    assert sorted(note["task"] for note in lab.notes("result")) == [1, 2, 3]


def test_given_an_endless_generator_when_interrupted_then_it_was_not_pulled_far_ahead(lab: Lab) -> None:
    run = start(lab, "Endless")
    lab.noted("yielded", number=100_000)
    run.signal(signal.SIGINT)
    assert run.exits(10) == 130
    records = read_records(lab.folder / "results.jsonl")
    assert len({record["task_id"] for record in records}) == len(records)
    assert {record["state"] for record in records} == {"completed"}
    yielded = max(note["number"] for note in lab.notes("yielded"))
    assert yielded - len(records) < 100_000
    assert f"{len(records):,}" in run.stdout()


def test_given_an_on_result_that_raises_when_run_then_the_rest_is_recorded_and_the_run_fails(lab: Lab) -> None:
    run = start(lab, "FailsOnResult")
    lab.noted("start", what="gate")
    lab.open("go")
    lab.noted("result")
    records = finish_the_gate(lab, run)
    assert [record["state"] for record in records] == ["completed", "completed"]
    assert "LookupError: the generator cannot stand results" in run.stderr()
    assert len(lab.notes("result")) == 1


def test_given_a_generator_that_waits_when_run_then_results_are_served_meanwhile(lab: Lab) -> None:
    assert start(lab, "Monitor").exits() == 0
    results = lab.notes("result")
    assert sorted(note["task"] for note in results) == [1, 2, 3, 4, 5, 6]
    assert all(note["thread"] for note in results), "on_result runs where generate() does, so never beside it"
    assert any(note["inside"] for note in results)
    order = [note["kind"] for note in lab.notes() if note["kind"] in ("result", "round")]
    assert order == ["result", "result", "round"] * 3


def test_given_results_that_become_tasks_when_run_then_each_new_task_has_one_result(lab: Lab) -> None:
    assert start(lab, "Breeder").exits() == 0
    assert sorted(note["task"] for note in lab.notes("result")) == list(range(1, 32))
    assert len({note["value"] for note in lab.notes("result")}) == 31


def test_given_a_generator_when_it_looks_then_it_has_inherited_its_own_pipe_and_nothing_else(lab: Lab) -> None:
    run = start(lab, "Descriptors")
    assert run.exits() == 0
    (line,) = [line for line in run.stdout().splitlines() if line.startswith("descriptors")]
    found = json.loads(line.removeprefix("descriptors").strip().replace("'", '"'))
    assert len([target for target in found if target.startswith("socket:")]) == 1
    assert not [target for target in found if target.endswith((".jsonl", ".sqlite", ".pid"))]
    # Of its own making: an eventfd.
    assert {target for target in found if target.startswith("anon_inode:")} <= {"anon_inode:[eventfd]"}


def test_given_mixed_classes_when_one_worker_runs_them_then_first_come_is_first_served(lab: Lab) -> None:
    mixed = [{"what": "quick", "class": name, "value": name} for name in ("Act", "OtherAct", "LimitedAct")] * 60
    records = lab.records(lab.script(*mixed), "--workers", "1", exit_code=0)
    assert [note["task"] for note in lab.notes("start")] == list(range(1, 181))
    assert [record["value"] for record in records] == ["Act", "OtherAct", "LimitedAct"] * 60


def test_given_a_summary_that_takes_its_time_then_the_run_ends_with_it(lab: Lab) -> None:
    run = lab.run(lab.config({"task_generator": {"class": f"{ODD}:Ponderer"}}))
    assert run.exits() == 0
    assert "pondered  well" in run.stdout()
