"""LustreOstMigrationTaskGenerator: moves files from full OSTs of a Lustre file system to others, by ``lfs migrate``.

It reads which files lie on which OST from ``*.input`` files, watches the fill levels, and hands out a move wherever a
source above its threshold and a target below its own have a stream free. Configuration/lustre_ost_migration.conf has
every option; docs/lustre.md has the whole story.

A crash loses nothing: what is decided goes into the cursor, ``wait(0)`` has the cursor taken, and only then are these
very tasks yielded. What happened to a file is decided by its task's value, see ``tasks/lustre_migrate.py``; a task that
fails tells of its node, and the file is tried again later as one in use is.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclone import BaseTask, BaseTaskGenerator, TaskResult
from cyclone.errors import ConfigError
from cyclone.generator import Config
from cyclone.lustre.failed_list import FailedList
from cyclone.lustre.fill_levels import FillLevels, ask, levels
from cyclone.lustre.input_folder import InputFolder
from cyclone.lustre.lfs import Target
from cyclone.lustre.migration_book import OUTCOMES, Ended, Key, MigrationBook, Move
from cyclone.lustre.migration_forecast import look_ahead
from cyclone.lustre.migration_forecast_text import lines
from cyclone.lustre.migration_input import is_fid
from cyclone.lustre.migration_options import MigrationOptions, read_options
from cyclone.lustre.migration_plan import MigrationPlan, Ost
from cyclone.lustre.migration_status import (
    ENDED,
    NO_LEVELS,
    PAUSED,
    RUNNING,
    MigrationStatus,
    OstStatus,
    Rates,
    write_status,
)
from cyclone.plugins import class_path
from cyclone.task import property_names
from cyclone.taskfile import TaskTemplate, read_task_file
from tasks.lustre_migrate import PAUSED as TASK_PAUSED
from tasks.lustre_migrate import LustreOstMigrateTask

# Moves that are decided at once: one record of the cursor stands for so many.
_BATCH_MAX = 512
_INDEX_BYTES = 256 << 10
_PAUSE_LOOK_S = 0.2
_UNSETTLED_LOOK_S = 1.0
# A stream that has come free waits for its next file about this part of what a file takes, or of what it waits for a
# worker anyway, within bounds: each decision costs a record of the cursor.
_STREAM_IDLE_SHARE, _QUEUED_SHARE = 0.01, 0.05
_WAIT_MIN_S, _WAIT_MAX_S = 0.001, 0.1
_WAIT_INDEXING_S = 0.0005
_SMOOTHING = 0.05
# Where nothing new is decided a cursor is still taken now and then, so that the journal may forget results.
_CURSOR_S = 5.0
_RESULTS_MAX = 4096
# What the task of a move is given by name; all else is its file's or the configuration's.
_GIVEN = ("filename", "source_ost", "target_ost")
_CONFIGURED = ("direct_io", "block", "skip", "bandwidth_bytes", "lfs_bin", "sudo", "timeout_s")


class PretendMigrateTask(BaseTask):
    """Moves nothing, and says that it has: for ``local_mode``."""

    def __init__(self, filename: str, source_ost: int, target_ost: int) -> None:
        self.filename = filename
        self.source_ost = source_ost
        self.target_ost = target_ost

    def execute(self) -> dict[str, Any]:
        where = {"source": self.source_ost, "target": self.target_ost, "landed": [self.target_ost]}
        return {"path": self.filename, "outcome": "SUCCESS", "bytes": 0, "seconds": 0.0, **where}


class LustreOstMigrationTaskGenerator(BaseTaskGenerator):
    """See the module."""

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.options = options = read_options(self)
        self.plan = MigrationPlan(options.rules)
        self.input = InputFolder(options.input_dir, options.state_dir, options.task.fs_path, options.columns)
        failed = FailedList(options.failed_file)
        self.book = MigrationBook(
            uuid.uuid4().hex, self.plan, self.input, failed, options.busy_delay_s, options.busy_tries
        )
        self._tasks = _TaskMaker(options, self.task_class())
        self._fill = FillLevels(self.ask_levels)
        self._rates = Rates()
        self._resumed = False
        # The summary, when all is done.
        self._final: dict[str, Any] = {}
        # A cursor is due: before the first task, and with each batch of decisions.
        self._decided = True
        self._results = 0
        self._cursor_at = self._look_at = self._ask_at = self._status_at = self._pause_look_at = 0.0
        self._levels_at: float | None = None
        self._state = ""
        self._paused = False
        # Of a move: what its task takes, and all else until its result is here.
        self._task_s = self._else_s = 0.0

    # What a test or a benchmark without a Lustre may override.

    def task_class(self) -> type[BaseTask]:
        """The class of tasks where no task file names one."""
        return PretendMigrateTask if self.options.local_osts else LustreOstMigrateTask

    def ask_levels(self) -> list[Target]:
        """The fill levels, asked in a thread of its own. Raises LfsError."""
        return ask(self.options)

    # The generator.

    @classmethod
    def dry_run(cls, config: Config, folder: Path) -> list[str]:
        return lines(look_ahead(read_options(BaseTaskGenerator(config, folder))))

    def generate(self) -> Iterator[BaseTask]:
        if not self._resumed:
            self.book.begin()
        # What was decided before a crash comes first: some of it was yielded, and is passed over by count.
        yield from self._batch()
        while not self._final:
            now = time.monotonic()
            self._look_around(now)
            if self._may_decide(now):
                self.book.decide(now, _BATCH_MAX)
            if self.book.batch:
                self._decided = True
                self.wait(0)
                yield from self._batch()
            elif self.options.ends and self._is_over(now):
                self._write_status(now, ENDED)
                self._final = self._summary()
                self._decided = True
            else:
                self.wait(self._wait_s(now))

    def on_result(self, result: TaskResult) -> None:
        self._results += 1
        now = time.monotonic()
        ended = self._outcome(result)
        if not ended.begun:
            # Whoever sees the pause first: what is handed out now would come back at once.
            self._paused, self._pause_look_at = True, now + _PAUSE_LOOK_S
        move = self.book.finish(self._tasks.key_of(result), ended, now)
        if move is None:
            self.log.error("task %d: a result of a move that is not under way: %s", result.task_id, result.args)
            return
        self._task_s += _SMOOTHING * (result.seconds - self._task_s)
        if move.decided_at:
            self._else_s += _SMOOTHING * (max(0.0, now - move.decided_at - result.seconds) - self._else_s)

    def cursor(self) -> Any:
        now = time.monotonic()
        is_due = self._results >= _RESULTS_MAX or (self._results and now >= self._cursor_at)
        if not (self._decided or is_due):
            # The one before stays, and results since then are told again.
            return None
        self._decided = False
        self._results = 0
        self._cursor_at = now + _CURSOR_S
        return [self._final, self.book.cursor(now)]

    def resume(self, cursor: Any) -> None:
        self._final, book = cursor
        self._resumed = True
        self._decided = False
        if not self._final:
            self.book.resume(book, time.monotonic())

    def summary(self) -> Mapping[str, Any]:
        # That it is over is recorded by now: what a resumed run would have needed can go.
        self.input.close(keep=not self._final)
        return self._final or self._summary()

    def _summary(self) -> dict[str, Any]:
        tally = self.book.tally
        outcomes = {name.lower(): getattr(tally, name.lower()) for name in OUTCOMES}
        waiting = self.input.queues.waiting + self.book.retrying
        left = {"left": waiting} if waiting else {}
        return {**outcomes, "bytes": tally.moved_bytes, "bad_records": self.input.bad, **left}

    def _batch(self) -> Iterator[BaseTask]:
        batch = self.book.batch
        while batch:
            yield self._tasks.make(batch.popleft())

    def _outcome(self, result: TaskResult) -> Ended:
        """What a task's result says of its file."""
        if not result.ok:
            error = result.error
            assert error
            self.log.warning("%s: %s: %s: %s", result.args[0], result.state, error.type, error.message)
            return Ended("FAILED", seconds=result.seconds, busy=result.state == "failed")
        value = result.value
        if isinstance(value, dict) and value.get("outcome") == TASK_PAUSED:
            return Ended("", begun=False)
        if not isinstance(value, dict) or value.get("outcome") not in OUTCOMES:
            return Ended("SUCCESS", seconds=result.seconds)
        outcome, moved_bytes, target = value["outcome"], int(value.get("bytes", 0)), value.get("target")
        landed = value.get("landed", ())
        left_bytes = moved_bytes if value.get("source") not in landed else 0
        arrived = outcome == "SUCCESS" or target in landed
        busy = outcome == "FAILED" and bool(value.get("busy"))
        return Ended(outcome, left_bytes, moved_bytes if arrived else 0, result.seconds, busy)

    # Looking around.

    def _look_around(self, now: float) -> None:
        """What time brings: each thing when it is due."""
        if now >= self._pause_look_at:
            self._pause_look_at = now + _PAUSE_LOOK_S
            self._paused = self.options.pause_file.exists()
        self._update_levels(now)
        if now >= self._look_at:
            self.input.look()
            self._look_at = now + (_UNSETTLED_LOOK_S if self.input.unsettled() else self.options.reload_files_s)
        if self.input.indexing:
            self.book.index(_INDEX_BYTES)
        if now >= self._status_at:
            self._status_at = now + self.options.status_s
            self._write_status(now, self._state or NO_LEVELS)

    def _update_levels(self, now: float) -> None:
        answer = self._fill.take()
        if isinstance(answer, list):
            self.plan.set_levels(levels(answer))
            self._levels_at = now
        elif answer is not None:
            self.log.warning("the fill levels stay as they were: %s", answer)
        if now >= self._ask_at and not self._fill.asking:
            self._ask_at = now + self.options.update_fill_level_s
            self.plan.levels_asked()
            self._fill.ask()

    def _may_decide(self, now: float) -> bool:
        """Whether new moves may begin; says so when that changes."""
        state, reason = RUNNING, ""
        if self._paused:
            state, reason = PAUSED, f": {self.options.pause_file} is there"
        elif not self._knows_levels(now):
            state = NO_LEVELS
        elif lacking := self.plan.lacking:
            state = f"waiting for {lacking}"
            reason = f": paths wait, and none of their {lacking} may work, by its fill level or its condition"
        if state != self._state:
            self.log.info("the migration is %s%s", state, reason)
            self._state, self._status_at = state, now
        return state not in (PAUSED, NO_LEVELS)

    def _knows_levels(self, now: float) -> bool:
        return self._levels_at is not None and now - self._levels_at <= self.options.fill_level_max_age_s

    def _wait_s(self, now: float) -> float:
        """How long nothing needs to be done but to take in results."""
        if self.input.indexing:
            return _WAIT_INDEXING_S
        due = [self._look_at, self._status_at, self._pause_look_at]
        due += [] if self._fill.asking else [self._ask_at]
        due += [self.book.next_retry_at] if self.book.next_retry_at is not None else []
        wait_s = max(_WAIT_MIN_S, min(due) - now)
        if self.book.under_way or self._fill.asking:
            idle_s = max(_STREAM_IDLE_SHARE * self._task_s, _QUEUED_SHARE * self._else_s)
            wait_s = min(wait_s, max(_WAIT_MIN_S, min(_WAIT_MAX_S, idle_s)))
        return wait_s

    def _is_over(self, now: float) -> bool:
        """Whether nothing is under way, and nothing is left but paths that stay where they are as levels are."""
        if self.book.under_way or self.input.indexing or not self._knows_levels(now) or self.input.unsettled():
            return False
        return all(self.plan.is_through(source) for source in self.book.waiting_sources())

    # Telling.

    def _write_status(self, now: float, state: str) -> None:
        book, folder, tally = self.book, self.input, self.book.tally
        files_per_s, bytes_per_s = self._rates.note(now, tally.ended, tally.moved_bytes)
        unindexed_bytes = folder.unindexed_bytes
        left = folder.queues.waiting + book.retrying + book.under_way
        waiting = folder.queues.sources()
        status = MigrationStatus(
            state=state,
            files=len(folder.files),
            waiting=folder.queues.waiting,
            under_way=book.under_way,
            retrying=book.retrying,
            outcomes={name: getattr(tally, name.lower()) for name in OUTCOMES},
            moved_bytes=tally.moved_bytes,
            bad_records=folder.bad,
            unindexed_bytes=unindexed_bytes,
            files_per_s=files_per_s,
            bytes_per_s=bytes_per_s,
            left_s=left / files_per_s if files_per_s and not unindexed_bytes else None,
            sources={i: _shown(ost, waiting.get(i, 0)) for i, ost in sorted(self.plan.sources.items())},
            targets={i: _shown(ost, 0) for i, ost in sorted(self.plan.targets.items())},
        )
        try:
            write_status(self.options.status_file, status)
        except OSError as error:
            self.log.warning("%s cannot be written: %s", self.options.status_file, error.strerror)
        counts = ", ".join(f"{count} {name}" for name, count in status.outcomes.items() if count) or "no outcome yet"
        states = self.plan.states(self.plan.targets.values())
        targets = ", ".join(f"{len(found)} {name}" for name, found in states.items() if found) or "none"
        self.log.info(
            "%s: %s; %d under way, %d waiting; targets %s", state, counts, status.under_way, status.waiting, targets
        )


