"""Input files and their index: found, read in order, renamed when done, the same after any crash."""

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclone.errors import ConfigError, CycloneError
from cyclone.lustre import input_file, input_folder
from cyclone.lustre.input_folder import InputFolder, is_at_work
from cyclone.lustre.migration_input import BadRecord
from cyclone.lustre.path_index import FileIndex
from tests.support.migrations import LONG_AGO, lines, write_input

RUN = "1"
Folders = list[InputFolder]


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_file, "_SEGMENT_MIN_BYTES", 64)
    monkeypatch.setattr(input_file, "_SEGMENT_MAX_BYTES", 128)
    monkeypatch.setattr(input_file, "RECORD_BYTES_MAX", 40)


@pytest.fixture
def opened() -> Iterator[Folders]:
    folders: Folders = []
    yield folders
    for folder in folders:
        folder.close(keep=True)


def start(path: Path, opened: Folders, taken: dict[int, int] | None = None) -> InputFolder:
    """A first start, or one that goes on; whoever was there before is gone."""
    while opened:
        opened.pop().close(keep=True)
    folder = InputFolder(path, path / "state", "/lustre")
    opened.append(folder)
    if taken is None:
        folder.begin(RUN)
        folder.look()
    else:
        folder.resume(RUN, taken)
        folder.recall([])
    return folder


def index_all(folder: InputFolder) -> None:
    while folder.indexing:
        folder.index(1)


def take_all(folder: InputFolder, ost: int) -> list[str]:
    found = []
    while folder.queues.first(ost) is not None:
        found.append(folder.entry(folder.queues.take(ost)).path)
    return found


def paths(ost: int, count: int) -> list[tuple[int, str]]:
    return [(ost, f"/lustre/{ost}/{number}") for number in range(count)]


def test_given_files_then_each_source_has_its_paths_in_their_order(tmp_path: Path, opened: Folders) -> None:
    rows = [*paths(0, 20), *paths(1, 5)]
    random.Random(1).shuffle(rows)
    write_input(tmp_path, "b.input", lines(rows[:15]))
    write_input(tmp_path, "c.input", lines(rows[15:]))
    write_input(tmp_path, "a.txt", lines(paths(7, 3)))
    folder = start(tmp_path, opened)
    assert [file.name for file in folder.files] == ["b.input", "c.input"]
    index_all(folder)
    assert folder.queues.sources() == {0: 20, 1: 5}
    assert [take_all(folder, ost) for ost in (0, 1)] == [[p for o, p in rows if o == ost] for ost in (0, 1)]
    assert (folder.queues.waiting, folder.queues.taken(), folder.paths) == (0, {0: 20, 1: 5}, 25)


def test_given_a_crash_at_any_time_then_it_goes_on_where_it_was(tmp_path: Path, opened: Folders) -> None:
    rows = [row for number in range(12) for row in ((0, f"/lustre/0/{number}"), (1, f"/lustre/1/{number}"))]
    write_input(tmp_path, "a.input", lines(rows))
    folder = start(tmp_path, opened)
    found: dict[int, list[str]] = {0: [], 1: []}
    rng = random.Random(2)
    for _ in range(60):
        step = rng.randint(0, 3)
        if step == 0:
            folder = start(tmp_path, opened, folder.queues.taken())
        elif step == 1:
            folder.index(1)
        elif folder.queues.first(step - 2) is not None:
            found[step - 2].append(folder.entry(folder.queues.take(step - 2)).path)
    index_all(folder)
    for ost in (0, 1):
        assert found[ost] + take_all(folder, ost) == [path for row, path in rows if row == ost]


def test_given_bad_records_then_they_are_counted_and_kept_and_a_crash_keeps_none_twice(
    tmp_path: Path, opened: Folders
) -> None:
    text = b"nonsense\n" + lines(paths(0, 9)) + b"\n" + b"1 /elsewhere\n" + b"0 /lustre/" + b"x" * 60 + b"\nlast"
    write_input(tmp_path, "a.input", text)
    folder = start(tmp_path, opened)
    folder.index(1)
    kept = tmp_path / "a.input.bad"
    with kept.open("ab") as file:
        file.write(b"written, and then the power went")
    folder = start(tmp_path, opened, {})
    index_all(folder)
    assert folder.bad == 4
    assert kept.read_bytes() == b"nonsense\n1 /elsewhere\n0 /lustre/" + b"x" * 60 + b"\nlast\n"
    assert len(take_all(folder, 0)) == 9


