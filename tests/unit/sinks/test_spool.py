"""The spool: each block once, in order, from when it is put until it is done, whatever is killed in between."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import apsw
import msgspec
import psutil
import pytest

from cyclone.errors import AlreadyRunning, ConfigError
from cyclone.results import RecordedBlock
from cyclone.sinks import spool as module
from cyclone.sinks.spool import FILE_NAME, Spool, SpoolBroken, SpoolFull, SpoolGap

ONE, OTHER = "1" * 32, "2" * 32
MANY = 1000
ROW = 128

NewSpool = Callable[..., Spool]


class Clock:
    """Unix time, as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_spool(tmp_path: Path, clock: Clock) -> Iterator[NewSpool]:
    opened: list[Spool] = []

    def new(bytes_max: int = 1 << 20) -> Spool:
        for former in opened:
            former.close()
        opened.append(Spool(tmp_path / "spool", bytes_max, clock))
        return opened[-1]

    yield new
    for one in opened:
        one.close()


@pytest.fixture
def spool(new_spool: NewSpool) -> Spool:
    return new_spool()


def block(tasks: int) -> bytes:
    """A block of so many results."""
    columns = RecordedBlock(1, 1, [("t:T", tasks)], [b"\x90"] * tasks, bytes(tasks), None, b"", "n")
    return msgspec.msgpack.encode(columns)


def taken(spool: Spool, rows: int = MANY, after: int = 0) -> list[tuple[str, int, bytes]]:
    return [(entry.journal_id, entry.number, entry.block) for entry in spool.take(rows, after)]


