"""What tasks have printed, on the disk: found again, by whom it belongs to, and never more than there is room for."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclone.controller.output_store import OutputStore, folder_of

JOURNAL, OTHER = "a" * 32, "b" * 32
ROOM = 1 << 20
LEASE = (1, 1)
OUT, ERR = 1, 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "output" / "c1"


@pytest.fixture
def store(folder: Path) -> Iterator[OutputStore]:
    one = _opened(folder)
    yield one
    one.close()


def _opened(folder: Path, journal_id: str = JOURNAL) -> OutputStore:
    store = OutputStore(folder, ROOM)
    store.begin(journal_id)
    return store


def _text(store: OutputStore, task_id: int, attempt: int = 0) -> bytes | None:
    found = store.find(task_id, attempt, 0, ROOM)
    return None if found is None else b"".join(data for _, data in found.pieces)


def _segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.output"))


def _fill(store: OutputStore, first: int, count: int, size: int) -> None:
    for task_id in range(first, first + count):
        store.append(task_id, LEASE, 0, OUT, b"%06d" % task_id + b"x" * (size - 6))
    store.write()


def test_given_tasks_that_print_nothing_then_there_is_not_even_a_folder(store: OutputStore, folder: Path) -> None:
    store.write()
    assert store.find(1, 0, 0, 100) is None
    assert not folder.exists()
    assert store.kept_bytes == 0


def test_given_pieces_then_they_are_told_in_their_order_with_their_streams(store: OutputStore) -> None:
    for offset, stream, data in ((0, OUT, b"one "), (4, OUT, b"two "), (8, ERR, b"three "), (14, OUT, b"four")):
        store.append(5, LEASE, offset, stream, data)
    assert store.find(5, 0, 0, 100) == (LEASE, 0, [(OUT, b"one two "), (ERR, b"three "), (OUT, b"four")], 18)


@pytest.mark.parametrize("writes", [pytest.param(True, id="one record each"), pytest.param(False, id="one record")])
@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize(
    ("offset", "bytes_max", "expected"),
    [
        pytest.param(0, 3, (0, b"abc"), id="the beginning"),
        pytest.param(2, 3, (2, b"cde"), id="across records"),
        pytest.param(6, 9, (6, b"gh"), id="the end"),
        pytest.param(8, 9, (8, b""), id="behind the end"),
        pytest.param(99, 9, (99, b""), id="far behind"),
        pytest.param(0, 0, (0, b""), id="only the size"),
    ],
)
def test_given_a_part_then_exactly_that_is_told(
    store: OutputStore,
    folder: Path,
    writes: bool,
    is_sealed: bool,
    offset: int,
    bytes_max: int,
    expected: tuple[int, bytes],
) -> None:
    for at in range(0, 8, 2):
        store.append(5, LEASE, at, OUT, b"abcdefgh"[at : at + 2])
        if writes:
            store.append(6, LEASE, at, OUT, b"--")
            store.write()
    if is_sealed:
        store.close()
        store = _opened(folder)
    found = store.find(5, 0, offset, bytes_max)
    store.close()
    assert found is not None
    assert (found.offset, b"".join(data for _, data in found.pieces)) == expected
    assert found.size == 8


def test_given_attempts_then_each_can_be_told_and_the_last_one_is(store: OutputStore) -> None:
    for lease in ((1, 1), (1, 2), (2, 1)):
        store.append(5, lease, 0, OUT, b"%d.%d" % lease)
    assert [_text(store, 5, attempt) for attempt in (0, 1, 2, 3)] == [b"2.1", b"2.1", b"1.2", None]


def test_given_another_process_on_the_folder_then_it_finds_everything_and_goes_on(folder: Path) -> None:
    for number in range(3):
        store = _opened(folder)
        assert [_text(store, task_id) for task_id in range(1, number + 1)] == [b"task"] * number
        store.append(number + 1, LEASE, 0, OUT, b"task")
        store.close()
    assert len(_segments(folder)) == 3


def test_given_another_journal_then_its_tasks_are_others_and_what_was_there_goes(folder: Path) -> None:
    store = _opened(folder)
    store.append(5, LEASE, 0, OUT, b"old")
    store.close()
    store = _opened(folder, OTHER)
    assert store.find(5, 0, 0, 100) is None
    assert _segments(folder) == []
    store.append(5, LEASE, 0, OUT, b"new")
    store.begin(JOURNAL)
    assert store.find(5, 0, 0, 100) is None
    assert _segments(folder) == []
    store.close()


@pytest.mark.parametrize(
    "tear",
    [
        pytest.param(lambda content: content[:-1], id="cut in the data"),
        pytest.param(lambda content: content[:-20], id="cut in the head"),
        pytest.param(lambda content: content[:-1] + bytes([content[-1] ^ 1]), id="another byte"),
        pytest.param(lambda content: content + b"\0" * 100, id="zeros behind it"),
        pytest.param(lambda content: content + content[24:40], id="a beginning behind it"),
    ],
)
def test_given_a_torn_tail_then_all_before_it_is_there(folder: Path, tear: "object") -> None:
    store = _opened(folder)
    store.append(1, LEASE, 0, OUT, b"whole")
    store.append(2, LEASE, 0, OUT, b"whole too, or torn")
    store.close()
    (path,) = _segments(folder)
    path.write_bytes(tear(path.read_bytes()))  # type: ignore[operator]
    store = _opened(folder)
    assert _text(store, 1) == b"whole"
    assert _text(store, 2) in (None, b"whole too, or torn")
    store.append(3, LEASE, 0, OUT, b"goes on")
    store.close()
    store = _opened(folder)
    assert [_text(store, 1), _text(store, 3)] == [b"whole", b"goes on"]
    store.close()


@pytest.mark.parametrize("content", [b"", b"CYCOUT1", b"something else, and longer than a head is", bytes(24)])
def test_given_a_file_that_is_no_segment_then_it_goes(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True)
    path = folder / "00000007.output"
    path.write_bytes(content)
    store = _opened(folder)
    store.append(1, LEASE, 0, OUT, b"new")
    store.close()
    assert [path.name for path in _segments(folder)] == ["00000008.output"]


def test_given_damage_within_then_only_what_is_damaged_is_missing(folder: Path) -> None:
    store = _opened(folder)
    for at in range(3):
        store.append(1, LEASE, 4 * at, OUT, b"abc%d" % at)
        store.append(2, LEASE, 4 * at, OUT, b"----")
    store.close()
    _opened(folder).close()
    (path,) = _segments(folder)
    path.write_bytes(path.read_bytes().replace(b"abc1", b"abcX"))
    store = _opened(folder)
    found, rest = store.find(1, 0, 0, 100), store.find(1, 0, 4, 100)
    store.close()
    assert found and rest
    assert (found.offset, found.pieces) == (0, [(OUT, b"abc0")])
    assert (rest.offset, rest.pieces, rest.size) == (8, [(OUT, b"abc2")], 12)


def test_given_more_than_there_is_room_for_then_the_oldest_goes_and_is_counted(
    store: OutputStore, folder: Path
) -> None:
    _fill(store, 1, 300, 10_000)
    assert store.kept_bytes <= ROOM
    assert sum(path.stat().st_size for path in _segments(folder)) == store.kept_bytes
    assert store.dropped_bytes + store.kept_bytes >= 300 * 10_000
    assert _text(store, 1) is None
    assert _text(store, 300) == b"000300" + b"x" * 9_994


def test_given_the_beginning_of_an_output_that_has_gone_then_the_rest_is_told_from_where_it_begins(
    store: OutputStore,
) -> None:
    for at in range(0, 3_000_000, 50_000):
        store.append(1, LEASE, at, OUT, b"x" * 50_000)
        store.write()
    found = store.find(1, 0, 0, 1000)
    assert found
    assert found.offset >= 3_000_000 - ROOM
    assert (len(found.pieces[0][1]), found.size) == (1000, 3_000_000)


def test_given_very_many_small_ones_then_each_is_found_in_few_files(store: OutputStore, folder: Path) -> None:
    _fill(store, 1, 5_000, 12)
    assert len(_segments(folder)) < 20
    assert all(_text(store, task_id) == b"%06dxxxxxx" % task_id for task_id in (1, 1234, 4_999, 5_000))


def test_given_a_disk_that_is_full_then_it_is_counted_and_said_once_and_what_was_there_stays(
    store: OutputStore, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.append(1, LEASE, 0, OUT, b"before")
    store.write()
    size = _segments(folder)[0].stat().st_size
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 10:
            return write(descriptor, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for _ in range(2):
        store.append(2, LEASE, 0, OUT, b"lost")
        store.write()
    monkeypatch.undo()
    assert _segments(folder)[0].stat().st_size == size
    assert len(caplog.messages) == 1
    assert "No space left" in caplog.text
    assert store.dropped_bytes > 0
    store.append(3, LEASE, 0, OUT, b"after")
    assert [_text(store, task_id) for task_id in (1, 2, 3)] == [b"before", None, b"after"]


def test_given_a_folder_that_another_process_has_then_a_second_one_beside_it_is_taken(folder: Path) -> None:
    stores = [_opened(folder), _opened(folder)]
    for number, store in enumerate(stores):
        store.append(1, LEASE, 0, OUT, b"of %d" % number)
    assert [_text(store, 1) for store in stores] == [b"of 0", b"of 1"]
    for store in stores:
        store.close()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["c1", "c1-2"]


def test_given_the_folder_then_nobody_else_reads_it(store: OutputStore, folder: Path) -> None:
    store.append(1, LEASE, 0, OUT, b"secret")
    store.write()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_given_a_name_with_a_slash_then_it_stays_in_its_folder(tmp_path: Path) -> None:
    assert folder_of(tmp_path, "../a/b").parent == tmp_path / "output"
