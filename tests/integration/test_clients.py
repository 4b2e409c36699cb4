"""What people ask of a running master, and what tasks ask for by their class.

Real daemons, asked by the commands that users have.
"""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import procfs
from tests.support.exports import exported, state_folder
from tests.support.keys import Keys
from tests.support.lab import Lab, Started, free_port
from tests.support.procfs import wait_until

ONE_WORKER = "processing.worker_count=1"


def asked(lab: Lab, verb: str, *arguments: str | Path, exit_code: int = 0, **environment: str) -> Started:
    """A command that has ended with this exit code."""
    command = lab.start("cyclone", verb, *arguments, environment=environment)
    assert command.exits() == exit_code, command.stdout() + command.stderr()
    return command


def status(lab: Lab, config: Path) -> dict[str, Any]:
    """The report as a program reads it."""
    report: dict[str, Any] = json.loads(asked(lab, "status", "-f", config, "--json").stdout())
    return report


def journal(lab: Lab) -> Path:
    return state_folder(lab) / "master.journal"


def recorded_states(lab: Lab) -> dict[int, str]:
    """By the journal."""
    return {record["id"]: record["state"] for record in exported(lab, journal(lab))}


def delivered(lab: Lab, task: int) -> dict[str, Any]:
    """The one result of a task that the generator got."""
    (result,) = lab.noted("result", task=task)
    return result


@pytest.fixture
def config(lab: Lab) -> Path:
    """Two tasks that pass a gate, and more of two classes that wait for them."""
    return lab.script(
        {"what": "gate", "value": "gate", "times": 2},
        {"what": "quick", "times": 6},
        {"what": "quick", "class": "OtherAct", "times": 4},
    )


@pytest.fixture
def master(lab: Lab, config: Path) -> Iterator[Started]:
    """A master that works on them with a controller of two workers."""
    started = lab.master(config, "control.exit_when_done=yes")
    lab.controller(config, "one")
    lab.noted("start", 2, what="gate")
    yield started


# --- status


@pytest.mark.usefixtures("master")
def test_given_a_master_at_work_then_its_status_is_a_table_for_people(lab: Lab, config: Path) -> None:
    said = asked(lab, "status", "-f", config).stdout()
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in said.splitlines() if line}
    assert lines["master"].endswith(", epoch 1")
    assert str(journal(lab)) in lines["journal"]
    assert lines["tasks"] == "10 queued, 2 leased"
    assert lines["generator"] == "12 tasks yielded, no more to come"
    assert lines["one"].split()[:3] == [os.uname().nodename, "2", "2"]


@pytest.mark.usefixtures("master")
def test_given_a_master_then_it_is_found_by_option_by_file_and_by_environment(lab: Lab, config: Path) -> None:
    here = f"tcp://127.0.0.1:{lab.port}"
    ways = [
        asked(lab, "status", "--json", "--connect", here),
        asked(lab, "status", "--json", "--connect", f"localhost:{lab.port}"),
        asked(lab, "status", "--json", "-f", config),
        asked(lab, "status", "--json", CYCLONE_SERVER=here),
        # What is said on the command line counts.
        asked(lab, "status", "--json", "--connect", here, CYCLONE_SERVER="tcp://127.0.0.1:1"),
        asked(lab, "status", "--json", "-f", config, CYCLONE_SERVER="tcp://127.0.0.1:1"),
    ]
    for report in [json.loads(way.stdout()) for way in ways]:
        assert report["tasks"] == {**dict.fromkeys(report["tasks"], 0), "queued": 10, "leased": 2}
        assert (report["epoch"], report["exhausted"], report["stopping"], report["awaited"]) == (1, True, False, [])
        (one,) = report["controllers"]
        assert (one["name"], one["slots"], one["open"], one["mark"]) == ("one", 2, 2, "")
        assert 0 <= one["silent_s"] < 2


def test_given_a_master_without_controllers_then_its_status_says_what_to_do(lab: Lab, config: Path) -> None:
    lab.master(config, "journal.durability=off")
    said = asked(lab, "status", "-f", config).stdout()
    assert "none: start cyclone-controller on a node" in said
    assert "off: a killed master forgets its tasks" in said


# --- when it cannot be asked


