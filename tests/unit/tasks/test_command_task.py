"""CommandTask with real commands: what comes back, how failures read, and that nothing is left behind."""

import os
import shlex
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cyclone import BaseTask
from cyclone.programs.command import OUTPUT_BYTES_MAX, CommandFailed, CommandTimedOut
from tasks.command import CommandTask
from tests.support.drive import rebuilt

ROOT = Path(__file__).parents[3]
DEADLINE_S = 20.0
# A command that takes no notice of SIGTERM, and tells that it does not.
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def run(*args: Any, **options: Any) -> dict[str, Any]:
    value: dict[str, Any] = rebuilt(CommandTask(*args, **options)).execute()
    return value


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """False also for one that has ended and is still to be collected by somebody."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] not in b"ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pid_in(path: Path) -> int:
    """The pid that a command writes there."""
    wait_until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_given_an_argument_list_then_it_is_not_interpreted() -> None:
    assert run(["printf", "%s|", "a b", "$HOME", ""])["stdout"] == "a b|$HOME||"


def test_given_a_string_then_the_shell_runs_it() -> None:
    assert run("printf a | tr a b; printf c >&2") == {
        "exit_code": 0,
        "stdout": "b",
        "stderr": "c",
        "stdout_bytes": 1,
        "stderr_bytes": 1,
        "stdout_truncated": False,
        "stderr_truncated": False,
    }


@pytest.mark.parametrize("data", [b"\0\xff\n", b"", os.urandom(300_000)], ids=["few bytes", "none", "many bytes"])
def test_given_bytes_for_standard_input_then_the_command_gets_all_of_them(data: bytes) -> None:
    value = run(["cat"], stdin=data, output_bytes_max=OUTPUT_BYTES_MAX)

    assert value["stdout"].encode("utf-8", "surrogateescape") == data


def test_given_text_for_standard_input_then_it_travels_as_utf_8() -> None:
    assert run(["wc", "-c"], stdin="ä\udcff")["stdout"].strip() == "3"


def test_given_no_standard_input_then_it_is_empty() -> None:
    assert run(["cat"])["stdout"] == ""


def test_given_a_command_that_does_not_read_then_its_input_is_no_failure() -> None:
    assert run(["true"], stdin=bytes(1_000_000))["exit_code"] == 0


def test_given_output_that_is_not_utf_8_then_every_byte_comes_back() -> None:
    value = run(r"printf 'a\377b'")

    assert value["stdout"].encode("utf-8", "surrogateescape") == b"a\xffb"


def test_given_more_output_than_the_cap_then_its_beginning_is_kept_and_the_rest_counted() -> None:
    value = run("seq 1 200000; echo err >&2", output_bytes_max=10)

    assert value["stdout"] == "1\n2\n3\n4\n5\n"
    assert (value["stdout_bytes"], value["stdout_truncated"]) == (1_288_895, True)
    assert (value["stderr"], value["stderr_truncated"]) == ("err\n", False)


def test_given_a_cap_within_a_character_then_the_half_of_it_is_left_out() -> None:
    assert run(["printf", "aé"], output_bytes_max=2)["stdout"] == "a"
    assert run(["printf", "aé"], output_bytes_max=3)["stdout"] == "aé"


def test_given_much_output_then_memory_does_not_grow_with_it() -> None:
    tracemalloc.start()
    try:
        value = run(["head", "-c", "100000000", "/dev/zero"], output_bytes_max=10)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert value["stdout_bytes"] == 100_000_000
    assert peak_bytes < 1_000_000


def test_given_a_folder_then_the_command_runs_there(tmp_path: Path) -> None:
    assert run(["pwd", "-P"], cwd=str(tmp_path))["stdout"].strip() == str(tmp_path.resolve())


def test_given_an_environment_then_it_is_put_over_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("CHANGED", "1")

    assert run("echo $KEPT $CHANGED", environment={"CHANGED": "2"})["stdout"] == "1 2\n"


def test_given_a_task_then_its_command_knows_id_attempt_and_a_folder_of_its_own() -> None:
    value = run('cd "$CYCLONE_TASK_DIR" && touch here && echo $CYCLONE_TASK_ID $CYCLONE_ATTEMPT')

    assert value["stdout"] == "0 1\n"
    assert (BaseTask.current.scratch_dir() / "here").exists()


def test_given_another_exit_code_than_0_then_the_failure_has_it_and_the_end_of_standard_error() -> None:
    with pytest.raises(CommandFailed) as caught:
        run("seq 1 100000 >&2; echo the reason >&2; exit 3", output_bytes_max=10)

    first, _, rest = str(caught.value).partition("\n")
    assert first.endswith("exit 3 ended with exit code 3; standard error ends with:")
    assert rest.endswith("99999\n100000\nthe reason")
    assert len(rest) < 3000


def test_given_a_signal_then_the_failure_names_it() -> None:
    with pytest.raises(CommandFailed, match=r"kill -SEGV \$\$ was killed by SIGSEGV$"):
        run("kill -SEGV $$")


def test_given_check_off_then_any_exit_code_is_a_result() -> None:
    assert run("exit 3", check=False)["exit_code"] == 3
    assert run("kill -KILL $$", check=False)["exit_code"] == -signal.SIGKILL


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (
            ["no-such-command", "x"],
            {},
            "^no-such-command x cannot be started: no-such-command: No such file or directory",
        ),
        (["/etc/passwd"], {}, "^/etc/passwd cannot be started: /etc/passwd: Permission denied"),
        (["true"], {"cwd": "/no/such"}, "^true cannot start in /no/such: No such file or directory"),
        (["true", "x" * 200_000], {}, r"^true x+\.\.\. cannot be started: true: Argument list too long"),
        ("no-such-command", {}, "exit code 127; standard error ends with:\n.*no-such-command: .*not found"),
    ],
)
def test_given_a_command_that_cannot_start_then_the_failure_says_why(
    command: str | list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandFailed, match=message):
        run(command, **options)


@pytest.mark.parametrize(
    ("command", "options"),
    [("", {}), ([], {}), ("true", {"output_bytes_max": -1}), ("true", {"output_bytes_max": OUTPUT_BYTES_MAX + 1})],
)
def test_given_impossible_properties_then_the_task_cannot_be_made(command: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="command is empty|output_bytes_max is"):
        CommandTask(command, **options)


def test_given_a_time_limit_then_the_whole_group_ends_and_the_failure_says_so(tmp_path: Path) -> None:
    command = f"sleep 100 & echo $! > {shlex.quote(str(tmp_path / 'pid'))}; echo started >&2; wait"

    with pytest.raises(CommandTimedOut, match="(?s)time limit of 0.3 s; standard error ends with:\nstarted"):
        run(command, time_limit=0.3)

    assert not is_running(pid_in(tmp_path / "pid"))


def test_given_a_group_that_needs_a_moment_to_end_then_it_has_the_grace(tmp_path: Path) -> None:
    slow = (
        f"trap 'sleep 0.2; echo done > {shlex.quote(str(tmp_path / 'file'))}; exit' TERM; while :; do sleep 0.05; done"
    )

    with pytest.raises(CommandTimedOut):
        run(["sh", "-c", f"({slow}) & wait"], time_limit=0.3, grace=DEADLINE_S)

    assert (tmp_path / "file").read_text() == "done\n"


def test_given_a_command_that_ignores_sigterm_then_it_is_killed_after_the_grace() -> None:
    began_s = time.monotonic()

    with pytest.raises(CommandTimedOut):
        run(STUBBORN, time_limit=0.2, grace=0.2)

    assert 0.4 <= time.monotonic() - began_s < DEADLINE_S


def test_given_a_command_that_leaves_something_running_then_it_ends_with_the_command(tmp_path: Path) -> None:
    began_s = time.monotonic()

    value = run(f"sleep 100 & echo $! > {shlex.quote(str(tmp_path / 'pid'))}; echo over")

    assert value["stdout"] == "over\n"
    assert time.monotonic() - began_s < DEADLINE_S
    wait_until(lambda: not is_running(pid_in(tmp_path / "pid")))


def test_given_somebody_who_left_the_session_with_the_pipes_then_the_result_does_not_wait_for_it(
    tmp_path: Path,
) -> None:
    pid_file = shlex.quote(str(tmp_path / "pid"))

    value = run(
        f"setsid sh -c 'echo $$ > {pid_file}; exec sleep 100' & while ! [ -s {pid_file} ]; do :; done; echo over"
    )

    assert value["stdout"] == "over\n"
    os.kill(pid_in(tmp_path / "pid"), signal.SIGKILL)


def test_given_commands_of_every_end_then_no_child_and_no_descriptor_is_left() -> None:
    run(["true"])
    before = descriptors()

    run(["cat"], stdin=b"x")
    run("exit 3", check=False)
    for command in (["no-such-command"], STUBBORN, "exit 1"):
        with pytest.raises(CommandFailed):
            run(command, time_limit=0.1, grace=0.1)

    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


WORKER = """
import signal, sys
from tasks.command import CommandTask