def test_given_a_path_that_is_longer_than_what_is_read_at_once_then_it_is_read_whole(
    tmp_path: Path, opened: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_file, "_READ_BYTES", 8)
    write_input(tmp_path, "a.input", b"0 /lustre/a path of 30 bytes\n1 /lustre/b")
    folder = start(tmp_path, opened)
    index_all(folder)
    assert [take_all(folder, ost) for ost in (0, 1)] == [["/lustre/a path of 30 bytes"], ["/lustre/b"]]


def test_given_a_record_that_is_too_long_then_its_end_is_no_record_either(tmp_path: Path, opened: Folders) -> None:
    # As much as is read at once, so that the next piece begins with what looks like a line.
    write_input(tmp_path, "a.input", b"x" * 80 + b"0 /lustre/none\n0 /lustre/a\n")
    folder = start(tmp_path, opened)
    index_all(folder)
    assert take_all(folder, 0) == ["/lustre/a"]


def test_given_outcomes_then_a_file_is_renamed_with_its_last_one(tmp_path: Path, opened: Folders) -> None:
    write_input(tmp_path, "a.input", lines(paths(0, 2)))
    write_input(tmp_path, "a.input.done", b"of another day")
    folder = start(tmp_path, opened)
    index_all(folder)
    places = [folder.queues.take(0) for _ in range(2)]
    folder.settled(places[0])
    assert (tmp_path / "a.input").exists()
    folder.settled(places[1])
    assert sorted(path.name for path in tmp_path.glob("a*")) == ["a.input.done", "a.input.done-2"]
    # A state of before the end finds the file under its new name.
    folder = start(tmp_path, opened, {0: 1})
    assert take_all(folder, 0) == ["/lustre/0/1"]
    folder.recall([places[1]])
    assert sorted(path.name for path in tmp_path.glob("*.input*")) == ["a.input.done", "a.input.done-2"]


def test_given_a_file_that_is_young_then_it_is_left_until_it_has_settled(tmp_path: Path, opened: Folders) -> None:
    folder = start(tmp_path, opened)
    path = tmp_path / "a.input"
    path.write_bytes(lines(paths(0, 1)))
    assert folder.look() == 0
    assert folder.unsettled()
    write_input(tmp_path, "a.input", lines(paths(0, 2)))
    assert folder.look() == 1
    assert not folder.unsettled()
    assert folder.look() == 0


def test_given_an_empty_file_then_it_is_left_to_whoever_is_about_to_write_it(tmp_path: Path, opened: Folders) -> None:
    empty = write_input(tmp_path, "a.input", b"")
    folder = start(tmp_path, opened)
    assert folder.files == []
    assert not folder.unsettled()
    assert empty.exists()
    write_input(tmp_path, "a.input", lines(paths(0, 1)))
    assert folder.unsettled()
    assert folder.look() == 1


@pytest.mark.parametrize(
    ("before", "added", "again"),
    [
        (b"0 /lustre/a\n", b"0 /lustre/b\n", ["/lustre/b"]),
        (b"0 /lustre/a", b"\n0 /lustre/b", ["/lustre/b"]),
        (b"0 /lustre/a\n0 /lustre/b", b"c\n0 /lustre/d\n", ["/lustre/bc", "/lustre/d"]),
    ],
)
def test_given_a_file_that_grows_after_it_was_taken_in_then_what_is_added_is_taken_in_too(
    tmp_path: Path, opened: Folders, before: bytes, added: bytes, again: list[str]
) -> None:
    write_input(tmp_path, "a.input", before)
    folder = start(tmp_path, opened)
    index_all(folder)
    first = len(take_all(folder, 0))
    with (tmp_path / "a.input").open("ab") as file:
        file.write(added)
    # It is done, and is not said to be; also for a generator that begins again now.
    for _ in range(2):
        folder = start(tmp_path, opened, {0: first})
        assert (tmp_path / "a.input").exists()
        assert folder.unsettled()
    assert folder.look() == 0, "it has not settled"
    os.utime(tmp_path / "a.input", (LONG_AGO, LONG_AGO))
    assert (folder.look(), folder.look()) == (1, 0)
    index_all(folder)
    # A crash now: the list knows both parts.
    folder = start(tmp_path, opened, {0: first})
    places = []
    while folder.queues.first(0) is not None:
        places.append(folder.queues.take(0))
    assert [folder.entry(place).path for place in places] == again
    for place in places:
        assert (tmp_path / "a.input").exists()
        folder.settled(place)
    assert [path.name for path in tmp_path.glob("a.input*")] == ["a.input.done"]
    assert not folder.unsettled()


