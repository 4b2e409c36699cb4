"""The generator of migrations, killed at any moment: each path has exactly one outcome."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cyclone import BaseTask, TaskResult, values
from cyclone.errors import ConfigError
from cyclone.lustre import migration_book
from cyclone.lustre.migration_book import Ended
from task_generators import lustre_ost_migration
from tasks.lustre_migrate import LustreOstMigrateTask
from tests.support.generator_lives import Book, Life
from tests.support.migrations import Failing, FullSources, Moody, Unrecorded, lines, sections, value, write_input

PATHS = [(ost, f"/lustre/{ost}/{number}") for number in range(6) for ost in range(4)]


def live(
    seed: int,
    folder: Path,
    kills: list[int],
    make: type[FullSources] = Moody,
    value_of: Any = value,
    **migration: str,
) -> Book:
    """One life after the other, each killed after so many messages, the last one to its end."""
    book = Book(seed, value_of)
    Moody.rng = random.Random(seed)
    for kill_after in [*kills, None]:
        generator = make(sections(folder, busy_retry_delay="0s", update_fill_level="0s", **migration))
        try:
            if Life(book, generator, kill_after).run():
                return book
        finally:
            generator.input.close(keep=True)
    raise AssertionError("it never ended")


def moved(book: Book) -> Counter[str]:
    return Counter(values.decode(args)[0] for args in book.args)


def check_whole(book: Book, folder: Path) -> None:
    assert moved(book) == Counter(path for _, path in PATHS)
    assert book.summary is not None
    assert book.summary["success"] == len(PATHS)
    assert sorted(path.name for path in folder.glob("*.input*")) == ["a.input.done", "b.input.done"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_input(tmp_path, "a.input", lines(PATHS[:10]))
    write_input(tmp_path, "b.input", lines(PATHS[10:]))
    return tmp_path


def test_given_no_crash_then_each_path_is_moved_once_and_the_files_are_done(folder: Path) -> None:
    check_whole(live(1, folder, []), folder)


@pytest.mark.parametrize("seed", range(12))
def test_given_crash_after_crash_then_each_path_is_moved_once(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    check_whole(live(seed, folder, [rng.randint(0, 9) for _ in range(rng.randint(1, 6))]), folder)


def test_given_a_crash_after_any_message_then_each_path_is_moved_once(tmp_path: Path) -> None:
    for kill_after in range(0, 40, 3):
        folder = tmp_path / str(kill_after)
        folder.mkdir()
        write_input(folder, "a.input", lines(PATHS[:10]))
        write_input(folder, "b.input", lines(PATHS[10:]))
        check_whole(live(kill_after, folder, [kill_after]), folder)


def test_given_decisions_that_are_not_recorded_then_the_check_shows_it(tmp_path: Path) -> None:
    def fails(seed: int) -> bool:
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_input(folder, "a.input", lines(PATHS[:10]))
        write_input(folder, "b.input", lines(PATHS[10:]))
        rng = random.Random(seed)
        try:
            check_whole(live(seed, folder, [rng.randint(0, 9) for _ in range(4)], Unrecorded), folder)
        except AssertionError:
            return True
        return False

    assert any(fails(seed) for seed in range(20))


def generator_of(folder: Path, **migration: str) -> FullSources:
    return FullSources(sections(folder, **migration))


def test_given_files_in_use_then_they_are_tried_so_often_and_have_one_outcome_in_the_end(folder: Path) -> None:
    tries: Counter[str] = Counter()

    def outcome(properties: list[Any]) -> dict[str, Any]:
        path = properties[0]
        tries[path] += 1
        return value(properties, "FAILED", busy=True) if path.startswith("/lustre/1/") else value(properties)

    book = live(3, folder, [], value_of=outcome, busy_tries="3")
    expected = {path: 3 if path.startswith("/lustre/1/") else 1 for _, path in PATHS}
    assert moved(book) == expected
    assert book.summary is not None
    assert (book.summary["success"], book.summary["failed"]) == (18, 6)
    listed = (folder / "migration.failed").read_text().splitlines()
    assert sorted(listed) == sorted(f"1 {path}" for ost, path in PATHS if ost == 1)
    assert sorted(path.name for path in folder.glob("*.input*")) == ["a.input.done", "b.input.done"]


def test_given_sources_at_their_threshold_then_it_ends_and_their_paths_are_left(folder: Path) -> None:
    class Reached(FullSources):
        def __init__(self, config: Any, folder: Path = Path()) -> None:
            super().__init__(config, folder)
            self.shares[1] = self.shares[2] = 0.5

    book = live(4, folder, [], make=Reached)
    assert book.summary is not None
    assert (book.summary["success"], book.summary["left"]) == (12, 12)
    assert {path.split("/")[2] for path in moved(book)} == {"0", "3"}
    assert sorted(path.name for path in folder.glob("*.input*")) == ["a.input", "b.input"]


@pytest.mark.parametrize("busy", [False, True])
def test_given_targets_at_their_threshold_then_it_ends_and_says_what_is_left(folder: Path, busy: bool) -> None:
    class Filled(FullSources):
        def on_result(self, result: TaskResult) -> None:
            super().on_result(result)
            self.shares.update(dict.fromkeys(self.options.rules.targets, 0.81))

    def outcome(properties: list[Any]) -> dict[str, Any]:
        return value(properties, "FAILED", busy=True) if busy else value(properties)

    book = live(5, folder, [], make=Filled, value_of=outcome)
    assert book.summary is not None
    left = len(PATHS) - (0 if busy else book.summary["success"])
    assert left > 0
    assert book.summary["left"] == left


def test_given_a_pause_while_moves_are_handed_out_then_they_wait_without_having_been_tried(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Held(Moody):
        def on_result(self, result: TaskResult) -> None:
            super().on_result(result)
            assert self._paused or result.value["outcome"] == "SUCCESS", "it hands out what comes back at once"

    monkeypatch.setattr(lustre_ost_migration, "_PAUSE_LOOK_S", 0.0)
    rng = random.Random(1)

    def outcome(properties: list[Any]) -> dict[str, Any]:
        return value(properties, "PAUSED", busy=True) if rng.random() < 0.6 else value(properties)

    # A single try would be too few if one that did not begin were one.
    book = live(6, folder, [2, 5, 9], make=Held, value_of=outcome, busy_tries="1")
    assert set(moved(book)) == {path for _, path in PATHS}
    assert sum(moved(book).values()) > len(PATHS), "none was put off"
    assert book.summary is not None
    assert (book.summary["success"], book.summary["failed"]) == (len(PATHS), 0)


def test_given_a_pause_file_or_old_levels_then_nothing_is_decided(folder: Path) -> None:
    generator = generator_of(folder, fill_level_max_age="10s", update_fill_level="1h")
    generator.book.begin()
    generator._look_around(1.0)
    assert not generator._may_decide(1.0), "no level is known yet"
    generator._look_around(2.0)
    assert generator._may_decide(2.0)
    (folder / "pause").touch()
    generator._look_around(3.0)
    assert not generator._may_decide(3.0)
    (folder / "pause").unlink()
    generator._look_around(4.0)
    assert generator._may_decide(4.0)
    assert not generator._may_decide(13.0), "the answer is too old"
    generator.input.close(keep=True)


def test_given_lfs_that_fails_for_a_moment_then_the_levels_stay_and_that_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generator = generator_of(folder, update_fill_level="1s")
    generator.book.begin()
    for now in (1.0, 2.0):
        generator._look_around(now)
    generator._fill = Failing(generator.ask_levels)
    for now in (3.0, 4.0):
        generator._look_around(now)
    assert generator._may_decide(4.0)
    assert "the fill levels stay as they were: it does not answer" in caplog.text
    generator.input.close(keep=True)


def test_given_fids_then_their_task_finds_the_path_first(tmp_path: Path) -> None:
    class Real(FullSources):
        def task_class(self) -> type[BaseTask]:
            return LustreOstMigrateTask

    write_input(tmp_path, "a.input", b"0 [0x200000401:0x1:0x0]\n1 /lustre/a\n")
    generator = Real(sections(tmp_path, bandwidth="1MiB", skip="no"))
    generator.book.begin()
    for now in (1.0, 2.0, 3.0):
        generator._look_around(now)
    generator.book.decide(3.0, 9)
    by_fid, by_path = generator._batch()
    assert isinstance(by_fid, LustreOstMigrateTask)
    assert isinstance(by_path, LustreOstMigrateTask)
    assert (by_fid.filename, by_fid.fs_path) == ("[0x200000401:0x1:0x0]", "/lustre")
    assert (by_path.filename, by_path.fs_path) == ("/lustre/a", "")
    for task in (by_fid, by_path):
        assert task.pause_file == str(tmp_path / "pause")
        assert (task.bandwidth_bytes, task.skip, task.lfs_bin) == (1 << 20, False, "lfs")
    generator.input.close(keep=True)


def test_given_a_task_file_then_its_task_is_made(folder: Path) -> None:
    (folder / "tasks.xml").write_text(
        '<tasks><task name="try"><class module="tasks.empty" name="EmptyTask"/></task>'
        '<task name="move"><class module="tasks.lustre_migrate" name="LustreOstMigrateTask"/>'
        "<property><direct_io>False</direct_io><block>True</block></property></task></tasks>"
    )
    generator = generator_of(folder, task_file=str(folder / "tasks.xml"), task_name="move")
    generator.book.begin()
    for now in (1.0, 2.0):
        generator._look_around(now)
    generator.book.decide(3.0, 1)
    (task,) = generator._batch()
    assert isinstance(task, LustreOstMigrateTask)
    assert (task.direct_io, task.block, task.skip) == (False, True, True)
    generator.input.close(keep=True)
    with pytest.raises(ConfigError, match="has try, move"):
        generator_of(folder, task_file=str(folder / "tasks.xml"), task_name="none")


def test_given_many_streams_then_the_cursor_stays_small(tmp_path: Path) -> None:
    write_input(tmp_path, "a.input", lines((n % 100, f"/lustre/{n}") for n in range(1000)))
    generator = generator_of(tmp_path, ost_targets="50-99", streams_per_target="2", num_osts="100")
    generator.book.begin()
    for now in (1.0, 2.0, 3.0):
        generator._look_around(now)
    generator.book.decide(3.0, 1000)
    # 17 bytes for each move, under way and in the batch, 10 for each source.
    assert len(generator.book.batch) == 50
    assert len(values.encode(generator.cursor())) < 2 * 17 * 50 + 10 * 100 + 200
    generator.input.close(keep=True)


def test_given_more_files_in_use_than_may_wait_then_the_first_is_tried_before_its_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration_book, "RETRIES_MAX", 3)
    generator = generator_of(folder, busy_retry_delay="1h")
    generator.book.begin()
    for now in (1.0, 2.0, 3.0):
        generator._look_around(now)
    tried: list[str] = []
    for _ in range(20):
        generator.book.decide(3.0, 1)
        move = generator.book.batch.popleft()
        tried.append(move.path)
        generator.book.finish(move.key, Ended("FAILED", busy=True), 3.0)
        # After a crash they wait as before.
        generator.input.close(keep=True)
        cursor, generator = generator.book.cursor(3.0), generator_of(folder, busy_retry_delay="1h")
        generator.book.resume(values.decode(values.encode(cursor)), 3.0)
        for now in (1.0, 2.0):
            generator._look_around(now)
        # Beyond those that wait for their time, a source has one that is due and may have another one before it.
        assert generator.book.retrying <= 3 + 2 * 4
    times = Counter(tried)
    assert max(times.values()) == generator.options.busy_tries
    assert generator.book.tally.failed == sum(count == generator.options.busy_tries for count in times.values())
    generator.input.close(keep=True)
