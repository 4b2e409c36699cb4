"""What a task can be, in real workers of a real controller: programs, scripts, bundles and those that go on running."""

import hashlib
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cyclone import TaskResult
from cyclone.protocol.messages import Job
from tests.support import procfs
from tests.support.archives import Entry, make_zip
from tests.support.fake_master import FakeMaster, packed
from tests.support.lab import Lab, Started, new_lab
from tests.support.procfs import wait_until
from tests.support.web import serving

GONE = ("", "Z", "X")
EXAMPLES = Path(__file__).parents[2] / "Configuration" / "examples"


class Node:
    """A controller with two workers, and a master that gives it jobs."""

    def __init__(self, lab: Lab, controller: Started, master: FakeMaster) -> None:
        self.lab = lab
        self.controller = controller
        self._master = master
        self._job_id = 0
        self._next_id = 1

    def start(self, task_class: str, shared: Sequence[Any], *rows: Sequence[Any], **options: Any) -> range:
        """A job, and the ids of its tasks."""
        self._job_id += 1
        job = Job(self._job_id, task_class, shared=packed(*shared), namespace="default", **options)
        ids = range(self._next_id, self._next_id + len(rows))
        self._next_id = ids.stop
        self._master.add(job, ids.start, [packed(*row) for row in rows])
        return ids

    def results(self, ids: range) -> list[TaskResult]:
        return self._master.await_results(ids)

    def run(self, task_class: str, shared: Sequence[Any], *rows: Sequence[Any], **options: Any) -> list[TaskResult]:
        return self.results(self.start(task_class, shared, *rows, **options))

    def serve_until(self, path: Path) -> str:
        """What a task has written to this file, a whole line; the master does its work meanwhile."""

        def written() -> str:
            self._master.serve()
            text = path.read_text() if path.exists() else ""
            return text if text.endswith("\n") else ""

        return wait_until(written, f"{path} is written")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with new_lab(tmp_path_factory.mktemp("kinds")) as lab, FakeMaster(lab.port) as master:
        lab.environment["CYCLONE_BUNDLES"] = str(lab.folder / "bundles")
        controller = lab.controller(lab.config(), "node-1", welcomed=False)
        master.welcome(3)
        yield Node(lab, controller, master)


def values(results: list[TaskResult]) -> list[Any]:
    """Of tasks that have completed."""
    assert [(result.state, result.error) for result in results] == [("completed", None)] * len(results)
    return [result.value for result in results]


def errors(results: list[TaskResult]) -> list[tuple[str, str, str]]:
    """State, the exception's name, and message."""
    found = []
    for result in results:
        assert result.error is not None, result
        found.append((result.state, result.error.type.rpartition(".")[2], result.error.message))
    return found


def test_given_a_command_and_entries_then_each_is_run_with_its_own(node: Node, tmp_path: Path) -> None:
    script = 'echo {} "$CYCLONE_ARRAY_INDEX $CYCLONE_JOB_NAME $CYCLONE_NAMESPACE $CYCLONE_NODE $CYCLONE_CPUS $OWN"; pwd'
    options = {"name": "greet", "environment": {"OWN": "mine"}, "directory": str(tmp_path)}

    found = values(node.run("tasks.job_command:JobCommand", [script, None, 4096, 1.0], [7], ["a b"], **options))

    around = f"greet default node-1 1 mine\n{tmp_path}\n"
    assert [value["stdout"] for value in found] == [f"7 7 {around}", f"a b  {around}"]


def test_given_a_command_that_fails_then_its_result_says_how(node: Node) -> None:
    found = node.run("tasks.job_command:JobCommand", ["echo out; exit {}", None, 4096, 1.0], [0], [3], [127])

    assert [result.state for result in found] == ["completed", "failed", "failed"]
    assert [(kind, message.partition(";")[2].partition(" ended ")[2]) for _, kind, message in errors(found[1:])] == [
        ("CommandFailed", "with exit code 3; standard output ends with:\nout"),
        ("CommandNotFound", "with exit code 127; standard output ends with:\nout"),
    ]


def test_given_a_script_then_it_runs_by_the_python_of_the_worker(node: Node) -> None:
    # Of one environment there are several names.
    source = "import sys; print(sys.argv[1:], sys.prefix)"

    found = values(node.run("tasks.script:ScriptTask", ["s.py", source, None, 4096, 1.0, ["-n", "{}"]], [1], [2]))

    assert [value["stdout"] for value in found] == [f"['-n', '{n}'] {sys.prefix}\n" for n in (1, 2)]


def test_given_a_script_of_a_shell_when_its_time_is_over_then_it_ends_with_all_that_it_has_started(
    node: Node, tmp_path: Path
) -> None:
    source = b'#!/bin/bash -e\nsleep 1000 & echo $$ $! > "$1"; wait\n'
    pids = tmp_path / "pids"

    hanging = node.start("tasks.script:ScriptTask", ["s.sh", source, None, 64, 1.0, [str(pids)]], [], time_limit_s=0.3)
    started = [int(pid) for pid in node.serve_until(pids).split()]
    [result] = node.results(hanging)

    assert result.state == "timed_out"
    wait_until(lambda: all(procfs.state(pid) in GONE for pid in started), "the script and its child are gone")