def test_given_a_second_file_of_a_name_then_the_bad_records_of_the_first_are_kept(
    tmp_path: Path, opened: Folders
) -> None:
    write_input(tmp_path, "a.input", b"one\n")
    folder = start(tmp_path, opened)
    index_all(folder)
    write_input(tmp_path, "a.input", b"two\n")
    assert folder.look() == 1
    index_all(folder)
    assert (tmp_path / "a.input.bad").read_bytes() == b"one\n"
    assert (tmp_path / "a.input.bad-2").read_bytes() == b"two\n"


def test_given_no_room_for_the_index_then_that_is_said_and_nothing_is_lost(
    tmp_path: Path, opened: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_input(tmp_path, "a.input", lines(paths(0, 20)))
    folder = start(tmp_path, opened)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(CycloneError, match="a.input cannot be indexed in .*: No space left on device"):
            index_all(folder)
    folder = start(tmp_path, opened, {})
    index_all(folder)
    assert take_all(folder, 0) == [path for _, path in paths(0, 20)]


def test_given_a_header_that_makes_no_sense_then_the_file_is_refused_once(
    tmp_path: Path, opened: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    write_input(tmp_path, "a.input", b"ost,size\n1,2\n")
    folder = start(tmp_path, opened)
    folder.look()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert not folder.unsettled()


def test_given_an_input_that_was_changed_then_that_is_told(tmp_path: Path, opened: Folders) -> None:
    write_input(tmp_path, "a.input", lines(paths(0, 4)))
    folder = start(tmp_path, opened)
    index_all(folder)
    with (tmp_path / "a.input").open("r+b") as file:
        file.write(b"?")
    with pytest.raises(BadRecord):
        folder.entry(folder.queues.take(0))
    folder = start(tmp_path, opened, {})
    (tmp_path / "a.input").unlink()
    with pytest.raises(CycloneError, match="put it back"):
        folder.entry(folder.queues.take(0))


def test_given_two_migrations_on_one_folder_then_the_second_is_refused(
    tmp_path: Path, opened: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_folder, "LOCK_WAIT_S", 0.0)
    assert not is_at_work(tmp_path / "state")
    start(tmp_path, opened)
    with pytest.raises(ConfigError, match="another migration is at work"):
        InputFolder(tmp_path, tmp_path / "state", "/lustre").begin("2")
    assert is_at_work(tmp_path / "state")
    opened.pop().close(keep=True)
    assert not is_at_work(tmp_path / "state")


def test_given_a_state_of_another_run_then_what_needs_its_own_is_refused(tmp_path: Path, opened: Folders) -> None:
    start(tmp_path, opened)
    opened.pop().close(keep=True)
    other = InputFolder(tmp_path, tmp_path / "state", "/lustre")
    with pytest.raises(ConfigError, match="holds no state of this run"):
        other.resume("2", {0: 1})
    other.close(keep=True)
    # Nothing was taken yet: there is nothing to lose.
    other = InputFolder(tmp_path, tmp_path / "state", "/lustre")
    other.resume("2", {})
    other.close(keep=True)


@pytest.mark.parametrize("cut", [1, 7, 8, 30, 60])
def test_given_a_torn_segment_then_it_is_cut_off_and_those_before_it_stay(tmp_path: Path, cut: int) -> None:
    from array import array

    path = tmp_path / "0.index"
    index = FileIndex(path)
    assert list(index.recover()) == []
    first = index.append(10, {3: array("Q", [0, 5])}, 0, 0)
    size = path.stat().st_size
    index.append(99, {3: array("Q", [10]), 4: array("Q", [20, 30])}, 2, 7)
    index.close()
    os.truncate(path, path.stat().st_size - min(cut, path.stat().st_size - size))
    index = FileIndex(path)
    assert list(index.recover()) == [first]
    assert (index.input_end, index.paths, index.bad, path.stat().st_size) == (10, 2, 0, size)
    assert list(index.offsets(first[0].position, 2)) == [0, 5]
    index.close()


def test_given_a_segment_whose_offsets_were_damaged_then_it_is_cut_off(tmp_path: Path) -> None:
    from array import array

    path = tmp_path / "0.index"
    index = FileIndex(path)
    index.append(10, {3: array("Q", [1, 2])}, 0, 0)
    index.close()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    index = FileIndex(path)
    assert list(index.recover()) == []
    index.close()