def test_given_nobody_listening_then_it_is_69_with_what_to_look_for(lab: Lab) -> None:
    port = free_port()
    refused = asked(lab, "status", "--connect", f"tcp://127.0.0.1:{port}", "--connect-timeout", "0.3", exit_code=69)
    assert refused.stdout() == ""
    assert f"no answer from a master at tcp://127.0.0.1:{port} within 0.3 s" in refused.stderr()
    assert "--connect tcp://HOST:PORT" in refused.stderr()
    assert "Traceback" not in refused.stderr()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("status", "--connect", "http://127.0.0.1:1"), "expected tcp://HOST or tcp://HOST:PORT"),
        (("status", "--connect", "tcp://127.0.0.1:99999"), "expected tcp://HOST or tcp://HOST:PORT"),
        (("status", "--connect", "tcp://192.0.2.1"), "tcp://192.0.2.1:5678 is not this host, and there is no key"),
        (("status", "-f", "no-such.conf"), "no-such.conf"),
        (("status", "--key-file", "no-such.key"), "no-such.key"),
        (("cancel",), "cancel what?"),
        (("cancel", "--tasks", "42-17"), "'42-17' begins behind its end"),
        (("cancel", "--tasks", "0"), "ids of tasks begin with 1"),
        (("cancel", "--tasks", "seventeen"), "'seventeen' is no selection; write 17, 17-42"),
    ],
)
def test_given_bad_arguments_then_it_is_78_or_2_and_nobody_is_asked(
    lab: Lab, arguments: tuple[str, ...], reason: str
) -> None:
    refused = asked(lab, *arguments, exit_code=2 if arguments[0] == "cancel" else 78)
    assert reason in refused.stderr()
    assert "Traceback" not in refused.stderr()


@pytest.mark.usefixtures("master")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("cancel", "--tasks", "13"), "no open task is meant by that"),
        (("cancel", "--class", "no.such:Class"), "no open task is meant by that"),
        (("drain", "two"), "no controller is called 'two'; known: one"),
    ],
)
def test_given_what_the_master_does_not_grant_then_it_is_1_with_the_reason(
    lab: Lab, config: Path, arguments: tuple[str, ...], reason: str
) -> None:
    refused = asked(lab, *arguments, "-f", config, exit_code=1)
    assert refused.stdout() == ""
    assert reason in refused.stderr()


def test_given_keys_then_a_monitor_and_a_client_may_look_and_an_admin_may_change(lab: Lab) -> None:
    keys = Keys(lab)
    config = keys.config({"what": "quick", "times": 3})
    lab.master(config)
    here = ("--connect", f"tcp://127.0.0.1:{lab.port}", "--connect-timeout", "20")
    admin, *others = (keys.add(role, role) for role in ("admin", "client", "monitor"))
    for key in (admin, *others):
        assert "3 queued" in asked(lab, "status", *here, "--key-file", key).stdout()
    assert "1 task is cancelled" in asked(lab, "cancel", "--tasks", "1", *here, "--key-file", admin).stdout()
    for key, role in zip(others, ("client", "monitor"), strict=True):
        refused = asked(lab, "cancel", "--tasks", "2", *here, "--key-file", key, exit_code=77)
        why = f"the key of {role} has the role {role}, which may not cancel tasks of the whole master"
        assert why in refused.stderr()
    assert "--key-file" in asked(lab, "status", *here[:2], "--connect-timeout", "2", exit_code=77).stderr()
    assert recorded_states(lab) == {1: "cancelled", 2: "queued", 3: "queued"}


# --- cancel


def test_given_a_running_task_that_defies_sigterm_when_cancelled_then_all_of_it_is_gone_after_the_grace(
    lab: Lab,
) -> None:
    config = lab.script({"what": "defy"}, {"what": "gate", "value": "gate"})
    master = lab.master(config, "control.exit_when_done=yes")
    controller = lab.controller(config, "one")
    (defiant,) = lab.noted("children")
    lab.noted("start", what="gate")
    family = [defiant["pid"], *defiant["children"]]
    assert all(map(procfs.state, family))
    assert "1 task is cancelled" in asked(lab, "cancel", "--tasks", "1", "-f", config).stdout()
    wait_until(lambda: not any(map(procfs.state, family)), "the task and its children are gone")
    assert delivered(lab, 1)["state"] == "cancelled"
    assert "SIGTERM" in controller.stderr()
    lab.open("gate")
    assert (master.exits(), controller.exits()) == (0, 0)
    assert recorded_states(lab) == {1: "cancelled", 2: "completed"}
    assert len(lab.notes("start", task=1)) == len(lab.notes("result", task=1)) == 1