class TestPutAndTake:
    def test_given_blocks_of_two_journals_then_they_come_out_in_the_order_of_their_coming(self, spool: Spool) -> None:
        spool.put(ONE, 1, [b"a", b"b"])
        spool.put(OTHER, 1, [b"x"])
        spool.put(ONE, 3, [b"c"])
        assert taken(spool) == [(ONE, 1, b"a"), (ONE, 2, b"b"), (OTHER, 1, b"x"), (ONE, 3, b"c")]
        assert (spool.position(ONE), spool.position(OTHER), spool.position("3" * 32)) == (3, 1, 0)
        assert (spool.waiting_blocks, spool.waiting_bytes) == (4, 4 + 4 * ROW)

    @pytest.mark.parametrize(
        ("first", "blocks", "new"),
        [
            (1, [b"a", b"b"], []),
            (2, [b"b"], []),
            (1, [b"a", b"b", b"c"], [b"c"]),
            (2, [b"b", b"c", b"d"], [b"c", b"d"]),
            (3, [b"c"], [b"c"]),
        ],
    )
    def test_given_what_was_put_before_then_it_is_passed_over(
        self, spool: Spool, first: int, blocks: list[bytes], new: list[bytes]
    ) -> None:
        spool.put(ONE, 1, [b"a", b"b"])
        spool.put(ONE, first, blocks)
        assert [found for _, _, found in taken(spool)] == [b"a", b"b", *new]
        assert spool.position(ONE) == 2 + len(new)

    def test_given_a_gap_then_nothing_is_taken(self, spool: Spool) -> None:
        spool.put(ONE, 1, [b"a"])
        with pytest.raises(SpoolGap, match="blocks from 3 on of a journal of which 1 are spooled"):
            spool.put(ONE, 3, [b"c"])
        assert spool.position(ONE) == 1
        assert spool.waiting_blocks == 1

    def test_given_empty_blocks_then_the_position_passes_them_and_nothing_is_kept(self, spool: Spool) -> None:
        spool.put(ONE, 1, [b"", b"", b"c", b""])
        assert taken(spool) == [(ONE, 3, b"c")]
        assert spool.position(ONE) == 4
        spool.put(ONE, 5, [b""])
        assert (spool.position(ONE), spool.waiting_blocks) == (5, 1)

    @pytest.mark.parametrize(("hint", "count"), [(1, 1), (3, 1), (4, 2), (7, 3), (100, 4)])
    def test_given_a_hint_then_so_many_blocks_come_as_hold_about_so_many_results(
        self, spool: Spool, hint: int, count: int
    ) -> None:
        # What cannot be read counts for one.
        spool.put(ONE, 1, [block(3), block(3), b"rubbish", block(3)])
        assert len(spool.take(hint)) == count

    def test_given_large_blocks_then_what_is_taken_at_once_is_bounded(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_TAKEN_BYTES_MAX", 250)
        spool.put(ONE, 1, [bytes(100)] * 5)
        assert len(spool.take(MANY)) == 3

    def test_given_the_last_sequence_that_was_taken_then_what_is_behind_it_comes(self, spool: Spool) -> None:
        spool.put(ONE, 1, [b"a", b"b", b"c"])
        first = spool.take(1)[0]
        assert taken(spool, after=first.sequence) == [(ONE, 2, b"b"), (ONE, 3, b"c")]
        assert taken(spool) == [(ONE, 1, b"a"), (ONE, 2, b"b"), (ONE, 3, b"c")]


class TestDone:
    def test_given_what_is_done_then_it_is_gone_and_the_position_stays(self, spool: Spool) -> None:
        spool.put(ONE, 1, [b"a", b"b", b"c"])
        spool.done(spool.take(MANY)[1].sequence)
        assert taken(spool) == [(ONE, 3, b"c")]
        assert (spool.waiting_blocks, spool.waiting_bytes) == (1, 1 + ROW)
        assert spool.position(ONE) == 3
        spool.put(ONE, 1, [b"a", b"b", b"c"])
        assert taken(spool) == [(ONE, 3, b"c")]

    def test_given_all_is_done_then_sequences_go_on_also_after_a_new_start(self, new_spool: NewSpool) -> None:
        spool = new_spool()
        spool.put(ONE, 1, [b"a", b"b"])
        last = spool.take(MANY)[-1].sequence
        spool.done(last)
        assert spool.take(MANY) == []
        spool = new_spool()
        spool.put(ONE, 3, [b"c"])
        assert spool.take(MANY)[0].sequence > last

    def test_given_an_outage_that_has_filled_it_then_the_file_is_small_again_when_all_is_done(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_EMPTY_BYTES_MAX", 100_000)
        spool.put(ONE, 1, [bytes(100_000)] * 5)
        entries = spool.take(MANY)
        spool.done(entries[-2].sequence)
        size = (spool.path.parent / f"{FILE_NAME}-wal").stat().st_size
        assert size > 500_000
        spool.done(entries[-1].sequence)
        assert spool.path.stat().st_size < 50_000
        spool.put(ONE, 6, [b"f"])
        assert taken(spool) == [(ONE, 6, b"f")]
        assert spool.take(MANY)[0].sequence > entries[-1].sequence

    def test_given_blocks_that_wait_then_the_age_is_that_of_the_oldest(self, spool: Spool, clock: Clock) -> None:
        assert spool.oldest_age_s() == 0.0
        spool.put(ONE, 1, [b"a"])
        clock.now += 5
        spool.put(ONE, 2, [b"b"])
        clock.now += 2
        assert spool.oldest_age_s() == 7.0
        spool.done(spool.take(1)[0].sequence)
        assert spool.oldest_age_s() == 2.0
        clock.now -= 60
        assert spool.oldest_age_s() == 0.0


class TestBounds:
    def test_given_a_full_spool_then_nothing_is_taken_until_there_is_room(self, new_spool: NewSpool) -> None:
        spool = new_spool(bytes_max=1000)
        spool.put(ONE, 1, [bytes(300), bytes(300)])
        with pytest.raises(SpoolFull, match=r"2 blocks wait in it \(856 bytes; \[sink\] spool_max is 1,000\)"):
            spool.put(ONE, 3, [bytes(100)])
        assert (spool.position(ONE), spool.waiting_blocks) == (2, 2)
        spool.done(spool.take(1)[0].sequence)
        spool.put(ONE, 3, [bytes(100)])
        assert spool.position(ONE) == 3

    @pytest.mark.parametrize(("freed", "takes"), [(1199, False), (1200, True)])
    def test_given_a_full_spool_then_it_takes_something_when_a_tenth_of_it_stays_free(
        self, new_spool: NewSpool, freed: int, takes: bool
    ) -> None:
        spool = new_spool(bytes_max=10_000)
        spool.put(ONE, 1, [bytes(freed - ROW), bytes(9900 - freed - ROW)])
        more = bytes(300 - ROW)
        for _ in range(2):
            with pytest.raises(SpoolFull):
                spool.put(ONE, 3, [more])
        spool.done(spool.take(1)[0].sequence)
        if takes:
            spool.put(ONE, 3, [more])
        else:
            with pytest.raises(SpoolFull):
                spool.put(ONE, 3, [more])
        assert spool.position(ONE) == 2 + takes

    def test_given_an_empty_spool_then_any_message_finds_room(self, new_spool: NewSpool) -> None:
        spool = new_spool(bytes_max=1000)
        spool.put(ONE, 1, [bytes(5000)])
        assert spool.position(ONE) == 1

    def test_given_a_disk_without_room_then_it_is_full_and_goes_on_when_there_is_some(self, spool: Spool) -> None:
        spool.put(ONE, 1, [b"a"])
        spool._putting.pragma("max_page_count", spool._putting.pragma("page_count"))
        with pytest.raises(SpoolFull, match="the disk is full"):
            spool.put(ONE, 2, [bytes(100_000)])
        assert (spool.position(ONE), spool.waiting_blocks) == (1, 1)
        spool._putting.pragma("max_page_count", 1 << 30)
        spool.put(ONE, 2, [bytes(100_000)])
        assert (spool.position(ONE), spool.waiting_blocks) == (2, 2)

    def test_given_an_error_after_which_nobody_knows_then_nothing_more_is_done(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> bool:
            raise apsw.IOError("disk I/O error")

        spool.put(ONE, 1, [b"a"])
        spool._putting.set_commit_hook(fail)
        with pytest.raises(SpoolBroken, match="nobody knows what is on the disk"):
            spool.put(ONE, 2, [b"b"])
        spool._putting.set_commit_hook(None)
        for call in (lambda: spool.put(ONE, 2, [b"b"]), lambda: spool.take(1), lambda: spool.done(1)):
            with pytest.raises(SpoolBroken):
                call()
        assert spool.position(ONE) == 1


class TestFiles:
    def test_given_a_new_start_then_all_is_as_it_was(self, new_spool: NewSpool) -> None:
        spool = new_spool()
        spool.put(ONE, 1, [b"a", b"b", b"c"])
        spool.done(spool.take(1)[0].sequence)
        before = spool.take(MANY)
        spool = new_spool()
        assert spool.take(MANY) == before
        assert spool.position(ONE) == 3
        assert (spool.waiting_blocks, spool.waiting_bytes) == (2, 2 + 2 * ROW)

    def test_given_a_killed_process_then_what_it_had_put_is_there_and_what_it_had_done_is_not(
        self, tmp_path: Path, new_spool: NewSpool
    ) -> None:
        script = (
            "import os, sys; from pathlib import Path; from cyclone.sinks.spool import Spool\n"
            f"spool = Spool(Path({str(tmp_path / 'spool')!r}), 1 << 20)\n"
            f"spool.put('{ONE}', 1, [b'a', b'b'])\n"
            "spool.done(spool.take(1)[0].sequence)\n"
            f"os.kill(os.getpid(), {int(signal.SIGKILL)})"
        )
        done = subprocess.run([sys.executable, "-c", script], check=False)
        assert done.returncode == -signal.SIGKILL
        spool = new_spool()
        assert taken(spool) == [(ONE, 2, b"b")]
        assert spool.position(ONE) == 2

    def test_given_a_spool_that_somebody_has_then_another_is_refused(self, tmp_path: Path, spool: Spool) -> None:
        with pytest.raises(AlreadyRunning, match="another sink has it"):
            Spool(tmp_path / "spool", MANY)
        assert spool.position(ONE) == 0

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"this is no database, and never was one" * 50, "is damaged.*Moved away"),
            (b"SQLite format 3\x00" + bytes(4000), "is damaged"),
        ],
    )
    def test_given_a_file_that_is_no_spool_then_it_is_refused(
        self, tmp_path: Path, new_spool: NewSpool, content: bytes, message: str
    ) -> None:
        (tmp_path / "spool").mkdir()
        (tmp_path / "spool" / FILE_NAME).write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            new_spool()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("PRAGMA user_version = 2", r"was written by another Cyclone \(format 2, this one knows 1\)"),
            ("PRAGMA application_id = 7", "is a database, but no spool of Cyclone"),
            ("DROP TABLE positions", "is damaged: .*no such table: positions"),
        ],
    )
    def test_given_a_spool_of_another_version_or_of_somebody_else_then_it_is_refused(
        self, new_spool: NewSpool, change: str, message: str
    ) -> None:
        spool = new_spool()
        spool.close()
        db = apsw.Connection(str(spool.path))
        db.execute(change)
        db.close()
        with pytest.raises(ConfigError, match=message):
            new_spool()

    def test_given_a_network_file_system_then_it_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        partitions = [SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")]
        monkeypatch.setattr(psutil, "disk_partitions", lambda all: partitions)  # noqa: A006 -- psutil's name
        with pytest.raises(ConfigError, match=r"spool .*is a network file system \(nfs4\).*by \[control\] state_dir"):
            Spool(tmp_path / "spool", MANY)
        assert list(tmp_path.iterdir()) == []

    def test_given_a_folder_that_cannot_be_made_then_it_says_what_to_set(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(ConfigError, match="set \\[control\\] state_dir"):
            Spool(tmp_path / "file" / "spool", MANY)


def test_given_two_threads_then_each_block_comes_out_once_and_in_order(spool: Spool) -> None:
    count = 300
    found: list[int] = []

    def consume() -> None:
        while len(found) < count:
            for entry in spool.take(7):
                found.append(entry.number)
                spool.done(entry.sequence)

    consumer = threading.Thread(target=consume)
    consumer.start()
    for first in range(1, count + 1, 3):
        spool.put(ONE, first, [b"x"] * 3)
    consumer.join()
    assert found == list(range(1, count + 1))
    assert (spool.waiting_blocks, spool.waiting_bytes) == (0, 0)
