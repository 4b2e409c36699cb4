"""The CPU time of the processes of a run, by role.

Owns how the kernel is asked. A role is ``master``, ``generator``, ``controller`` or ``workers``; what runs on another
host has none. Linux only.
"""

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from cyclone.processes import children

ROLES = ("generator", "master", "controller", "workers")
# How the kernel writes the clock of another process' CPU time: MAKE_PROCESS_CPUCLOCK of posix-timers_types.h. Unlike
# /proc/PID/stat, which counts in hundredths of a second, it is exact.
_CPUCLOCK_SCHED = 2
_WORKER = b"cyclone.controller.worker"

# Seconds of CPU, by role and process.
Look = dict[str, dict[int, float]]


class Used(NamedTuple):
    """What a role used between two looks: all of its processes, and the busiest of them."""

    all_s: float
    busiest_s: float


def look(master: int, generator: int, controllers: Iterable[int]) -> Look:
    """What each process has used so far. Those that have ended are not in it."""
    controllers = list(controllers)
    roles = {
        "generator": [generator],
        "master": [master],
        "controller": controllers,
        "workers": [pid for controller in controllers for pid in _workers(controller)],
    }
    return {role: used_s(pids) for role, pids in roles.items()}


def used_s(pids: Iterable[int]) -> dict[int, float]:
    """Seconds of CPU of each of these processes that still runs, all of its threads together."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            found[pid] = time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
    return found


def used(first: Look, last: Look) -> dict[str, Used]:
    """What the roles used between two looks; roles that had no process are not in it."""
    found = {}
    for role, processes in last.items():
        spent = [seconds - first[role].get(pid, 0.0) for pid, seconds in processes.items()]
        if spent:
            found[role] = Used(sum(spent), max(spent))
    return found


def _workers(controller: int) -> list[int]:
    found = []
    # It may have ended meanwhile, and so may each of them.
    with contextlib.suppress(OSError):
        for pid in children(controller):
            with contextlib.suppress(OSError):
                if _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
    return found
