"""What the tests of the tools for journals share: two journals, and the command line."""

from pathlib import Path

import pytest

from cyclone.cli.main import _run
from cyclone.journal import SqliteJournal
from cyclone.master.events import (
    AttemptsEnded,
    ControllerJoined,
    GeneratorAdvanced,
    HorizonMoved,
    JobEnded,
    JobSealed,
    NamespaceSet,
    Recorded,
    TasksProcessed,
)
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.protocol import states
from cyclone.protocol.job_spec import Namespace
from tests.support.journals import JOBS, Book, added, added_to, finish, recorded, submitted

TURNS: list[list[Recorded]] = [
    [*JOBS, added(1, 4), added(5, 4), added(9, 2), HorizonMoved(8), ControllerJoined("node-1", "a" * 32)],
    [GeneratorAdvanced(GeneratorProgress(b"xyz", 10, 1, 10, 2)), AttemptsEnded(6, 1, 1, 1, states.CRASHED, "node-1")],
    [recorded(1, 1, [states.COMPLETED, states.FAILED, states.COMPLETED])],
    [recorded(2, 4, [states.COMPLETED, states.TIMED_OUT, states.COMPLETED], b"\x01\x01\x00", attempt=2)],
]

JOB_TURNS: list[list[Recorded]] = [
    [*JOBS, submitted(3), submitted(4, keep_s=60.0), submitted(5), NamespaceSet(Namespace(name="other"))],
    [added_to(3, 1, 3), added_to(4, 4, 2), added(6, 2), added_to(3, 8, 2, offset=3), added_to(5, 10, 2)],
    [HorizonMoved(11, ((0, 7), (3, 9), (4, 5), (5, 11))), recorded(1, 2, [states.COMPLETED] * 4), JobSealed(4)],
    [recorded(2, 1, [states.FAILED]), JobEnded(4, 4e9), TasksProcessed(4, ((0, 0),)), TasksProcessed(3, ((1, 2),))],
]


def fill(journal: SqliteJournal) -> Book:
    """Append the turns of a generator, and say what is in the journal then."""
    book = Book()
    for events in TURNS:
        journal.append(events)
        book.add(events)
    finish(journal)
    return book


def printed(capfdbinary: pytest.CaptureFixture[bytes], *argv: str | Path) -> str:
    """What ``cyclone journal`` prints with these arguments, when all is well."""
    assert _run(["journal", *map(str, argv)]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    return out.decode()
