"""The guardian: a small process that outlives its owner by a moment and leaves nothing of it behind.

A daemon that is killed with SIGKILL can clean up nothing by itself; PR_SET_PDEATHSIG reaches its children but not
theirs. So each daemon has a guardian, which blocks on a pipe until the owner is gone, however it went, kills every
process that has the owner's mark in its environment or belongs to a session led by such a process, and removes the
owner's folder.

Runs as a script with ``python -I -S``: the standard library only, and of it as little as possible.
"""

import os
import shutil
import signal
import sys
import time

MARK = "CYCLONE_OWNER"
"""In the environment of all that belongs to a daemon."""

WORKER_MARK = "CYCLONE_WORKER"
"""In that of all that belongs to a worker of a controller."""

# Two empty looks in a row, because a process may have been forking during the first.
_CLEAN_LOOKS = 2
_LOOK_S = 0.02
_LOOKS_MAX = 200


def living() -> dict[int, int]:
    """The session of each process that is not a zombie, by pid."""
    sessions = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib would cost more than all else of this start-up
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # proc(5): behind the command, in parentheses and with anything in it: state, parent, group, session.
                state, _, _, session = file.read().rpartition(b") ")[2].split()[:4]
        except OSError:
            continue
        if state not in b"ZX":
            sessions[int(name)] = int(session)
    return sessions


def _has_mark(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False


def clear(mark: bytes, known: set[int], clean_looks: int = _CLEAN_LOOKS) -> None:
    """Kill until nothing with the mark is left; ``known`` are session leaders that may be gone already."""
    clean = 0
    for _ in range(_LOOKS_MAX):
        sessions = living()
        marked = {pid for pid in sessions if _has_mark(pid, mark)}
        leaders = known | {pid for pid in marked if sessions[pid] == pid}
        doomed = marked | {pid for pid, session in sessions.items() if session in leaders}
        doomed.discard(os.getpid())
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        clean = 0 if doomed else clean + 1
        if clean == clean_looks:
            return
        time.sleep(_LOOK_S)


def main(lifeline: int, mark: str, folder: str) -> None:
    """Wait for the owner's end. It writes ``+pid`` and ``-pid`` lines for session leaders that it starts and reaps."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    leaders: set[int] = set()
    rest = b""
    while data := os.read(lifeline, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            (leaders.add if line[:1] == b"+" else leaders.discard)(int(line[1:]))
    clear(f"{MARK}={mark}".encode(), leaders)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
