"""What a worker does for a job before its first row: it finds the class, opens what the tasks share, and puts the job's
environment and folder in place.

Owns the jobs that the worker was told of. Runs user code (the import of a module, ``BaseTask.prepared``), so only a
worker may use it, while it is in a row: whatever goes wrong here, or takes too long, is charged to that row, but counts
towards no time limit of its task. The worker owes ``leave`` behind the rows of a job.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from cyclone.controller import pipe
from cyclone.controller.context import Terminated
from cyclone.controller.pipe import ToldJobs
from cyclone.errors import ClassRefused, CycloneError, PluginError
from cyclone.guardian import MARK, WORKER_MARK
from cyclone.plugins import load_allowed_class
from cyclone.protocol.limits import VALUE_BYTES_MAX
from cyclone.protocol.messages import Job
from cyclone.task import BaseTask, Executable
from cyclone.values import decode_properties

Builder = Callable[..., Executable]

# By these what a worker leaves behind is found and ended: a job that brings the environment of another task along, as
# one does that is submitted by a task, must not pass for that one.
_MARKS = frozenset({MARK, WORKER_MARK})
# What tempfile looks at once, and never again by itself.
_TEMPORARY = frozenset({"TMPDIR", "TEMP", "TMP"})
# Of the bytes that a result may have: the text of the error must fit, too.
_PICKLED_BYTES_MAX = VALUE_BYTES_MAX // 4


class SetupFailed(CycloneError):
    """What a task needs could not be prepared; its ``__cause__`` says why."""


class Preparation:
    """``jobs`` by number, and ``builders``, which make the tasks of those that have begun.

    ``by_value``: whether such jobs may be executed here. In the ``words`` it says while it prepares.
    """

    def __init__(self, task_modules: Sequence[str], by_value: bool, words: memoryview) -> None:
        self._stage = _Stage(words)
        self._task_modules = task_modules
        self._by_value = by_value
        self._told = ToldJobs()
        self.jobs: dict[int, Job] = {}
        self._classes: dict[int, type[BaseTask]] = {}
        self.builders: dict[int, Builder] = {}
        self._surroundings = _Surroundings()

    def learn(self, jobs: Sequence[Job]) -> None:
        """The worker is told of these."""
        if not self._told.add(jobs):
            for known in (self.jobs, self._classes, self.builders):
                known.clear()
            self._told.add(jobs)
        self.jobs.update((job.job_id, job) for job in jobs)

    def begin(self, job: Job) -> Builder:
        """In a row of the job: what makes its tasks. Where the job has surroundings, these are in place now.

        Raises ClassRefused for what must not be executed here, SetupFailed from whatever else is in the way.
        """
        with self._stage:
            if job.environment or job.directory:
                try:
                    self._surroundings.enter(job)
                except (OSError, ValueError) as error:
                    raise SetupFailed from error
            build = self.builders.get(job.job_id)
            if build is None:
                build = self.builders[job.job_id] = self._builder(job)
            return build

    def leave(self) -> None:
        """The rows of a job are over."""
        self._surroundings.leave()

    def refused(self, job: Job, error: BaseException) -> bool:
        """Whether it was us who would not execute this: a task may raise anything, too."""
        return job.job_id not in self.builders and isinstance(error, ClassRefused)

    def pickled(self, job: Job, error: BaseException) -> bytes:
        """The error by value, where the job is by value, its class makes that, and it is not too much."""
        task_class = self._classes.get(job.job_id)
        if task_class is None or not job.by_value:
            return b""
        try:
            pickled = task_class.failure(error)
        except Terminated:
            raise
        except BaseException as second:  # the error's own __reduce__
            BaseTask.log.debug("the error cannot travel by value: %s: %s", type(second).__name__, second)
            return b""
        return pickled if type(pickled) is bytes and len(pickled) <= _PICKLED_BYTES_MAX else b""

    def _builder(self, job: Job) -> Builder:
        if job.by_value and not self._by_value:
            raise ClassRefused(
                f"job {job.job_id} came by value, as pickled code, and this controller opens none; "
                "the line that allows it, in its configuration, is [processing] by_value = yes"
            )
        try:
            task_class = load_allowed_class(job.task_class, BaseTask, self._task_modules)
            self._classes[job.job_id] = task_class
            build = task_class.prepared(_shared(job))
        except (Terminated, ClassRefused):
            raise
        except BaseException as error:  # SystemExit and the like are failures, too
            raise SetupFailed from error
        return build if task_class.setup is BaseTask.setup else _with_setup(build, self._stage)


def _shared(job: Job) -> tuple[Any, ...]:
    try:
        return decode_properties(job.shared) if job.shared else ()
    except (msgspec.MsgspecError, CycloneError, ValueError) as error:
        raise PluginError(f"the properties that the tasks of job {job.job_id} share cannot be read: {error}") from None


class _Stage:
    """While it is entered, the row that executes is being prepared; the clock of its time limit starts behind it."""

    def __init__(self, words: memoryview) -> None:
        self._words, self._times = words, pipe.seconds_view(words)

    def __enter__(self) -> None:
        self._words[pipe.EXECUTING] = pipe.PREPARING

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is Terminated:
            return  # it is told for how long it was prepared
        self._times[pipe.STARTED_S] = time.monotonic()
        self._words[pipe.EXECUTING] = pipe.RUNNING


def _with_setup(build: Callable[..., Any], stage: _Stage) -> Builder:
    def build_and_set_up(*properties: Any) -> Executable:
        task: Executable = build(*properties)
        try:
            with stage:
                task.setup()  # type: ignore[attr-defined]
        except Terminated:
            raise
        except BaseException as error:
            raise SetupFailed from error
        return task

    return build_and_set_up


class _Surroundings:
    """The environment and the folder of one job, and what was there instead."""

    def __init__(self) -> None:
        self._variables: dict[str, str | None] = {}
        self._folder: int | None = None

    def enter(self, job: Job) -> None:
        """Put those of a job in place of what is there; OSError or ValueError where that is impossible.

        What was put in place by then is taken away by the next call, of this or of ``leave``.
        """
        self.leave()
        for name, value in job.environment.items():
            if name not in _MARKS:
                before = os.environ.get(name)
                os.environ[name] = value
                self._variables[name] = before
        self._let_tempfile_look_anew()
        if job.directory:
            self._folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            os.chdir(job.directory)

    def leave(self) -> None:
        """As it was before."""
        for name, value in self._variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._let_tempfile_look_anew()
        self._variables = {}
        if self._folder is not None:
            folder, self._folder = self._folder, None
            os.fchdir(folder)
            os.close(folder)

    def _let_tempfile_look_anew(self) -> None:
        if not _TEMPORARY.isdisjoint(self._variables):
            tempfile.tempdir = None
