"""What a task finds around it, what it may execute, allocate and print, and that nobody else is the worse for it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.lab import Lab, new_lab

GIB = 1 << 30
MIB = 1 << 20
MEMORY_MAX = 192 * MIB
STDOUT_MAX = 64 * 1024
# The task before may have left some of its own in the pipe; and where lines are broken, one of them is not counted.
TOLERANCE = 200
SURROUNDINGS = {
    "worker_count": "1",
    "environment_keep": "KEPT_*, EXACT",
    "task_memory_max": "192MiB",
    "stdout_max_bytes": "64KiB",
}
TASKS: tuple[dict[str, Any], ...] = (
    {"what": "around"},
    {"what": "leave_file"},
    {"what": "leave_printer"},
    {"what": "print_control"},
    {"what": "print_bytes", "value": GIB},
    {"what": "allocate", "value": 32 * MIB},
    {"what": "allocate", "value": MEMORY_MAX},
    {"what": "allocate_bit_by_bit"},
    {"what": "allocate_in_child", "value": 32 * MIB},
    {"what": "allocate_in_child", "value": MEMORY_MAX},
    {"what": "close_standard"},
    {"what": "print", "value": 1},
    {"what": "quick", "value": "last"},
)


class Seen:
    """One run with all of them, one after the other on a single worker."""

    def __init__(self, lab: Lab) -> None:
        lab.environment |= {"KEPT_ONE": "1", "EXACT": "2", "EXACT_NOT": "3", "AWS_SECRET": "4", "LC_TIME": "C"}
        self.records = lab.records(lab.script(*TASKS, processing=SURROUNDINGS), exit_code=1)
        self.stderr = "".join(path.read_text() for path in lab.folder.glob("cyclone-*.stderr"))
        self.temporary = lab.temporary
        self.children = [note["child"] for note in lab.notes("child") if note["child"] in lab.processes()]

    def record(self, what: str, value: Any = None) -> dict[str, Any]:
        (found,) = [record for record in self.records if record["args"] == [what, value]]
        return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with new_lab(tmp_path_factory.mktemp("surroundings")) as lab:
        yield Seen(lab)


def test_given_all_of_them_when_run_then_one_worker_survives_them(seen: Seen) -> None:
    assert [record["task_id"] for record in seen.records] == list(range(1, len(TASKS) + 1))
    assert len({record["worker_pid"] for record in seen.records}) == 1
    assert seen.record("quick", "last")["state"] == "completed"


def test_given_the_environment_of_the_controller_then_a_task_has_only_what_is_on_the_list(seen: Seen) -> None:
    environment = seen.record("around")["value"]["environment"]
    assert environment["KEPT_ONE"] == "1"
    assert environment["EXACT"] == "2"
    assert environment["LC_TIME"] == "C"
    assert environment["PATH"] == os.environ["PATH"]
    assert "EXACT_NOT" not in environment
    assert "AWS_SECRET" not in environment


def test_given_a_worker_then_files_are_its_users_and_it_goes_first_where_memory_runs_out(seen: Seen) -> None:
    around = seen.record("around")["value"]
    own_score = int(Path("/proc/self/oom_score_adj").read_text())
    assert around["umask"] == 0o077
    assert around["core"] == 0
    assert around["oom_score"] == min(own_score + 500, 1000)


def test_given_temporary_files_when_the_worker_has_ended_then_they_are_gone(seen: Seen) -> None:
    folder, name = Path(seen.record("around")["value"]["temporary"]), Path(seen.record("leave_file")["value"])
    assert folder == name.parent
    assert seen.temporary in folder.parents
    assert not name.exists()


@pytest.mark.parametrize(
    ("what", "value"), [("allocate", MEMORY_MAX), ("allocate_bit_by_bit", None)], ids=["at once", "bit by bit"]
)
def test_given_too_much_memory_when_allocated_then_the_task_fails_and_says_so(
    seen: Seen, what: str, value: int | None
) -> None:
    record = seen.record(what, value)
    assert record["state"] == "failed"
    assert record["error"]["type"] == "MemoryError"
    assert f"in do_{what}" in record["error"]["traceback"]


def test_given_memory_within_the_limit_when_allocated_then_nothing_happens(seen: Seen) -> None:
    assert seen.record("allocate", 32 * MIB)["state"] == "completed"


def test_given_a_child_then_it_has_the_same_limit_for_itself(seen: Seen) -> None:
    assert seen.record("allocate_in_child", 32 * MIB)["value"] == 0
    assert seen.record("allocate_in_child", MEMORY_MAX)["value"] == 9


def test_given_a_gigabyte_when_printed_then_the_log_has_the_beginning_and_one_line_about_the_rest(seen: Seen) -> None:
    task_id = seen.record("print_bytes", GIB)["task_id"]
    shown = seen.stderr.count("printed without an end ") * len("printed without an end ")
    assert STDOUT_MAX - TOLERANCE < shown <= STDOUT_MAX
    (discarded,) = re.findall(rf"WARNING: task={task_id} printed (\d+) bytes more, discarded\n", seen.stderr)
    assert abs(int(discarded) - (GIB - STDOUT_MAX)) < TOLERANCE
    assert len(seen.stderr) < 4 * STDOUT_MAX


def test_given_control_characters_when_printed_then_they_are_escaped(seen: Seen) -> None:
    assert "\\x1b[2J\\r2026-01-01 00:00:00,000 - ERROR: forged\\x00\n" in seen.stderr


def test_given_a_task_that_closes_standard_output_when_others_follow_then_the_worker_lives_on(seen: Seen) -> None:
    assert seen.record("close_standard")["value"] == "closed"
    assert seen.record("print", 1)["state"] == "failed"


def test_given_a_child_that_keeps_standard_output_open_when_the_run_ends_then_nothing_waits_for_it(seen: Seen) -> None:
    assert seen.record("leave_printer")["state"] == "completed"
    assert seen.children == []


def test_given_a_gigabyte_when_printed_and_one_when_returned_then_the_controller_has_never_held_either(
    lab: Lab,
) -> None:
    config = lab.script(
        {"what": "print_bytes", "value": GIB}, {"what": "too_large", "value": GIB}, {"what": "gate", "value": "gate"}
    )
    run = lab.run(config, "--workers", "1")
    lab.noted("start", what="gate")
    status = Path(f"/proc/{lab.process('cyclone.cli.controller')}/status").read_text()
    (peak_kib,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    assert int(peak_kib) * 1024 < 128 * MIB
    lab.open("gate")
    assert run.exits() == 1
    assert [note["state"] for note in lab.notes("result")] == ["completed", "failed", "completed"]


def test_given_a_class_outside_of_task_modules_when_leased_by_a_daemon_then_it_is_refused_with_the_line_to_add(
    lab: Lab,
) -> None:
    config = lab.script({"what": "quick"}, control={"exit_when_done": "yes"})
    master = lab.master(config)
    controller = lab.controller(config, "strict", "processing.task_modules=tasks, test")
    assert master.exits() == 0
    (result,) = lab.notes("result")
    assert result["state"] == "refused"
    assert "tests.support.workload:Act" in result["error"]
    assert result["error"].endswith("[processing] task_modules = tasks, test, tests")
    assert lab.notes("start") == []
    assert controller.exits() == 0


def test_given_cyclone_run_when_its_generator_yields_a_class_then_it_is_executed_whatever_the_file_allows(
    lab: Lab,
) -> None:
    records = lab.records(lab.script({"what": "quick"}, processing={"task_modules": "tasks"}), exit_code=0)
    assert [record["state"] for record in records] == ["completed"]
