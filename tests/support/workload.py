"""Tasks and a generator that do, as plug-ins of real processes, whatever a test wants to see survived.

Whatever runs notes it in the file ``notes`` of the test's folder, so that a test knows what was started how often.
"""

import ctypes
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from cyclone.controller.worker import Report
from tasks.command import CommandTask

FOLDER = "CYCLONE_TEST_FOLDER"
_LOOK_S = 0.01


def note(kind: str, **fields: Any) -> None:
    """Append a line to the test's notes; a single write, so that lines of many processes do not mix."""
    line = json.dumps({"kind": kind, "pid": os.getpid(), **fields}) + "\n"
    descriptor = os.open(Path(os.environ[FOLDER], "notes"), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def await_file(name: str) -> None:
    """Return when the test has made this file in its folder."""
    while not Path(os.environ[FOLDER], name).exists():
        time.sleep(_LOOK_S)


class OddBaseError(BaseException):
    """Not an Exception."""


class Act(BaseTask):
    """Does what its name says. One class for all, so that they travel in the same batches."""

    def __init__(self, what: str, value: Any = None) -> None:
        self.what = what
        self.value = value

    def execute(self) -> Any:
        if self.what == "return":
            # The one that leaves no note: there may be very many.
            return self.value
        note("start", task=self.task_id, attempt=self.attempt, what=self.what, value=self.value)
        return getattr(self, f"do_{self.what}")()

    def do_quick(self) -> Any:
        return self.value

    def do_nap(self) -> None:
        """Takes so many seconds."""
        time.sleep(self.value)

    def do_gate(self) -> Any:
        """Runs until the test opens the gate."""
        await_file(self.value)
        note("passed", task=self.task_id, attempt=self.attempt)
        return self.value

    def do_gate_once(self) -> Any:
        """Only the first attempt has to wait."""
        return self.do_gate() if self.attempt == 1 else self.value

    def do_hang(self) -> None:
        while True:
            time.sleep(60)

    def do_raise(self) -> None:
        raise ValueError(self.value)

    def do_sys_exit(self) -> None:
        sys.exit(self.value)

    def do_base_exception(self) -> None:
        raise OddBaseError(self.value)

    def do_keyboard_interrupt(self) -> None:
        raise KeyboardInterrupt

    def do_too_large(self) -> bytes:
        return bytes(self.value)

    def do_not_serialisable(self) -> Any:
        return {"set": {1, 2}}

    def do_print(self) -> str:
        sys.stdout.write("stdout of a task\n" * self.value)
        sys.stderr.write("stderr of a task\n" * self.value)
        return "printed"

    def do_print_bytes(self) -> str:
        """Onto the descriptors themselves, half to each; text of one megabyte at a time."""
        block = b"printed without an end " * 45_590
        for written in range(0, self.value, len(block)):
            view = memoryview(block)[: self.value - written]
            while view:
                view = view[os.write(1 + written // len(block) % 2, view) :]
        return "printed"

    def do_print_control(self) -> None:
        print("\x1b[2J\r2026-01-01 00:00:00,000 - ERROR: forged\x00", flush=True)

    def do_close_standard(self) -> str:
        os.closerange(0, 3)
        return "closed"

    def do_leave_printer(self) -> None:
        """A child in a session of its own keeps standard output open for ever."""
        child = subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL, start_new_session=True)
        note("child", child=child.pid)

    def do_around(self) -> dict[str, Any]:
        """What a task finds around it."""
        umask = os.umask(0o777)
        os.umask(umask)
        return {
            "environment": dict(os.environ),
            "umask": umask,
            "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
            "oom_score": int(Path("/proc/self/oom_score_adj").read_text()),
            "temporary": tempfile.gettempdir(),
        }

    def do_leave_file(self) -> str:
        """Something in its folder for temporary files."""
        descriptor, name = tempfile.mkstemp()
        os.close(descriptor)
        return name

    def do_allocate(self) -> int:
        """So many bytes in one piece."""
        return len(bytearray(self.value))

    def do_allocate_bit_by_bit(self) -> None:
        """Objects until there is no memory left, which are there yet when that is to be reported."""
        self.kept = []
        while True:
            self.kept.append(bytearray(100_000))

    def do_allocate_in_child(self) -> int:
        """The exit code of a child that allocates so many bytes."""
        script = f"import sys\ntry: bytearray({self.value})\nexcept MemoryError: sys.exit(9)"
        return subprocess.run([sys.executable, "-c", script], check=False).returncode

    def do_die_before_report(self) -> str:
        """The worker is killed when the task has returned, before anybody hears of it."""
        if self.attempt == 1:
            Report.flush = lambda *_, **__: self.do_kill()  # type: ignore[method-assign]
        return "returned"

    def do_die_after_report(self) -> str:
        """The worker is killed when the result is on its way."""
        send = socket.socket.sendall

        def send_and_die(channel: socket.socket, data: bytes) -> None:
            send(channel, data)
            self.do_kill()

        socket.socket.sendall = send_and_die  # type: ignore[assignment,method-assign]
        return "returned"

    def do_die_at_exit(self) -> str:
        """The worker is killed while it exits."""
        sys.stdout = Deadly()
        return "returned"

    def do_log(self) -> None:
        self.log.warning("said by a task")

    def do_memory_error(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, hard))
        try:
            bytes(4 << 30)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

    def do_ignore_sigterm(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.do_hang()

    def do_defy(self) -> None:
        """Will not end, nor will its children, one of them in a session of its own; all are told to before they are."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        children = [subprocess.Popen(["sleep", "3600"], start_new_session=own) for own in (False, True)]
        note("children", task=self.task_id, children=[child.pid for child in children])
        self.do_hang()

    def do_refused_at_first(self) -> Any:
        """A connection that comes about with attempt number ``value``."""
        if self.attempt < self.value:
            raise ConnectionRefusedError(f"attempt {self.attempt}")
        return self.attempt

    def do_hold_gil(self) -> None:
        # PyDLL does not release the GIL around the call.
        ctypes.PyDLL(None).sleep(3600)

    def do_child(self) -> None:
        """Waits for a child of its own, in a session of its own."""
        subprocess.run(["sleep", "3600"], start_new_session=True, check=True)

    def do_leave_child(self) -> None:
        """Leaves one behind that has let go of everything but its environment."""
        child = subprocess.Popen(
            ["sh", "-c", "setsid sleep 3600 & echo $!"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        assert child.stdout
        note("child", child=int(child.stdout.readline()))
        child.stdout.close()
        child.wait()

    def do_leave_child_and_hang(self) -> None:
        self.do_leave_child()
        self.do_hang()

    def do_leave_child_and_die(self) -> None:
        self.do_leave_child()
        self.do_kill()

    def do_tidy_up(self) -> None:
        """Hangs, and has something to do when it is ended."""
        try:
            self.do_hang()
        finally:
            note("tidied", task=self.task_id)

    def do_segfault(self) -> None:
        ctypes.string_at(0)

    def do_abort(self) -> None:
        os.abort()

    def do_kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def do_kill_once(self) -> str:
        if self.attempt == 1:
            self.do_kill()
        return "second time lucky"

    def do_os_exit(self) -> None:
        os._exit(self.value)

    def do_close_descriptors(self) -> str:
        os.closerange(3, 4096)
        return "closed"

    def do_rubbish(self) -> str:
        """Writes onto every socket that it finds."""
        for descriptor, target in _targets():
            if target.startswith("socket:"):
                os.write(descriptor, b"rubbish, and more of it " * 4)
        return "scribbled"

    def do_descriptors(self) -> dict[str, str]:
        return {str(descriptor): target for descriptor, target in _targets()}

    def do_scratch(self) -> str:
        (self.scratch_dir / "file").write_text("something")
        note("scratch", folder=str(self.scratch_dir))
        if self.value:
            getattr(self, f"do_{self.value}")()
        return str(self.scratch_dir)

    def do_exists(self) -> bool:
        return Path(self.value).exists()

    def do_about(self) -> dict[str, Any]:
        """What a task knows of itself."""
        return {"task_id": self.task_id, "attempt": self.attempt, "left_s": self.time_left_s(), "path": sys.path}


def _targets() -> Iterator[tuple[int, str]]:
    """What each open descriptor is."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            yield int(entry.name), str(entry.readlink())
        except OSError:
            # The one that lists them.
            continue


class LimitedAct(Act):
    """With a time limit of its class."""

    time_limit_s = 0.4


class OtherAct(Act):
    """Another class: another job."""


class RetriedAct(Act):
    """Worth two retries where it has to do with the operating system."""

    retries = 2
    retry_delay_s = 0.1
    retry_on = (OSError, "TaskTimedOut")


class PreparedAct(Act):
    """Is prepared for ``value`` seconds."""

    def setup(self) -> None:
        try:
            time.sleep(self.value)
        finally:
            note("prepared", task=self.task_id)


class ExclusiveAct(Act):
    """No two attempts at once."""

    exclusive = True


class DeadlyConstructor(Act):
    """Its first attempt is killed before ``execute``, in a worker."""

    def __init__(self, what: str, value: Any = None) -> None:
        super().__init__(what, value)
        if self.task_id and self.attempt == 1:
            note("start", task=self.task_id, attempt=self.attempt, what=what, value=value)
            self.do_kill()


class Deadly(io.StringIO):
    """A standard output that kills whoever flushes it."""

    def flush(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


CLASSES: dict[str, Callable[..., BaseTask]] = {
    cls.__name__: cls
    for cls in (Act, LimitedAct, OtherAct, RetriedAct, PreparedAct, ExclusiveAct, DeadlyConstructor, CommandTask)
}


class ScriptGenerator(BaseTaskGenerator):
    """``[script] tasks`` is a JSON list of ``{"what", "value", "class", "limit", "times", "number"}``.

    The first two are the task's properties; with ``number`` its value counts how many of ``times`` there were.
    """

    def generate(self) -> Iterator[BaseTask]:
        note("generator")
        for entry in json.loads(self.option("script", "tasks", "[]")):
            for number in range(entry.get("times", 1)):
                value = entry.get("value")
                if entry.get("number"):
                    value = number
                task = CLASSES[entry.get("class", "Act")](entry["what"], value)
                if "limit" in entry:
                    task.time_limit_s = entry["limit"]
                yield task

    def on_result(self, result: TaskResult) -> None:
        error = result.error
        note(
            "result",
            task=result.task_id,
            state=result.state,
            attempt=result.attempt,
            controller=result.controller,
            worker=result.worker_pid,
            value=result.value if isinstance(result.value, str | int) else None,
            error=error and f"{error.type}: {error.message}",
        )
