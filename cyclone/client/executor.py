"""Executor: ``concurrent.futures.Executor`` on a cluster, a private one on this host or one that is running.

Owns what a user holds: options, the jobs that functions become, and the end. The wire is ``stream``'s.
"""

import concurrent.futures
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple, ParamSpec, TypeVar

from cyclone.client import byreference, byvalue
from cyclone.client.checking import check_spec
from cyclone.client.connection import Address, Connection, applicable_profile, find_address, is_server_named
from cyclone.client.futures import FutureTasks, TaskFuture
from cyclone.client.local_cluster import LocalCluster
from cyclone.client.mapping import MapTasks
from cyclone.client.options import job_fields, options_of
from cyclone.client.stream import Server, Stream
from cyclone.errors import NotAllowed, PayloadTooLarge
from cyclone.protocol.client_messages import StatusReport, StatusRequest
from cyclone.protocol.job_spec import DEFAULT_NAMESPACE, JobSpec
from cyclone.protocol.limits import NAME_CHARS_MAX, VALUE_BYTES_MAX

P = ParamSpec("P")
T = TypeVar("T")

_TASK_CLASS = "tasks.function:FunctionTask"
# Functions that have a job of their own at the same time; the one that was used least lately is closed for another.
_JOBS_MAX = 64
_FUNCTIONS = frozenset({FunctionType, BuiltinFunctionType, type})
_CONNECT_TIMEOUT_S = 5.0
_AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"


_Pack = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], bytes]
# In the place of what cannot be a key.
_NO_KEY = (None, "")


