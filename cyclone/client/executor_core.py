"""What an Executor and its views with other options share: the stream, the jobs that functions become, and the end.

Owns which calls go to which job, and that what was given to ``map`` is finished before the interpreter ends.
"""

import logging
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple

from cyclone.client import byreference, byvalue
from cyclone.client.futures import FutureTasks
from cyclone.client.mapping import MapTasks
from cyclone.client.options import options_of
from cyclone.client.stream import Stream
from cyclone.protocol.job_spec import JobSpec

log = logging.getLogger("cyclone.client")

# Functions that have a job of their own at the same time; the one that was used least lately is closed for another.
_JOBS_MAX = 64
_FUNCTIONS = frozenset({FunctionType, BuiltinFunctionType, type})
_AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"

_Pack = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], bytes]
# In the place of what cannot be a key.
_NO_KEY = (None, "")


class FunctionJob(NamedTuple):
    """The job that a function has. ``stamp`` tells whether what was sent is still what the function is."""

    tasks: FutureTasks
    pack: _Pack
    stamp: byvalue.Stamp


class Core:
    """See the module."""

    def __init__(self, stream: Stream, by_value: bool, namespace: str, slots: int) -> None:
        self.stream = stream
        self._slots = slots
        self.check: Callable[[JobSpec], None] = lambda spec: None
        """Raises for a job that this cluster can never execute."""
        self.by_value = by_value
        self.namespace = namespace
        self._is_shut = False
        self._lock = threading.Lock()
        self._jobs: OrderedDict[tuple[object, str], FunctionJob] = OrderedDict()
        # All that may be open, also of functions that have no job any more.
        self._futures: weakref.WeakSet[FutureTasks] = weakref.WeakSet()
        self._maps: weakref.WeakSet[MapTasks] = weakref.WeakSet()
        # Whoever forgets the Executor still gets what was submitted.
        weakref.finalize(self, stream.close, wait=False).atexit = False
        _cores.add(self)

    def job_of(self, function: Callable[..., Any], view: str, make_spec: Callable[..., JobSpec]) -> FunctionJob:
        """Where calls of a function go: to a job of its own, or to one whose tasks bring their function along.

        ``view`` stands for the options that it is called with, ``make_spec`` makes a job with them.
        """
        key: tuple[object, str] = (function, view) if type(function) in _FUNCTIONS else _NO_KEY
        # Before the lock, which in a child that was forked another thread may hold for ever.
        self._check()
        with self._lock:
            self._check()
            job = self._jobs.get(key)
            if job is not None and byvalue.is_unchanged(job.stamp):
                self._jobs.move_to_end(key)
                return job
            stamp = byvalue.stamp(function) if self.by_value else ()
            if stamp is None or (self.by_value and key is _NO_KEY):
                key = (None, f"{view} {options_of(function)}")
                if key in self._jobs:
                    self._jobs.move_to_end(key)
                    return self._jobs[key]
                return self._open(key, make_spec(function, brought=True), (), _pack_whole_call)
            self._drop(key)
            pack = _pack_by_value if self.by_value else _pack_by_reference
            return self._open(key, make_spec(function), stamp, pack)

    def drop(self, job: FunctionJob) -> None:
        """It takes no more tasks: the master has refused some, or somebody has ended it."""
        with self._lock:
            for key in [key for key, known in self._jobs.items() if known is job]:
                del self._jobs[key]

    def begin_map(self, tasks: MapTasks, spec: JobSpec) -> None:
        """Open the job of a map."""
        self._check()
        with self._lock:
            self._check()
            tasks.job = self.stream.open(spec, tasks)
            self._maps.add(tasks)

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        """See ``Executor.shutdown``."""
        if self.stream.is_forked:
            self._is_shut = True
            return
        with self._lock:
            self._is_shut = True
            futures, maps = list(self._futures), list(self._maps)
        try:
            for tasks in futures if cancel_futures else ():
                tasks.cancel_waiting(self._slots)
            for one in maps:
                one.cancel_waiting() if cancel_futures else one.pull_rest()
        finally:
            # Whatever an iterable raises.
            self.stream.close(wait)

    def _check(self) -> None:
        if self._is_shut:
            raise RuntimeError(_AFTER_SHUTDOWN)
        if self.stream.is_forked:
            raise RuntimeError(str(self.stream.broken))
        if self.stream.broken:
            # Without the way that it took the last time: it is raised again and again.
            raise self.stream.broken.with_traceback(None)

    def _open(self, key: tuple[object, str], spec: JobSpec, stamp: byvalue.Stamp, pack: _Pack) -> FunctionJob:
        tasks = FutureTasks(self.stream, self.by_value)
        tasks.job = self.stream.open(spec, tasks)
        self._futures.add(tasks)
        job = self._jobs[key] = FunctionJob(tasks, pack, stamp)
        if len(self._jobs) > _JOBS_MAX:
            self._drop(next(iter(self._jobs)))
        return job

    def _drop(self, key: tuple[object, str]) -> None:
        job = self._jobs.pop(key, None)
        if job:
            job.tasks.close()
            self.stream.notify()


def _pack_whole_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    return byvalue.pack_whole_call(function, args, kwargs)


def _pack_by_value(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    return byvalue.pack_call(args, kwargs)


def _pack_by_reference(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    return byreference.pack_call(args, kwargs)


# Those that may have maps to finish.
_cores: "weakref.WeakSet[Core]" = weakref.WeakSet()


def _at_exit() -> None:
    """What was given to ``map`` is finished, as what was submitted is: before ``stream`` waits for that."""
    for core in list(_cores):
        try:
            core.shutdown(wait=False, cancel_futures=False)
        except Exception:  # of an iterable: the others are to be finished
            log.exception("a map cannot be finished")


os.register_at_fork(after_in_child=_cores.clear)
# See there.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
