"""Executor: ``concurrent.futures.Executor`` on a cluster, a private one on this host or one that is running.

Owns what a user holds: which cluster it is, options, and what calls become. The jobs of functions are
``executor_core``'s, the wire is ``stream``'s.
"""

import concurrent.futures
import functools
import operator
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from cyclone.client import byreference, byvalue
from cyclone.client.checking import check_spec, too_large
from cyclone.client.connection import Address, Connection, applicable_profile, find_address, is_server_named
from cyclone.client.executor_core import Core
from cyclone.client.futures import TaskFuture
from cyclone.client.local_cluster import LocalCluster, check_feasible
from cyclone.client.mapping import MapTasks
from cyclone.client.options import CALL_CLASS, function_fields, job_fields
from cyclone.client.server import Running, Server
from cyclone.client.stream import Stream
from cyclone.errors import NotAllowed
from cyclone.protocol.client_messages import StatusReport, StatusRequest
from cyclone.protocol.job_spec import DEFAULT_NAMESPACE, JobSpec
from cyclone.protocol.limits import NAME_CHARS_MAX, SLOTS_MAX, VALUE_BYTES_MAX

P = ParamSpec("P")
T = TypeVar("T")

_CONNECT_TIMEOUT_S = 5.0


def _has_end(iterable: Iterable[Any]) -> bool:
    """Whether that is known of it, as of a list, or an iterator over one."""
    try:
        return isinstance(iterable, Sized) or operator.length_hint(iterable, -1) >= 0
    except TypeError:
        # So ``itertools.repeat`` says that it has none.
        return False


class TaskExecutor(concurrent.futures.Executor):
    """An Executor as it is with some options; ``Executor`` makes the first one, ``options`` others.

    All those of one Executor share its connection and end with it.
    """

    def __init__(self, core: Core, options: Mapping[str, Any]) -> None:
        self._core = core
        self._options = options
        self._fields = job_fields({"namespace": core.namespace, **options})
        self._key = repr(sorted(self._fields.items()))

    def __reduce__(self) -> Any:
        raise TypeError("an Executor belongs to the process that has made it: workers have to make their own")

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
            job = self._core.job_of(fn, self._key, self._spec)
            row = job.pack(fn, args, kwargs)
            if len(row) > VALUE_BYTES_MAX:
                raise too_large("function and arguments", len(row))
            future = job.tasks.add(row)
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
        ``timeout`` seconds after this call, what a call raised, and PayloadTooLarge for a call that is too much.

        ``shutdown``, as the end of a ``with`` block, has the rest of the calls made where an iterable has a length and
        no ``buffersize`` was given. Of generators and other iterators no more is pulled then: a warning is logged, and
        results beyond what was pulled raise RuntimeError.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        pack = byvalue.pack_arguments if self._core.by_value else byreference.pack_arguments
        # All end with the shortest.
        has_end = any(map(_has_end, iterables))
        calls = zip(*iterables, strict=False)
        tasks = MapTasks(self._core.stream, calls, pack, self._core.by_value, buffersize, has_end, self._core)
        end_at = None if timeout is None else time.monotonic() + timeout
        self._core.begin_map(tasks, self._spec(fn))
        tasks.begin()
        return tasks.results(end_at)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """No more tasks. Waits until all futures are done unless ``wait`` is false; then they are finished meanwhile.

        ``cancel_futures`` cancels what has not been started.
        """
        self._core.shutdown(wait, cancel_futures)

    def _spec(self, function: Callable[..., Any], brought: bool = False) -> JobSpec:
        """The job for calls of this function; ``brought``: of all whose options are the same, brought by each task."""
        by_value = self._core.by_value
        if brought:
            name, shared = "", byvalue.NO_FUNCTION
        else:
            name = str(getattr(function, "__qualname__", ""))[:NAME_CHARS_MAX]
            shared = byvalue.pack_function(function) if by_value else byreference.pack_function(function)
            if len(shared) > VALUE_BYTES_MAX:
                raise too_large("the function and what it refers to", len(shared))
        fields = {"name": name, **function_fields(function), **self._fields}
        spec = JobSpec(task_class=CALL_CLASS, shared=shared, by_value=by_value, **fields)
        check_spec(spec)
        self._core.check(spec)
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
    Raises ValueError, TypeError, ConfigError, Unreachable, NotAllowed, and AlreadyRunning where another one has the
    journal. A master that is away for a while is waited for; where it does not let us in any more, all futures raise
    NotAllowed.
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
        max_workers, workers = _count("max_workers", max_workers), _count("workers", workers)
        running = {"connect": connect, "key_file": key_file, "profile": profile, "insecure": insecure or None}
        _check_kind({"workers": workers, "journal": journal}, running)
        job_fields(options)
        server: Server
        if workers is None and journal is None and (connect or profile or is_server_named()):
            address = find_address(connect, None, Path(key_file) if key_file else None, insecure, profile)
            slots = _slots(address, bool(by_value))
            server = Running(address)
            namespace = namespace or applicable_profile(connect, None, profile).namespace
            if max_workers is not None:
                options = {"parallel": max_workers, **options}
        else:
            if stray := [name for name, value in running.items() if value is not None]:
                kind = f"{stray[0]} is for a cluster that runs, and none is named"
                raise ValueError(f"{kind}: give connect, or a profile with a server, too")
            slots = workers or max_workers or len(os.sched_getaffinity(0))
            if slots > SLOTS_MAX:
                raise ValueError(f"a private cluster has at most {SLOTS_MAX} workers, not {slots}")
            server = self._cluster = _private(slots, journal)
            by_value = True if by_value is None else by_value
            if journal is None:
                # Nobody else could ask for results: the master need not keep what was read here.
                options = {"keep": 0.0, **options}
        try:
            stream = Stream(server)
        except BaseException:
            server.close()
            raise
        self._begin(stream, bool(by_value), slots, namespace or DEFAULT_NAMESPACE, options)
        if self._cluster:
            self._core.check = functools.partial(check_feasible, workers=slots)

    @property
    def cluster_pid(self) -> int:
        """The process that is the master of a private cluster; 0 where there is none."""
        return self._cluster.pid if self._cluster else 0

    def _begin(
        self,
        stream: Stream,
        by_value: bool,
        slots: int,
        namespace: str = DEFAULT_NAMESPACE,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """For a constructor: use this stream, to a cluster that executes so many tasks at once."""
        super().__init__(Core(stream, by_value, namespace, slots), options or {})


def _count(name: str, value: object) -> int | None:
    """A number of workers as it was given, None for none."""
    if value is None:
        return None
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if count <= 0:
        # The words of the standard library.
        raise ValueError("max_workers must be greater than 0")
    return int(count)


def _check_kind(private: Mapping[str, object], running: Mapping[str, object]) -> None:
    """Raise ValueError for arguments of both kinds of clusters, and for an empty one, as a variable that is not set."""
    own, others = ([name for name, value in given.items() if value is not None] for given in (private, running))
    for name in (*own, *others):
        if {**private, **running}[name] == "":
            raise ValueError(f"{name} is empty: leave it out where it is not meant")
    if own and others:
        raise ValueError(f"{own[0]} belongs to a private cluster, {others[0]} to one that runs: give one of them")


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