def test_given_a_script_when_its_worker_is_killed_then_nothing_of_it_is_left(node: Node, tmp_path: Path) -> None:
    source = b'#!/bin/bash\nsleep 1000 & echo $$ $! $PPID "$0" > "$1"; wait\n'
    told = tmp_path / "told"

    ids = node.start("tasks.script:ScriptTask", ["s.sh", source, None, 64, 1.0, [str(told)]], [])
    *pids, path = node.serve_until(told).split()
    assert Path(path).read_bytes() == source
    os.kill(int(pids[-1]), 9)
    [result] = node.results(ids)

    assert result.state == "crashed"
    wait_until(lambda: all(procfs.state(int(pid)) in GONE for pid in pids), "the script and its child are gone")
    wait_until(lambda: not Path(path).exists() and not Path(path).parent.parent.exists(), "its folder is gone")


def test_given_a_script_whose_interpreter_is_not_on_the_node_then_its_set_up_has_failed(node: Node) -> None:
    found = node.run("tasks.script:ScriptTask", ["s.sh", b"#!/no/such/bash -e\ntrue\n"], [])

    message = "s.sh cannot be started: its interpreter /no/such/bash is not on this node"
    assert errors(found) == [("setup_failed", "CommandNotFound", message)]


def test_given_a_bundle_then_its_program_answers_by_files_and_a_node_fetches_it_once(
    node: Node, tmp_path: Path
) -> None:
    archive = make_zip(tmp_path / "b.zip", Entry("bin/double", b"#!/bin/sh\ncat input input > output\n", 0o755))
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()

    with serving() as web:
        web.pages["/b.zip"] = archive.read_bytes()
        shared = [f"{web.url}/b.zip", checksum, ["bin/double"]]
        found = values(node.run("tasks.bundle:BundleTask", shared, *([n] for n in range(20))))

    assert [value["output"] for value in found] == [f"{n}{n}" for n in range(20)]
    assert web.asked == ["/b.zip"]


def test_given_a_bundle_that_is_not_there_then_its_tasks_have_failed_in_their_setup(node: Node) -> None:
    found = node.run("tasks.bundle:BundleTask", ["/no/such.zip", "", ["x"]], [1], [2])

    assert [(state, kind) for state, kind, _ in errors(found)] == [("setup_failed", "BundleError")] * 2


def test_given_a_bundle_task_of_impossible_properties_then_its_setup_has_failed_too(node: Node) -> None:
    found = node.run("tasks.bundle:BundleTask", ["/a.zip", "", []], [1])

    assert errors(found) == [("setup_failed", "ValueError", "the command is empty")]


def test_given_a_program_that_goes_on_running_then_each_worker_has_one_for_the_job(node: Node) -> None:
    program = ["bash", str(EXAMPLES / "line-protocol" / "service.sh")]

    found = values(
        node.run("tasks.line_protocol:LineTask", [program, False, False], *(["count", []] for _ in range(50)))
    )

    calls = sorted(value["calls"] for value in found)
    assert calls.count(1) <= 2
    assert len(calls) == 50 and max(calls) >= 25


def test_given_what_a_program_says_then_the_controllers_log_has_it_with_the_task(node: Node) -> None:
    ids = node.start("tasks.line_protocol:LineTask", ["read line; echo careful >&2; echo 1", False, False], ["x", []])

    assert values(node.results(ids)) == [1]
    node.controller.says(f"task={ids.start} read: careful")


def test_given_a_program_that_hangs_when_its_time_is_over_then_it_is_killed_and_the_others_are_answered(
    node: Node, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    program = f"""while read -r line; do
        case $line in *hang*) echo $$ >> {shlex.quote(str(pids))}; sleep 1000 & wait ;; esac
        echo $$
    done"""

    hanging = node.start("tasks.line_protocol:LineTask", [program, False, False], ["hang", []], time_limit_s=0.3)
    pid = int(node.serve_until(pids))
    [result] = node.results(hanging)

    assert result.state == "timed_out"
    wait_until(lambda: procfs.state(pid) in GONE, "the program is gone")
    [other] = values(node.run("tasks.line_protocol:LineTask", [program, False, False], ["answer", []]))
    assert other != pid


def test_given_a_program_when_its_worker_is_killed_then_it_ends_too(node: Node, tmp_path: Path) -> None:
    program = f"read -r line; echo $$ $PPID > {shlex.quote(str(tmp_path / 'pids'))}; sleep 1000"

    ids = node.start("tasks.line_protocol:LineTask", [program, False, False], ["x", []])
    pid, worker = map(int, node.serve_until(tmp_path / "pids").split())
    os.kill(worker, 9)

    wait_until(lambda: procfs.state(pid) in GONE, "the program is gone")
    [result] = node.results(ids)
    assert result.state == "crashed"


def test_given_workers_that_died_then_the_controller_has_no_descriptor_of_theirs(node: Node) -> None:
    def descriptors() -> int:
        return sum("cyclone-worker" in target for target in procfs.open_files(node.controller.pid))

    node.run("tasks.job_command:JobCommand", [["sh", "-c", "kill -9 $PPID"]], *[[]] * 6)

    # Two that work, a spare one, and perhaps one that is ending at this moment.
    wait_until(lambda: 0 < descriptors() <= 4, "what belonged to those that died is closed")
