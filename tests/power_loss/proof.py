"""The proof: a run is recorded, the power fails at each of its operations, and nothing acknowledged is lost.

Owns the run, the choice of the cuts, and the judgement of what each leaves behind.
"""

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from unittest import mock

from cyclone.errors import CycloneError
from cyclone.journal import open_journal, sqlite_journal
from cyclone.journal.verify import verify
from tests.power_loss.disk import DROPPED, FATES, KEPT, Image, Op, image_after
from tests.power_loss.recording import RecordingVfs
from tests.support.journal_checks import check
from tests.support.journals import ORIGIN, Book, random_turns

NAME = "journal.sqlite"
_vfs_names = (f"recording-{number}" for number in count())


@dataclass(frozen=True)
class Trace:
    """All operations, and after each append that returned: how many there were, and what the journal must hold."""

    ops: list[Op]
    acknowledged: list[tuple[int, Book]]

    def books_at(self, cut: int) -> list[Book]:
        """What may be found after this many operations: all that was acknowledged, and perhaps the append under way."""
        known = sum(1 for ops, _ in self.acknowledged if ops <= cut)
        return [book for _, book in self.acknowledged[max(0, known - 1) : known + 1]]


@dataclass(frozen=True)
class Cut:
    """The power fails after ``at`` operations."""

    at: int
    fate: str
    seed: int


def record(folder: Path, seed: int, turns: int) -> Trace:
    """A master's run: appends, housekeeping and checkpoints, two restarts among them, and an orderly end."""
    vfs = RecordingVfs(next(_vfs_names))
    rng = random.Random(seed)
    acknowledged: list[tuple[int, Book]] = [(0, Book())]
    book = Book()
    # A log of a few pages, so that a short run has many checkpoints.
    with (
        mock.patch.object(sqlite_journal, "_WAL_BYTES_MAX", 64 * 1024),
        mock.patch.object(sqlite_journal, "_WAL_BYTES_IDLE", 16 * 1024),
    ):
        journal = open_journal(folder / NAME, ORIGIN, vfs=vfs.name)
        for turn, events in enumerate(random_turns(seed, turns, size=12)):
            journal.append(events)
            book.add(events)
            acknowledged.append((len(vfs.ops), book.snapshot()))
            if rng.random() < 0.4:
                journal.tend(0, idle=rng.random() < 0.5)
            if turn in (turns // 3, 2 * turns // 3):
                journal.close()
                journal = open_journal(folder / NAME, ORIGIN, vfs=vfs.name)
        journal.close()
    return Trace(vfs.ops, acknowledged)


def cuts(trace: Trace, number: int, seed: int) -> Iterator[Cut]:
    """Every operation with each fate, as often as it takes; where ``number`` is less, evenly spread over the run."""
    rng = random.Random(seed)
    every = [(at, fate) for at in range(len(trace.ops) + 1) for fate in FATES]
    for at, fate in rng.sample(every, number) if number <= len(every) else every:
        yield Cut(at, fate, rng.getrandbits(32))
    # Only these two fates know no chance: the others are worth more seeds.
    left = [(at, fate) for at, fate in every if fate not in (DROPPED, KEPT)]
    for _ in range(number - len(every)):
        yield Cut(*rng.choice(left), rng.getrandbits(32))


def judge(trace: Trace, cut: Cut, folder: Path) -> str:
    """What is wrong with the journal that this cut leaves in an empty folder; empty text for nothing."""
    image = image_after(trace.ops[: cut.at], cut.fate, random.Random(cut.seed))
    _write(image, folder)
    try:
        journal = open_journal(folder / NAME, ORIGIN)
    except CycloneError as error:
        return f"{cut}: the journal cannot be opened: {error}"
    try:
        closed = next(iter(journal.recover()))
        found = (closed.last_id, closed.number)  # type: ignore[union-attr]
        books = [book for book in trace.books_at(cut.at) if (book.last_id, len(book.numbers)) == found]
        if not books:
            expected = [(book.last_id, len(book.numbers)) for book in trace.books_at(cut.at)]
            return f"{cut}: tasks and results up to {found} are there, but {expected} were acknowledged"
        problems = [_compare(journal, book) for book in books]
        if all(problems):
            return f"{cut}: {problems[0]}"
    finally:
        journal.close()
    return "".join(f"{cut}: verify says: {problem}" for problem in verify(folder / NAME))


def _compare(journal: sqlite_journal.SqliteJournal, book: Book) -> str:
    try:
        check(journal, book)
    except AssertionError as error:
        return f"the journal does not hold what was acknowledged: {error}"
    return ""


def _write(image: Image, folder: Path) -> None:
    for name, content in image.items():
        (folder / name).write_bytes(content)


def prove(number: int, seed: int, turns: int) -> Iterator[tuple[Cut, str]]:
    """Each cut of a recorded run with what is wrong after it."""
    # Nothing here relies on a real sync: the faster the file system, the more cuts.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="power-loss-", dir=memory if memory.is_dir() else None) as name:
        root = Path(name)
        (root / "run").mkdir()
        trace = record(root / "run", seed, turns)
        for at, cut in enumerate(cuts(trace, number, seed)):
            folder = root / f"cut-{at}"
            folder.mkdir()
            problem = judge(trace, cut, folder)
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
            yield cut, problem