@pytest.mark.parametrize(
    ("arguments", "count", "ended"),
    [
        pytest.param(("--tasks", "5"), 1, {5}, id="one that waits"),
        pytest.param(("--tasks", "4-7"), 4, {4, 5, 6, 7}, id="a range"),
        pytest.param(("--tasks", "2-3"), 2, {2, 3}, id="a range of which one runs"),
        pytest.param(("--class", "tests.support.workload:OtherAct"), 4, {9, 10, 11, 12}, id="a class"),
        pytest.param(("--state", "queued"), 10, set(range(3, 13)), id="what waits"),
        pytest.param(("--state", "leased"), 2, {1, 2}, id="what runs"),
        pytest.param(
            ("--tasks", "8-9", "--class", "tests.support.workload:OtherAct"), 1, {9}, id="a class within a range"
        ),
        pytest.param(("--all",), 12, set(range(1, 13)), id="everything"),
    ],
)
def test_given_tasks_when_cancelled_then_these_end_so_and_the_others_complete(
    lab: Lab, config: Path, master: Started, arguments: tuple[str, ...], count: int, ended: set[int]
) -> None:
    said = asked(lab, "cancel", *arguments, "-f", config).stdout()
    assert said == f"{count} task{' is' if count == 1 else 's are'} cancelled; what runs is being stopped\n"
    for task in ended:
        lab.noted("result", task=task)
    lab.open("gate")
    assert master.exits() == 0, master.stderr()
    expected = {task: "cancelled" if task in ended else "completed" for task in range(1, 13)}
    assert recorded_states(lab) == expected
    assert {note["task"] for note in lab.notes("passed")} == {1, 2} - ended
    assert not {note["task"] for note in lab.notes("start", what="quick")} & ended


def test_given_a_wish_to_cancel_when_the_master_is_killed_then_the_next_one_fulfils_it(
    lab: Lab, config: Path, master: Started
) -> None:
    # The one who would have to confirm cannot hear it before the master is gone.
    controller = lab.process("cyclone-controller")
    os.kill(controller, signal.SIGSTOP)
    assert asked(lab, "cancel", "--tasks", "1", "-f", config).stdout().startswith("1 task is cancelled")
    master.signal(signal.SIGKILL)
    master.exits()
    # What was on its way is lost with the connection.
    next_one = lab.master(config, "control.exit_when_done=yes")
    os.kill(controller, signal.SIGCONT)
    assert delivered(lab, 1)["state"] == "cancelled"
    lab.open("gate")
    assert next_one.exits() == 0, next_one.stderr()
    assert recorded_states(lab) == {1: "cancelled", **dict.fromkeys(range(2, 13), "completed")}


# --- drain


def test_given_a_drained_controller_then_it_gets_no_tasks_until_that_is_undone(lab: Lab) -> None:
    config = lab.script({"what": "gate", "value": "gate", "times": 2}, {"what": "quick", "times": 8})
    master = lab.master(config, "control.exit_when_done=yes")
    lab.controller(config, "one")
    lab.noted("start", 2, what="gate")
    assert asked(lab, "drain", "one", "-f", config).stdout() == "one gets no new tasks\n"
    assert asked(lab, "drain", "one", "-f", config).stdout() == "one is drained already\n"
    assert [one["mark"] for one in status(lab, config)["controllers"]] == ["drained"]
    lab.open("gate")
    # What ran there is finished, and that is all.
    lab.noted("result", 2)
    two = lab.controller(config, "two", ONE_WORKER)
    lab.noted("result", 10)
    assert {delivered(lab, task)["controller"] for task in range(3, 11)} == {"two"}
    assert (master.exits(), two.exits()) == (0, 0)


def test_given_a_drained_controller_when_that_is_undone_then_it_works_again(lab: Lab) -> None:
    config = lab.script({"what": "gate", "value": "gate"}, {"what": "quick", "times": 4})
    lab.master(config)
    lab.controller(config, "one", ONE_WORKER)
    lab.noted("start", what="gate")
    asked(lab, "drain", "one", "-f", config)
    lab.open("gate")
    lab.noted("result")
    assert status(lab, config)["tasks"]["queued"] == 4
    assert asked(lab, "drain", "one", "--undo", "-f", config).stdout() == "one gets new tasks\n"
    assert asked(lab, "drain", "one", "--undo", "-f", config).stdout() == "one is not drained already\n"
    assert {note["controller"] for note in lab.noted("result", 5)} == {"one"}


def test_given_a_drained_controller_when_the_master_is_killed_then_it_is_still_drained(
    lab: Lab, config: Path, master: Started
) -> None:
    asked(lab, "drain", "one", "-f", config)
    master.signal(signal.SIGKILL)
    master.exits()
    lab.master(config)
    wait_until(lambda: status(lab, config)["controllers"], "the controller is back")
    assert [one["mark"] for one in status(lab, config)["controllers"]] == ["drained"]
    lab.open("gate")
    lab.noted("result", 2)
    assert status(lab, config)["tasks"]["queued"] == 10


