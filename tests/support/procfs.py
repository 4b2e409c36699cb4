"""What tests see of other processes: found by a variable in their environment, and waited for by condition."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_LOOK_S = 0.01
# exec(2) takes so long at most, but for a very busy machine.
_EXEC_S = 0.1
# PF_KTHREAD of the kernel's linux/sched.h.
_KERNEL_THREAD = 0x00200000


def wait_until(condition: Callable[[], T], what: str, deadline_s: float = 20.0) -> T:
    """What the condition returned as soon as that is true; AssertionError when it is not within so many seconds."""
    until = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < until, f"not within {deadline_s:g} s: {what}"
        time.sleep(_LOOK_S)


def command(pid: int) -> str:
    """The command line of a process, '' for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def marked(variable: str, value: str) -> dict[int, str]:
    """The command lines, by pid, of all processes that have this in their environment."""
    mark = f"{variable}={value}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            lines = _environment(entry).split(b"\0")
        except OSError:
            continue
        if mark in lines:
            found[int(entry.name)] = command(int(entry.name))
    return found


def _environment(entry: Path) -> bytes:
    """That of a process; of one in the middle of exec(2), which has none for a moment, when that is over."""
    until = time.monotonic() + _EXEC_S
    while True:
        environment = (entry / "environ").read_bytes()
        if environment or time.monotonic() > until:
            return environment
        # proc(5): behind the command, in parentheses and with anything in it: state, ..., flags as the seventh.
        fields = (entry / "stat").read_bytes().rpartition(b") ")[2].split()
        if fields[0] in b"ZX" or int(fields[6]) & _KERNEL_THREAD:
            return b""
        time.sleep(_LOOK_S)


def state(pid: int) -> str:
    """R, S, T, Z... of proc(5), '' for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1].decode()
    except OSError:
        return ""


def kill_all(pids: list[int]) -> None:
    """SIGKILL, also where one is gone already."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def parent(pid: int) -> int:
    """The pid of a process's parent, 0 for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()[1])
    except OSError:
        return 0


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process name; one that it closes this very moment is none."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(path.readlink()))
    return found