class _TaskMaker:
    """Makes the task of a move, and knows of a result which move it is of."""

    def __init__(self, options: MigrationOptions, task_class: type[BaseTask]) -> None:
        template = _template(options)
        self._build: Callable[..., BaseTask] = template.build if template else task_class
        task_class = template.task_class() if template else task_class
        names = property_names(task_class)
        if not set(_GIVEN) <= set(names):
            path = class_path(task_class)
            raise ConfigError(f"{path} takes {', '.join(names)}: a migration's task takes {', '.join(_GIVEN)}")
        self._places = tuple(map(names.index, _GIVEN))
        # What a task file says of the others is its own business.
        configured = {} if template else {name: getattr(options.task, name) for name in _CONFIGURED}
        self._common = _taken(names, pause_file=str(options.pause_file), **configured)
        self._of_fids = _taken(names, fs_path=options.task.fs_path)

    def make(self, move: Move) -> BaseTask:
        """The task."""
        path, source, target = move.key
        more = self._of_fids if path.startswith("[") and is_fid(path) else {}
        return self._build(filename=path, source_ost=source, target_ost=target, **self._common, **more)

    def key_of(self, result: TaskResult) -> Key:
        """By which the book knows the move."""
        path, source, target = self._places
        return result.args[path], result.args[source], result.args[target]


def _taken(names: Sequence[str], **properties: Any) -> dict[str, Any]:
    """Those of the properties that the task has."""
    return {name: value for name, value in properties.items() if name in names}


def _template(options: MigrationOptions) -> TaskTemplate | None:
    """What the task file says of the task; None without one."""
    path, name = options.task.task_file, options.task.task_name
    if path is None:
        return None
    templates = read_task_file(path)
    if not name and len(templates) == 1:
        return next(iter(templates.values()))
    if name not in templates:
        raise ConfigError(f"[migration] task_name = {name}: {path} has {', '.join(templates)}")
    return templates[name]


def _shown(ost: Ost, waiting: int) -> OstStatus:
    percent = ost.expected_percent
    return OstStatus(ost.state, None if percent is None else round(percent, 2), ost.streams, ost.window.limit, waiting)