def test_given_a_set_of_nodes_then_each_is_drained_and_those_that_do_not_come_back_are_named_as_a_set(lab: Lab) -> None:
    config = lab.script({"what": "gate", "value": "gate", "times": 2})
    master = lab.master(config)
    nodes = [lab.controller(config, name, ONE_WORKER) for name in ("node1", "node2")]
    # Whom nothing was given to, nobody awaits.
    lab.noted("start", 2, what="gate")
    answer = asked(lab, "drain", "node[1-3]", "-f", config, exit_code=1)
    assert answer.stdout() == "2: node[1-2]: gets no new tasks\n"
    assert answer.stderr() == "cyclone: 1: node3: no controller is called that; known: node[1-2]\n"
    assert {one["mark"] for one in status(lab, config)["controllers"]} == {"drained"}
    for daemon in (master, *nodes):
        daemon.signal(signal.SIGKILL)
        daemon.exits()
    lab.master(config, "control.controller_timeout=1s").says("did not come back after the restart: node[1-2]")


# --- retries


def retried(lab: Lab, *tasks: dict[str, Any], **sections: dict[str, str]) -> dict[str, Any]:
    """What the journal says of the only one of these tasks, once the master has ended."""
    config = lab.script(*tasks, **sections)
    master = lab.master(config, "control.exit_when_done=yes")
    lab.controller(config, "one")
    assert master.exits() == 0, master.stderr()
    (record,) = exported(lab, journal(lab))
    assert [note["attempt"] for note in lab.notes("start")] == list(range(1, record["attempt"] + 1))
    return record


@pytest.mark.parametrize(
    ("task", "state", "attempt"),
    [
        pytest.param({"what": "refused_at_first", "value": 3}, "completed", 3, id="fails twice with a subclass"),
        pytest.param({"what": "refused_at_first", "value": 9}, "failed", 3, id="fails on and on"),
        pytest.param({"what": "raise", "value": "no"}, "failed", 1, id="fails with something else"),
        pytest.param({"what": "hang", "limit": 0.3}, "timed_out", 3, id="takes too long"),
    ],
)
def test_given_a_class_with_retries_then_what_it_names_is_tried_again_and_each_attempt_is_kept(
    lab: Lab, task: dict[str, Any], state: str, attempt: int
) -> None:
    record = retried(lab, {"class": "RetriedAct", **task})
    assert (record["state"], record["attempt"]) == (state, attempt)
    assert len(lab.notes("result")) == 1
    stats = lab.start("cyclone", "journal", "stats", "--json", journal(lab))
    assert stats.exits() == 0
    assert json.loads(stats.stdout())["attempts_ended"] == attempt - 1
    if record["error"]:
        assert sorted(record["error"]) == ["message", "traceback", "type"]


def test_given_retries_in_the_configuration_then_they_hold_for_classes_that_do_not_say(lab: Lab) -> None:
    tasks = {"retries": "1", "retry_delay": "100ms", "retry_on": "builtins.ValueError"}
    record = retried(lab, {"what": "raise", "value": "no"}, tasks=tasks)
    assert (record["state"], record["attempt"]) == ("failed", 2)


# --- exclusive


@pytest.mark.timeout(60)
def test_given_an_exclusive_task_when_its_controller_stands_still_then_it_ends_its_attempt_before_anything_else(
    lab: Lab,
) -> None:
    config = lab.script({"what": "hang", "class": "ExclusiveAct"})
    lab.master(config)
    one = lab.controller(config, "one", ONE_WORKER)
    (first,) = lab.noted("start")
    one.signal(signal.SIGSTOP)
    lab.controller(config, "two", ONE_WORKER)
    # It stands still, and its worker does not: until it goes on, nobody can end that attempt but at its own host.
    wait_until(lambda: status(lab, config)["tasks"]["delayed"] == 1, "the lease is over for the master")
    assert len(lab.notes("start")) == 1
    one.signal(signal.SIGCONT)
    one.says("the lease has run out: 1 runs of exclusive tasks are ended")
    wait_until(lambda: not procfs.state(first["pid"]), "the first attempt is gone")
    second = lab.noted("start", 2)[1]
    assert second["attempt"] == 2


@pytest.mark.timeout(60)
def test_given_an_exclusive_task_when_its_controller_loses_the_master_then_no_two_attempts_overlap(lab: Lab) -> None:
    config = lab.script({"what": "hang", "class": "ExclusiveAct"})
    master = lab.master(config)
    one = lab.controller(config, "one", ONE_WORKER)
    (first,) = lab.noted("start")
    master.signal(signal.SIGSTOP)
    one.says("the lease has run out: 1 runs of exclusive tasks are ended")
    wait_until(lambda: not procfs.state(first["pid"]), "the first attempt is gone")
    master.signal(signal.SIGCONT)
    second = lab.noted("start", 2)[1]
    assert second["pid"] != first["pid"]
