"""DirectoryTaskGenerator against real trees, os.walk and the bytes on disk."""

import hashlib
import itertools
import logging
import os
import socket
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclone import BaseTask, values
from cyclone.errors import ConfigError
from task_generators.directory import DirectoryTaskGenerator
from tests.support.drive import drive
from tests.support.generator_lives import Book, live

ABC = hashlib.sha256(b"abc").hexdigest()


def generator(path: Path | str, folder: Path = Path(), **options: str) -> DirectoryTaskGenerator:
    return DirectoryTaskGenerator({"directory": {"path": str(path), **options}}, folder)


def paths(directory: DirectoryTaskGenerator) -> list[str]:
    return [vars(task)["path"] for task in directory.generate()]


def write(path: Path, content: bytes = b"abc") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_given_a_tree_then_each_file_is_summed_once(tmp_path: Path) -> None:
    for name in ("b", "a/d", "a/c/e", "z/y/x/w"):
        write(tmp_path / name)
    (tmp_path / "empty").mkdir()
    directory = generator(tmp_path)

    results = drive(directory)

    assert sorted(result.args[0] for result in results) == sorted(
        os.path.join(root, name)  # noqa: PTH118
        for root, _, names in os.walk(tmp_path)
        for name in names
    )
    assert [result.value for result in results] == [{"sha256": ABC, "bytes": 3}] * 4
    assert directory.summary() == {"files": 4, "bytes": 12, "unreadable_folders": 0}


def test_given_a_tree_then_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a/3", "c", "B", "a/x/0"):
        write(tmp_path / name)

    assert paths(generator(tmp_path)) == [str(tmp_path / name) for name in ("B", "c", "a/3", "a/x/0", "b/1", "b/2")]


TREE = ("B", "c", "a/3", "a/x/0", "a/x/y/1", "a/z/1", "aa/1", "b/1", "b/2")


def after(tree: Path, count: int) -> DirectoryTaskGenerator:
    """A generator that goes on from the cursor of one that has yielded so many."""
    first = generator(tree)
    assert len(list(itertools.islice(first.generate(), count))) == count
    second = generator(tree)
    second.resume(values.decode(values.encode(first.cursor())))
    return second


def test_given_a_cursor_then_what_follows_goes_on_behind_that_file(tmp_path: Path) -> None:
    for name in (*TREE, os.fsdecode(b"a/x/caf\xe9")):
        write(tmp_path / name)
    whole = paths(generator(tmp_path))

    for count in range(len(whole) + 1):
        assert paths(after(tmp_path, count)) == whole[count:]


def test_given_files_and_folders_that_come_and_go_after_the_cursor_then_the_others_are_found_once(
    tmp_path: Path,
) -> None:
    for name in TREE:
        write(tmp_path / name)
    generator_after = after(tmp_path, 4)
    (tmp_path / "a/x/0").unlink()
    write(tmp_path / "A")
    write(tmp_path / "a/x/00")
    (tmp_path / "aa/1").unlink()
    (tmp_path / "aa").rmdir()

    expected = ("a/x/00", "a/x/y/1", "a/z/1", "b/1", "b/2")
    assert paths(generator_after) == [str(tmp_path / name) for name in expected]


def test_given_a_crash_at_any_time_then_each_file_is_summed_once_and_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in TREE:
        write(tmp_path / name)
    (tmp_path / "zz").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> object:
        if path.endswith("/zz"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    for kill_after in range(16):
        book = live(
            Book(kill_after, value_of=lambda _: {"bytes": 3}), lambda: generator(tmp_path), [kill_after, kill_after]
        )

        assert book.tasks() == [str(tmp_path / name) for name in TREE]
        assert book.summary == {"files": 9, "bytes": 27, "unreadable_folders": 1}


def test_given_what_is_no_regular_file_then_it_is_skipped(tmp_path: Path) -> None:
    write(tmp_path / "file")
    write(tmp_path / "folder" / "inner")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "folder" / "up").symlink_to("..")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        previous = Path.cwd()
        os.chdir(tmp_path)
        listener.bind("socket")
        os.chdir(previous)

    assert paths(generator(tmp_path)) == [str(tmp_path / "file"), str(tmp_path / "folder" / "inner")]


