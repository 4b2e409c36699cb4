"""What each error of the disk means, met where SQLite meets it: below it, in its interface to the file system."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import apsw
import pytest

from cyclone.journal import SqliteJournal
from cyclone.journal.reader import Reader
from cyclone.journal.verify import verify
from cyclone.master.events import HorizonMoved, Recorded
from cyclone.master.journal import JournalBroken, JournalFull
from cyclone.protocol import states
from tests.support.journal_checks import check
from tests.support.journals import JOBS, Book, added, finish, kill, recorded

Opened = Callable[..., SqliteJournal]
_names = (f"faulty-{number}" for number in count())


class FaultyVfs(apsw.VFS):
    """Fails with ``code`` in ``operation`` as soon as that is set."""

    def __init__(self) -> None:
        self.name = next(_names)
        self.operation = ""
        self.code = 0
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 -- SQLite's
        return _FaultyFile(self, name, flags)

    def meet(self, operation: str) -> None:
        if operation == self.operation:
            raise apsw.exception_for(self.code)


class _FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyVfs, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._vfs = vfs
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._vfs.meet("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._vfs.meet("sync")
        super().xSync(flags)


@pytest.fixture
def vfs() -> Iterator[FaultyVfs]:
    faulty = FaultyVfs()
    yield faulty
    faulty.operation = ""


FIRST: list[Recorded] = [*JOBS, added(1, 5), HorizonMoved(5)]
SECOND: list[Recorded] = [recorded(1, 1, [states.COMPLETED] * 3)]


@pytest.mark.parametrize(
    ("operation", "code", "outcome"),
    [
        ("write", apsw.SQLITE_FULL, JournalFull),
        ("write", apsw.SQLITE_IOERR_WRITE, JournalFull),
        ("write", apsw.SQLITE_IOERR, JournalBroken),
        ("write", apsw.SQLITE_CORRUPT, JournalBroken),
        ("sync", apsw.SQLITE_IOERR_FSYNC, JournalBroken),
        ("sync", apsw.SQLITE_IOERR_DIR_FSYNC, JournalBroken),
        ("sync", apsw.SQLITE_IOERR, JournalBroken),
    ],
)
def test_given_an_error_of_the_disk_in_an_append_then_only_want_of_room_may_be_tried_again(
    opened: Opened, path: Path, vfs: FaultyVfs, operation: str, code: int, outcome: type[Exception]
) -> None:
    journal, book = opened(vfs=vfs.name), Book()
    journal.append(FIRST)
    book.add(FIRST)
    vfs.operation, vfs.code = operation, code
    with pytest.raises(outcome, match=str(path)):
        journal.append(SECOND)
    vfs.operation = ""
    if outcome is JournalFull:
        check(journal, book)
        journal.append(SECOND)
        book.add(SECOND)
        check(journal, book)
    else:
        with pytest.raises(JournalBroken):
            journal.append(SECOND)
    journal.close()
    assert list(verify(path)) == []


def test_given_a_failed_sync_in_a_checkpoint_then_the_journal_is_broken(
    opened: Opened, vfs: FaultyVfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclone.journal.sqlite_journal._WAL_BYTES_IDLE", 1)
    journal, book = opened(vfs=vfs.name), Book()
    journal.append(FIRST)
    book.add(FIRST)
    vfs.operation, vfs.code = "sync", apsw.SQLITE_IOERR_FSYNC
    with pytest.raises(JournalBroken):
        journal.tend(0, idle=True)
    vfs.operation = ""
    with pytest.raises(JournalBroken):
        journal.append(SECOND)
    kill(journal)
    check(opened(), book)


def test_given_no_room_for_a_checkpoint_then_the_log_just_grows_on(
    opened: Opened, vfs: FaultyVfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclone.journal.sqlite_journal._WAL_BYTES_IDLE", 1)
    journal, book = opened(vfs=vfs.name), Book()
    journal.append(FIRST)
    vfs.operation, vfs.code = "write", apsw.SQLITE_FULL
    assert not journal.tend(0, idle=True)
    vfs.operation = ""
    journal.append(SECOND)
    book.add([*FIRST, *SECOND])
    check(journal, book)


def test_given_a_reader_that_does_not_let_go_then_the_master_appends_tends_and_ends_all_the_same(
    opened: Opened, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclone.journal.sqlite_journal._WAL_BYTES_IDLE", 1)
    journal, book = opened(), Book()
    journal._db.set_busy_timeout(0)
    journal.append(FIRST)
    with Reader(path) as reader, reader.snapshot() as progress:
        journal.append(SECOND)
        finish(journal)
        journal.close()
        assert (progress.last_id, progress.number) == (5, 0)
        assert reader.db.execute("SELECT count(*) FROM results").get == 0
    book.add([*FIRST, *SECOND])
    check(opened(), book)
