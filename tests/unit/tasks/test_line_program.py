"""How long the program of a LineTask lives: what ends it, what starts it anew, and that nothing of it is left."""

import logging
import os
import tempfile
import threading
from pathlib import Path

import pytest

from cyclone import BaseTask
from cyclone.errors import CycloneError
from cyclone.programs import conversation, running
from cyclone.programs.running import ProgramDied
from tasks.line_protocol import LineTask
from tests.support.line_tasks import COUNT, DEADLINE_S, ECHO, EXAMPLES, asked, is_running, job, wait_until


def test_given_a_program_that_says_one_line_more_then_it_is_started_anew_and_no_task_gets_that_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    program = "read line; printf '1\\n2\\n'; read line; printf '3\\n4\\n'"

    assert asked(program, "a", "b", "c") == [1, 1, 1]
    assert "has said '2\\n' without being asked; it is started anew" in caplog.text


def test_given_a_program_that_dies_in_each_task_then_what_watches_it_does_not_grow() -> None:
    before = threading.active_count()
    with job("read line; exit 1") as ask:
        for _ in range(5):
            with pytest.raises(ProgramDied):
                ask("x")
        assert threading.active_count() <= before + 1


@pytest.mark.parametrize("death", ["exit 3", "kill -KILL $$"])
def test_given_a_program_that_died_in_a_task_then_the_next_task_has_a_new_one(death: str) -> None:
    program = f'while read -r line; do case $line in *die*) {death} ;; esac; echo "$$"; done'
    with job(program) as ask:
        first = ask("x")
        with pytest.raises(ProgramDied):
            ask("die")
        assert ask("x") not in (first, None)
        assert not is_running(first)


def test_given_a_program_that_died_between_two_tasks_then_no_task_fails(tmp_path: Path) -> None:
    with job('read line; echo "$$"; exit 0') as ask:
        first = ask("x")
        wait_until(lambda: Path(f"/proc/{first}/stat").read_bytes().rpartition(b") ")[2][:1] == b"Z")
        assert ask("x") != first


def test_given_nobody_who_asks_then_the_program_ends_by_the_end_of_its_input_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation.Program.__init__, "__defaults__", (0.05,))
    with job(f"{COUNT}; touch {tmp_path / 'over'}") as ask:
        pid, _ = ask("x")
        wait_until(lambda: not is_running(pid))
        assert (tmp_path / "over").exists()
        assert ask("x")[1] == 1


def test_given_a_task_that_is_set_up_then_its_program_does_not_end_before_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation.Program.__init__, "__defaults__", (0.0,))
    waits = threading.Semaphore(0)
    wait = threading.Event.wait

    def noting(event: threading.Event, timeout: float | None = None) -> bool:
        waits.release()
        return wait(event, 0.001 if timeout == 0.0 else timeout)

    monkeypatch.setattr(threading.Event, "wait", noting)
    make = LineTask.prepared((COUNT, False, False))
    try:
        task = make("x")
        task.setup()
        for _ in range(20):  # what watches the program has looked at it, and looks again
            assert waits.acquire(timeout=DEADLINE_S)
        assert task.execute()[1] == 1
    finally:
        make.close()


def test_given_an_end_of_the_task_then_its_program_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(BaseException):
        pass

    heard: list[bytes] = []

    def end_at_first(said: running.Said, block: bytes) -> None:
        """As a signal that arrives while the program has the line."""
        heard.append(block)
        if len(heard) == 1:
            raise Ended

    monkeypatch.setattr(running.Said, "hear", end_at_first)
    with job("read line; echo $$ >&2; sleep 100") as ask:
        with pytest.raises(Ended):
            ask("x")
        assert not is_running(int(heard[0]))


def test_given_programs_of_every_end_then_no_child_no_descriptor_and_no_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    asked(ECHO, "x")
    before = len(list(Path("/proc/self/fd").iterdir()))

    asked(ECHO, "x")
    asked(["perl", str(EXAMPLES / "service.pl"), "--socket"], "count", socket=True)
    for program in ("read line; exit 1", "read line; echo garbage", ["no-such-program"]):
        with pytest.raises(CycloneError):
            asked(program, "x")

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert list(tmp_path.iterdir()) == []


def test_given_the_environment_of_a_program_then_it_knows_the_job_and_no_single_task() -> None:
    [seen] = asked('read line; echo "[\\"$CYCLONE_JOB_ID\\", \\"$CYCLONE_CPUS\\", \\"${CYCLONE_TASK_ID-none}\\"]"', "x")

    assert seen == ["0", "1", "none"]


def test_given_another_slot_than_the_program_was_started_for_then_it_is_started_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with job('while read -r line; do echo "[$$, $CYCLONE_SLOT]"; done') as ask:
        first, second = ask("x"), ask("x")
        monkeypatch.setattr(BaseTask.current, "slot", 3)
        third = ask("x")

    assert first == second
    assert (first[1], third[1]) == (0, 3)
    assert third[0] != first[0]