class _Running:
    """The server is somebody else's: a ``stream.Server``."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def address(self) -> Address:
        """As it was given."""
        return self._address

    def fileno(self) -> int:
        """Nobody can tell."""
        return -1

    def renew(self) -> None:
        """Never asked."""
        raise AssertionError("it is not watched")

    def close(self) -> None:
        """It goes on."""


class _FunctionJob(NamedTuple):
    """The job that a function has. ``stamp`` tells whether what was sent is still what the function is."""

    tasks: FutureTasks
    pack: _Pack
    stamp: byvalue.Stamp


class _Core:
    """What an Executor and its views with other options share: the stream, and the jobs of functions."""

    def __init__(self, stream: Stream, by_value: bool, namespace: str, slots: int) -> None:
        self.stream = stream
        self._slots = slots
        self.by_value = by_value
        self.namespace = namespace
        self._is_shut = False
        self._lock = threading.Lock()
        self._jobs: OrderedDict[tuple[object, str], _FunctionJob] = OrderedDict()
        # All that may be open, also of functions that have no job any more.
        self._futures: weakref.WeakSet[FutureTasks] = weakref.WeakSet()
        self._maps: weakref.WeakSet[MapTasks] = weakref.WeakSet()
        # Whoever forgets the Executor still gets what was submitted.
        weakref.finalize(self, stream.close, wait=False).atexit = False

    def job_of(self, function: Callable[..., Any], view: "TaskExecutor") -> _FunctionJob:
        """Where calls of a function go: to a job of its own, or to one whose tasks bring their function along."""
        key: tuple[object, str] = (function, view.key) if type(function) in _FUNCTIONS else _NO_KEY
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
                key = (None, f"{view.key} {options_of(function)}")
                return self._jobs.get(key) or self._open(key, view.spec(function, brought=True), (), _pack_whole_call)
            self._drop(key)
            pack = _pack_by_value if self.by_value else _pack_by_reference
            return self._open(key, view.spec(function), stamp, pack)

    def drop(self, job: _FunctionJob) -> None:
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
        if cancel_futures:
            for tasks in futures:
                tasks.cancel_waiting(self._slots)
            for one in maps:
                one.cancel_waiting()
        else:
            for one in maps:
                one.pull_rest()
        self.stream.close(wait)

    def _check(self) -> None:
        if self._is_shut:
            raise RuntimeError(_AFTER_SHUTDOWN)
        if self.stream.broken:
            raise self.stream.broken

    def _open(self, key: tuple[object, str], spec: JobSpec, stamp: byvalue.Stamp, pack: _Pack) -> _FunctionJob:
        tasks = FutureTasks(self.stream, self.by_value)
        tasks.job = self.stream.open(spec, tasks)
        self._futures.add(tasks)
        job = self._jobs[key] = _FunctionJob(tasks, pack, stamp)
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


class TaskExecutor(concurrent.futures.Executor):
    """An Executor as it is with some options; ``Executor`` makes the first one, ``options`` others.

    All those of one Executor share its connection and end with it.
    """

    def __init__(self, core: _Core, options: Mapping[str, Any]) -> None:
        self._core = core
        self._options = options
        self._fields = job_fields({"namespace": core.namespace, **options})
        self.key = repr(sorted(self._fields.items()))

    def options(self, **options: Any) -> "TaskExecutor":
        """The same with other options for what is submitted by it.

        >>> executor.options(time_limit="1m", retries=3).submit(len, "abc").result()
        3

        cpus, mem, resources, time_limit, retries, retry_delay, retry_on, priority, name, tags, namespace, limits and
        whatever else a ``JobSpec`` has.
        """
        return TaskExecutor(self._core, {**self._options, **options})

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[T]:
        """Have ``fn(*args, **kwargs)`` called by a worker; the future of what it returns.

        >>> executor.submit(pow, 2, 10).result()
        1024

        Raises NotSerialisable where that cannot be sent, PayloadTooLarge where it is too much.
        """
        while True:
            job = self._core.job_of(fn, self)
            future = job.tasks.add(_bounded(job.pack(fn, args, kwargs)))
            if future is not None:
                return future
            self._core.drop(job)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """What ``fn`` returns for each item, in order.

        >>> next(executor.map(lambda number: number + 1, itertools.count()))
        1

        Unlike the standard library's it may be given endless iterables: not more than ``buffersize`` calls are under
        way beyond what was yielded, as many as it takes to keep the workers busy where that is None. ``chunksize`` is
        accepted and not needed: items travel together anyway. Raises TimeoutError where a result is not there
        ``timeout`` seconds after this call, and what a call raised.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        pack = byvalue.pack_arguments if self._core.by_value else byreference.pack_arguments
        is_finite = all(isinstance(iterable, Sized) for iterable in iterables)
        calls = zip(*iterables, strict=False)
        tasks = MapTasks(self._core.stream, calls, pack, self._core.by_value, buffersize, is_finite)
        end_at = None if timeout is None else time.monotonic() + timeout
        self._core.begin_map(tasks, self.spec(fn))
        tasks.begin()
        return tasks.results(end_at)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more tasks. Waits until all futures are done unless ``wait`` is false; then they are finished meanwhile.

        ``cancel_futures`` cancels what has not been started.
        """
        self._core.shutdown(wait, cancel_futures)

    def spec(self, function: Callable[..., Any], brought: bool = False) -> JobSpec:
        """The job for calls of this function; ``brought``: of all whose options are the same, brought by each task."""
        by_value = self._core.by_value
        if brought:
            name, shared = "", byvalue.NO_FUNCTION
        else:
            name = str(getattr(function, "__qualname__", ""))[:NAME_CHARS_MAX]
            shared = _bounded(byvalue.pack_function(function) if by_value else byreference.pack_function(function))
        fields = {"name": name, **job_fields(options_of(function)), **self._fields}
        spec = JobSpec(task_class=_TASK_CLASS, shared=shared, by_value=by_value, **fields)
        check_spec(spec)
        return spec


class Executor(TaskExecutor):
    """A ``concurrent.futures.Executor`` on a cluster.

    ``Executor(workers=4)`` starts a private cluster on this host, which ends with it; ``Executor(connect="tcp://...")``
    uses one that is running. Without either it is the one that ``$CYCLONE_SERVER`` or a profile names, else a private
    one with a worker for each processor. ``max_workers`` is ``workers`` for a private one; elsewhere it bounds how many
    tasks of each function run at once.

    >>> with Executor(workers=1) as executor:
    ...     sum(executor.map(math.factorial, range(10)))
    409114

    ``by_value``: send functions, arguments and results that have no plain form pickled; a private cluster does, another
    one only where both ends say so. ``journal``: a file where a private cluster records what it has to do and has done,
    so that another one goes on where its master is killed. What else is given are options, as ``options`` takes them.
    Raises ValueError, ConfigError, Unreachable, and AlreadyRunning where another one has the journal.
    """

    _cluster: LocalCluster | None = None

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        workers: int | None = None,
        connect: str | None = None,
        key_file: str | Path | None = None,
        insecure: bool = False,
        profile: str | None = None,
        namespace: str | None = None,
        by_value: bool | None = None,
        journal: str | Path | None = None,
        **options: Any,
    ) -> None:
        for count in (max_workers, workers):
            if count is not None and count <= 0:
                raise ValueError("max_workers must be greater than 0")
        if workers is not None and connect is not None:
            raise ValueError("workers are those of a private cluster, connect names another one: give one of them")
        if journal is not None and connect is not None:
            raise ValueError("journal is that of a private cluster, a running one has its own: leave one of them out")
        job_fields(options)
        server: Server
        if workers is None and journal is None and (connect or profile or is_server_named()):
            address = find_address(connect, None, Path(key_file) if key_file else None, insecure, profile)
            slots = _slots(address, bool(by_value))
            server = _Running(address)
            namespace = namespace or applicable_profile(connect, None, profile).namespace
            if max_workers is not None:
                options = {"parallel": max_workers, **options}
        else:
            slots = workers or max_workers or len(os.sched_getaffinity(0))
            server = self._cluster = _private(slots, journal)
            by_value = True if by_value is None else by_value
            if journal is None:
                # Nobody else could ask for results: the master need not keep what was read here.
                options = {"keep": 0.0, **options}
        self.begin(Stream(server), bool(by_value), slots, namespace or DEFAULT_NAMESPACE, options)

    @property
    def cluster_pid(self) -> int:
        """The process that is the master of a private cluster; 0 where there is none."""
        return self._cluster.pid if self._cluster else 0

    def begin(
        self,
        stream: Stream,
        by_value: bool,
        slots: int,
        namespace: str = DEFAULT_NAMESPACE,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """For a constructor: use this stream, to a cluster that executes so many tasks at once."""
        super().__init__(_Core(stream, by_value, namespace, slots), options or {})


def _private(workers: int, journal: str | Path | None) -> LocalCluster:
    """A private cluster, which with a journal has already taken it."""
    cluster = LocalCluster(workers, journal=journal)
    if journal is not None:
        try:
            cluster.address()
        except BaseException:
            cluster.close()
            raise
    return cluster


def _slots(address: Address, by_value: bool) -> int:
    """How many tasks the cluster there executes at once. Raises Unreachable, and NotAllowed where it does not do it."""
    with Connection(address, _CONNECT_TIMEOUT_S) as connection:
        report = connection.ask(StatusRequest(1))
    controllers = report.controllers if isinstance(report, StatusReport) else []
    if by_value and controllers and not any(one.offer.by_value for one in controllers):
        raise NotAllowed(
            f"no controller of the master at {address} executes functions by value: set [processing] by_value = yes "
            "there, or leave by_value out here and name functions of modules that they can import"
        )
    return sum(one.slots for one in controllers)


def _bounded(packed: bytes) -> bytes:
    if len(packed) > VALUE_BYTES_MAX:
        raise PayloadTooLarge(
            f"function and arguments take {len(packed)} bytes, the limit is {VALUE_BYTES_MAX}: pass the path of a file"
        )
    return packed