class Ended(BaseException):
    pass

def end(*_):
    raise Ended

signal.signal(signal.SIGTERM, end)
CommandTask(sys.argv[1]).execute()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_given_the_end_of_the_worker_then_its_command_ends_too(tmp_path: Path, number: signal.Signals) -> None:
    command = f"echo $$ > {shlex.quote(str(tmp_path / 'pid'))}; exec sleep 100"
    # A killed process leaves its scratch folder; in a daemon the guardian removes it, here the test does.
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, command], cwd=ROOT, stderr=subprocess.DEVNULL, env=environment
    ) as worker:
        pid = pid_in(tmp_path / "pid")

        worker.send_signal(number)

        wait_until(lambda: not is_running(pid))


def test_given_no_room_to_attend_to_a_command_then_it_is_ended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("cyclone.programs.command.Output", no_room)
    began_s = time.monotonic()
    with pytest.raises(MemoryError):
        run("sleep 100")
    assert time.monotonic() - began_s < DEADLINE_S
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_given_a_worker_that_is_told_to_end_the_task_while_it_starts_the_command_then_it_does(tmp_path: Path) -> None:
    # What a hook of fork raises is printed and forgotten by Python, whose own modules have such hooks.
    at_fork = "import os; os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
    last = "signal.signal(signal.SIGTERM, end)\n"
    assert last in WORKER
    with subprocess.Popen(
        [sys.executable, "-c", WORKER.replace(last, last + at_fork), "sleep 100"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        text=True,
    ) as worker:
        try:
            _, said = worker.communicate(timeout=DEADLINE_S)
        finally:
            worker.kill()
    assert worker.returncode == 1
    assert said.rstrip().endswith("Ended")
