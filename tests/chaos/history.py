"""The histories: what the tasks themselves say of their execution, one line for each event, appended with O_APPEND.

Owns the form of a line and the clock. Written by workers and by the generator while everything is killed around them:
therefore each record *begins* with a line break, and one that a kill has torn spoils no other.
"""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

FOLDER = "CYCLONE_CHAOS_FOLDER"
CONTROLLER = "CYCLONE_CHAOS_CONTROLLER"
EXECUTIONS = "executions.history"
DELIVERIES = "deliveries.history"
JOBS = "jobs.history"
# Clients begin nothing more when this is there.
CALM = "calm"


def now_ns() -> int:
    """Comparable across all processes of this host, and deaf to whoever sets the clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def digest(payload: str) -> str:
    """By which a recorded payload is compared with what an attempt computed."""
    return hashlib.blake2b(payload.encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=8)
def _descriptor(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def append(name: str, *fields: object) -> None:
    """One record into this file of the run's folder, in a single write; the time stands at its end."""
    record = "\n" + " ".join(map(str, (*fields, now_ns())))
    os.write(_descriptor(Path(os.environ[FOLDER], name)), record.encode())


@dataclass(slots=True)
class Execution:
    """One start of a task. Without an end the worker died in it; then ``hash`` is empty."""

    number: int
    task_id: int
    attempt: int
    pid: int
    controller: str
    started_ns: int
    ended_ns: int | None = None
    hash: str = ""

    @property
    def node(self) -> str:
        """The controller's name without the number of its start."""
        return self.controller.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One call of ``on_result``."""

    number: int
    state: str
    pid: int
    at_ns: int


def executions(path: Path) -> tuple[list[Execution], list[str]]:
    """All of them in the order of their starts, and the records that fit nothing: an end without its start."""
    begun: dict[tuple[int, int, int, int], Execution] = {}
    found, misfits = [], []
    for kind, *fields in _records(path):
        number, task_id, attempt, pid = map(int, fields[:4])
        if kind == "S":
            execution = Execution(number, task_id, attempt, pid, fields[4], int(fields[5]))
            begun[number, task_id, attempt, pid] = execution
            found.append(execution)
            continue
        started = begun.pop((number, task_id, attempt, pid), None)
        if started is None:
            misfits.append(" ".join((kind, *fields)))
        else:
            started.hash, started.ended_ns = fields[5], int(fields[6])
    found.sort(key=lambda execution: execution.started_ns)
    return found, misfits


def deliveries(path: Path) -> list[Delivery]:
    """What ``on_result`` was called with, in order."""
    return [Delivery(int(fields[0]), fields[1], int(fields[2]), int(fields[3])) for _, *fields in _records(path)]


# Kind and length of a whole record.
_LENGTHS = {"S": 7, "E": 8, "D": 5}


def _records(path: Path) -> Iterator[list[str]]:
    if not path.exists():
        return
    with path.open(encoding="ascii", errors="replace") as file:
        for line in file:
            fields = line.split()
            # One that is torn is shorter: its process was killed while it wrote.
            if fields and len(fields) == _LENGTHS.get(fields[0]):
                yield fields