def test_given_a_top_that_is_a_symbolic_link_then_it_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "real" / "file")
    (tmp_path / "link").symlink_to("real")

    assert paths(generator(tmp_path / "link")) == [str(tmp_path / "link" / "file")]


def test_given_names_that_are_not_utf_8_or_hold_newlines_then_their_files_are_read(tmp_path: Path) -> None:
    top = os.fsencode(tmp_path / "top")
    os.makedirs(os.path.join(top, b"d\xff"))  # noqa: PTH103, PTH118
    for name in (b"caf\xe9", b"a\nb", b"d\xff/\xfe"):
        with open(os.path.join(top, name), "wb") as file:  # noqa: PTH118
            file.write(b"abc")
    directory = generator(tmp_path / "top")

    results = drive(directory)

    assert [result.value for result in results] == [{"sha256": ABC, "bytes": 3}] * 3
    assert {os.fsencode(result.args[0]).removeprefix(top) for result in results} == {
        b"/caf\xe9",
        b"/a\nb",
        b"/d\xff/\xfe",
    }


def test_given_a_folder_that_cannot_be_read_then_it_is_logged_and_the_rest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "closed" / "file")
    write(tmp_path / "open" / "file")
    scandir = os.scandir

    def refusing(path: str) -> object:
        # Root may read everything, so the refusal cannot come from the file's mode.
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    directory = generator(tmp_path)

    with caplog.at_level(logging.WARNING, "cyclone.generator"):
        assert paths(directory) == [str(tmp_path / "open" / "file")]

    assert caplog.messages == [f"folder '{tmp_path}/closed' is skipped: Permission denied"]
    assert directory.summary()["unreadable_folders"] == 1


def test_given_a_large_tree_then_it_is_walked_only_as_far_as_it_is_pulled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1", "b/1", "c/1"):
        write(tmp_path / name)
    seen: list[str] = []
    scandir = os.scandir

    def noting(path: str) -> object:
        seen.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noting)

    assert len(list(itertools.islice(generator(tmp_path).generate(), 1))) == 1

    assert seen == [str(tmp_path), str(tmp_path / "a")]


class Vanishing(DirectoryTaskGenerator):
    """Somebody removes the first file when all have been found, before its task runs."""

    def generate(self) -> Iterator[BaseTask]:
        yield from super().generate()
        (self.path / "a").unlink()


def test_given_a_file_that_vanishes_then_its_task_fails_and_is_not_counted(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    directory = Vanishing({"directory": {"path": str(tmp_path)}})

    results = drive(directory, batch=3)

    assert [result.state for result in results] == ["failed", "completed"]
    assert directory.summary() == {"files": 1, "bytes": 3, "unreadable_folders": 0}


def test_given_a_task_class_then_it_is_made_for_each_file(tmp_path: Path) -> None:
    write(tmp_path / "a")
    directory = generator(tmp_path, task="tests.support.sample_tasks:PlainTask")

    (result,) = drive(directory)

    assert result.value == [str(tmp_path / "a"), "default"]
    assert directory.summary() == {"files": 1, "bytes": 0, "unreadable_folders": 0}


def test_given_no_path_then_it_is_the_standard_librarys() -> None:
    first = next(generator("").generate())

    assert Path(vars(first)["path"]).parent == Path(sysconfig.get_path("stdlib"))


def test_given_a_relative_path_then_it_is_relative_to_the_configuration_file(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a")

    assert paths(generator("data", tmp_path)) == [str(tmp_path / "data" / "a")]


def test_given_a_bad_option_then_section_and_key_are_named(tmp_path: Path) -> None:
    write(tmp_path / "file")

    with pytest.raises(ConfigError, match=r"\[directory\] path = /no/such: there is no /no/such"):
        generator("/no/such")
    with pytest.raises(ConfigError, match=rf"\[directory\] path = {tmp_path}/file: expected a folder"):
        generator(tmp_path / "file")
    with pytest.raises(ConfigError, match=r"\[directory\] task = nowhere:Task: no module 'nowhere'"):
        generator(tmp_path, task="nowhere:Task")
