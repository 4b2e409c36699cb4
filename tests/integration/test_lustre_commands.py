"""A command that is called with a limit: its time, its output, and what becomes of it."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cyclone.lustre import command
from cyclone.lustre.command import Ended
from cyclone.lustre.lfs import Lfs, LfsError, LfsTimeout
from tests.support.procfs import marked, state, wait_until

MARK = "CYCLONE_TEST_COMMAND"


def run(script: str, timeout_s: float = 20.0, stdout_bytes_max: int = 100_000, mark: str = "") -> Ended:
    environment = {**os.environb, MARK.encode(): mark.encode()}
    return command.run([b"/bin/bash", b"-c", script.encode()], environment, timeout_s, stdout_bytes_max)


def nothing_is_left(mark: str) -> None:
    wait_until(lambda: not marked(MARK, mark), f"the end of all processes of {mark}")


def test_given_a_command_that_ends_then_its_outputs_and_its_exit_code_are_told() -> None:
    assert run("echo out; echo err >&2; exit 3") == Ended(3, b"out\n", b"err\n")
    assert run("kill -9 $$").returncode == -9
    assert run("cat") == Ended(0, b"", b""), "its input is empty"


def test_given_more_time_than_it_has_then_it_gets_sigterm_and_may_say_why(tmp_path: Path) -> None:
    mark = str(tmp_path)
    ended = run("echo begun; trap 'echo ended >&2; exit 7' TERM; sleep 60 & wait", timeout_s=0.2, mark=mark)
    assert (ended.timed_out, ended.returncode, ended.stdout, ended.stderr) == (True, 7, b"begun\n", b"ended\n")
    nothing_is_left(mark)


def test_given_a_command_that_ignores_sigterm_then_it_and_its_children_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "GRACE_S", 0.1)
    mark = str(tmp_path)
    ended = run("trap '' TERM; sleep 60 & sleep 60 & wait; wait", timeout_s=0.2, mark=mark)
    assert (ended.timed_out, ended.returncode) == (True, -signal.SIGKILL)
    nothing_is_left(mark)


def test_given_a_command_that_no_signal_ends_then_it_is_given_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As one in uninterruptible sleep, which no test can make: signals do not arrive.
    monkeypatch.setattr(command, "GRACE_S", 0.05)
    tried: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, number: tried.append(number))
    mark = str(tmp_path)
    lfs = tmp_path / "lfs"
    lfs.write_text("#!/bin/sh\necho begun >&2\nexec sleep 60\n")
    lfs.chmod(0o755)
    monkeypatch.setenv(MARK, mark)
    started_s = time.monotonic()
    with pytest.raises(LfsTimeout, match="given up: begun") as caught:
        Lfs(str(lfs), timeout_s=1.0).layout("/lustre/f")
    assert caught.value.abandoned
    assert time.monotonic() - started_s < 5
    assert tried == [signal.SIGTERM, signal.SIGKILL]
    [pid] = marked(MARK, mark)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: state(pid) == "Z", "the end of the command")
    # The next call collects it.
    assert run("exit 0").returncode == 0
    assert state(pid) == ""


def test_given_a_command_of_another_user_then_the_command_for_that_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = tmp_path / "kill"
    kill.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/signals\nkill "$@"\n')
    kill.chmod(0o755)

    def not_permitted(group: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", not_permitted)
    arguments = [b"/bin/sleep", b"60"]
    ended = command.run(arguments, os.environb, 0.2, 1000, kill_command=[os.fsencode(kill)])
    assert (ended.timed_out, ended.returncode) == (True, -signal.SIGTERM)
    assert (tmp_path / "signals").read_text().startswith("-s TERM -- -")


def test_given_a_flood_of_output_then_no_more_of_it_is_read_than_may_be_kept(tmp_path: Path) -> None:
    mark = str(tmp_path)
    ended = run("yes", stdout_bytes_max=5000, mark=mark)
    assert ended.too_long and not ended.timed_out
    assert len(ended.stdout) == 5000
    nothing_is_left(mark)


def test_given_a_flood_of_errors_then_its_beginning_is_kept_and_the_command_goes_on() -> None:
    ended = run("yes | head -c 1000000 >&2; echo done")
    assert (ended.returncode, ended.stdout, len(ended.stderr)) == (0, b"done\n", command.STDERR_BYTES_MAX)


def test_given_an_output_as_long_as_it_may_be_then_it_is_kept_whole() -> None:
    ended = run("yes | head -c 300000", stdout_bytes_max=300_000)
    assert (ended.too_long, len(ended.stdout)) == (False, 300_000)


def test_given_somebody_who_holds_the_outputs_when_the_command_has_ended_then_nobody_waits_for_him(
    tmp_path: Path,
) -> None:
    mark = str(tmp_path)
    started_s = time.monotonic()
    ended = run("setsid sleep 60 & echo out", mark=mark)
    assert (ended.returncode, ended.stdout) == (0, b"out\n")
    assert time.monotonic() - started_s < 10
    for pid in marked(MARK, mark):
        os.kill(pid, signal.SIGKILL)


class Interrupted(BaseException):
    """As what ends a worker's task."""


def test_given_the_caller_is_told_to_stop_then_the_command_stops_with_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> bool:
        raise Interrupted

    monkeypatch.setattr(command, "_attend", stopped)
    mark = str(tmp_path)
    with pytest.raises(Interrupted):
        run("sleep 60", mark=mark)
    nothing_is_left(mark)


@pytest.mark.parametrize("many", [[], ["-v", "x" * 100_000]])
def test_given_a_program_that_cannot_be_started_then_it_is_an_lfs_error(tmp_path: Path, many: Sequence[str]) -> None:
    (tmp_path / "lfs").write_text("no program")
    with pytest.raises(LfsError, match="cannot be started"):
        Lfs(str(tmp_path / "lfs")).run(["df", *many])
