"""The stream's thread and others: what is told of a master that is away, and what happens at the end and in between."""

import contextlib
import gc
import itertools
import logging
import os
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from cyclone.client import executor as executor_module
from cyclone.client import executor_core
from cyclone.client import stream as stream_module
from cyclone.client.connection import Address
from cyclone.client.executor import Executor
from cyclone.client.futures import TaskFuture
from cyclone.client.server import Running
from cyclone.client.stream import Stream
from cyclone.errors import CycloneError, QuotaExceeded
from cyclone.protocol.job_messages import QUOTA, AddRequest, CancelJobsRequest, JobBlock, SubmitRequest
from cyclone.protocol.job_spec import JobSpec
from tests.support.played_master import PlayedMaster
from tests.support.procfs import wait_until

WAIT_S = 20
SPEC = JobSpec(task_class="m:C")


def test_given_a_master_that_is_away_then_that_is_told_once_and_that_it_is_back(
    master: PlayedMaster, executor: Executor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream_module, "_SILENCE_SAID_S", 0.01)
    assert executor.submit(abs, -1).result(WAIT_S) == 1
    with master.away():
        future = executor.submit(abs, -2)
        wait_until(lambda: caplog.messages, "it is told that the master is away")
    assert future.result(WAIT_S) == 2
    assert caplog.messages == [
        f"no connection to the master at {master.address}, trying on: is it running?",
        f"the master at {master.address} is there again",
    ]


@pytest.mark.usefixtures("quick")
def test_given_a_master_that_can_record_nothing_then_that_is_told_once_and_the_call_waits(
    master: PlayedMaster, executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    assert executor.submit(abs, -1).result(WAIT_S) == 1
    master.unrecorded = "nothing can be recorded: the disk is full"
    before = len(master.seen)
    future = executor.submit(abs, -2)
    wait_until(lambda: len(master.seen) > before + 2, "it asks again")
    assert not future.done()
    master.unrecorded = ""
    assert future.result(WAIT_S) == 2
    assert caplog.messages == [
        f"the master at {master.address} answers nothing, trying on: nothing can be recorded: the disk is full",
        f"the master at {master.address} answers again",
    ]


def test_given_nothing_to_do_then_a_master_that_is_away_is_nobodys_concern(
    master: PlayedMaster, executor: Executor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(stream_module, "_SILENCE_SAID_S", 0.0)
    stream = executor._core.stream
    with master.away():
        wait_until(lambda: stream._handshakes.away_since < float("inf"), "the connection is lost")
    wait_until(lambda: stream._handshakes.away_since == float("inf"), "there is another one")
    assert caplog.messages == []


class Endless:
    """Tasks of a job that waits for more, and whose end takes a while."""

    def __init__(self) -> None:
        self.is_told, self.goes_on = threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None

    def take(self, index: int, count_max: int, bytes_max: int) -> list[bytes]:
        return []

    def exhausted(self) -> bool:
        return False

    def deliver(self, block: JobBlock) -> int:
        return 0

    def refused(self, count: int, error: Exception) -> None:
        pass

    def lost(self, error: Exception) -> None:
        self.is_told.set()
        assert self.goes_on.wait(WAIT_S)

    def close(self) -> None:
        # Who closes it is overtaken by the stream's end.
        self.goes_on.set()
        assert self.thread
        self.thread.join(WAIT_S)

    def forked(self, error: Exception) -> None:
        pass


def test_given_a_stream_that_ends_by_itself_then_who_closes_it_at_that_moment_may(
    master: PlayedMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise CycloneError("it ends")

    stream, tasks = Stream(Running(Address("127.0.0.1", master.port))), Endless()
    tasks.thread = stream._thread
    for _ in range(2):
        stream.open(SPEC, tasks)
    monkeypatch.setattr(stream, "_say_silence", fail)
    stream.notify()
    assert tasks.is_told.wait(WAIT_S)
    stream.close(wait=False)
    tasks.goes_on.set()
    stream.close()
    assert str(stream.broken) == "it ends"


@pytest.mark.parametrize("missing", [(threading.Thread, "start"), (os, "eventfd")])
def test_given_no_room_for_another_thread_then_the_private_cluster_is_ended_again(
    missing: tuple[Any, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[object] = []

    class Cluster(Running):
        def __init__(self, workers: int, journal: str | None) -> None:
            super().__init__(Address("127.0.0.1", 1))

        def close(self) -> None:
            closed.append(self)

    def fail(*_: object) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(executor_module, "LocalCluster", Cluster)
    monkeypatch.setattr(*missing, fail)
    with pytest.raises(RuntimeError, match="no room"):
        Executor(workers=1)
    assert len(closed) == 1


# The user's threads.


def test_given_an_executor_that_is_broken_then_each_caller_gets_its_own_way_there(executor: Executor) -> None:
    executor._core.stream.broken = CycloneError("it is broken")

    def steps() -> int:
        with pytest.raises(CycloneError) as raised:
            executor.submit(abs, -1)
        return len(traceback.extract_tb(raised.value.__traceback__))

    first = steps()
    assert [steps() for _ in range(5)] == [first] * 5


class Held(list[int]):
    """Items of which the last comes when it may."""

    def __init__(self, count: int) -> None:
        super().__init__(range(count))
        self.is_asked, self.goes_on = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[int]:
        yield from self[:-1]
        self.is_asked.set()
        assert self.goes_on.wait(WAIT_S)
        yield self[-1]


def test_given_a_map_that_another_thread_has_begun_then_shutdown_waits_for_its_items(executor: Executor) -> None:
    items, found = Held(10), list[int]()
    ending = threading.Thread(target=executor.shutdown)
    reading = threading.Thread(target=lambda: found.extend(executor.map(abs, items)))
    reading.start()
    assert items.is_asked.wait(WAIT_S)
    ending.start()
    # It comes when both want it.
    wait_until(lambda: executor._core._is_shut, "the Executor is being shut down")
    items.goes_on.set()
    for thread in (reading, ending):
        thread.join(WAIT_S)
    assert found == list(range(10))


def test_given_calls_that_bring_their_function_then_their_job_counts_as_used_each_time(
    master: PlayedMaster, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_core, "_JOBS_MAX", 2)
    functions: list[Callable[..., Any]] = [partial(abs), abs, partial(abs), divmod, partial(abs)]
    for function in functions:
        executor.submit(function, -1).exception(WAIT_S)
    assert [job.spec.name for job in master.jobs.values()] == ["", "abs", "divmod"]


@pytest.mark.parametrize("ask", [TaskFuture.result, TaskFuture.exception])
def test_given_a_call_that_raised_then_nothing_but_its_holder_keeps_its_future_alive(
    executor: Executor, ask: Callable[[TaskFuture[int]], object]
) -> None:
    future = executor.submit(int, "no number")
    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            ask(future)
        known = weakref.ref(future)
        del future
        wait_until(lambda: known() is None, "it is gone, without the garbage collector")
    finally:
        gc.enable()


class Late(Exception):
    """One that can be waited for."""


def raise_late(number: int) -> int:
    raise Late(number)


def test_given_a_map_that_raised_then_nothing_but_its_catcher_keeps_the_error_alive(executor: Executor) -> None:
    results = executor.map(raise_late, [1])
    gc.disable()
    try:
        try:
            next(results)
        except Late as error:
            known = weakref.ref(error)
        wait_until(lambda: known() is None, "it is gone, without the garbage collector", 1.0)
    finally:
        gc.enable()


def test_given_calls_that_fail_together_then_the_callback_of_one_may_cancel_another(
    master: PlayedMaster, executor: Executor, quick: None
) -> None:
    goes_on, cancelled = threading.Event(), list[bool]()
    master.lose = lambda _: not goes_on.is_set()
    first = executor.submit(abs, -1)
    wait_until(lambda: master.of_kind(SubmitRequest), "the first one is on its way")
    second, third = executor.submit(abs, -2), executor.submit(abs, -3)
    first.add_done_callback(lambda _: cancelled.append(third.cancel()))
    master.refusal = QUOTA
    goes_on.set()
    assert isinstance(second.exception(WAIT_S), QuotaExceeded)
    assert (cancelled, third.cancelled()) == ([True], True)


def test_given_calls_that_take_their_time_then_no_trace_is_left_of_their_requests(
    master: PlayedMaster, executor: Executor, quick: None
) -> None:
    def repeated() -> int:
        return sum(not request.quiet for request in master.of_kind(AddRequest))

    assert executor.submit(abs, -1).result(WAIT_S) == 1
    for _ in range(8):
        master.holding, before = True, repeated()
        future = executor.submit(abs, -1)
        wait_until(lambda: repeated() > before, "its request is repeated")  # noqa: B023 - it waits here
        master.release()
        assert future.result(WAIT_S) == 1
    # Those that are on the way, and those by which results come and small calls go.
    assert len(executor._core.stream._requests) <= 4


def test_given_a_cancel_that_gets_lost_then_no_trace_is_left_of_its_requests(
    master: PlayedMaster, executor: Executor, quick: None
) -> None:
    master.holding = True
    lost = itertools.cycle([True, True, False])
    master.lose = lambda request: isinstance(request, CancelJobsRequest) and next(lost)
    for _ in range(3):
        future = executor.submit(abs, -1)
        wait_until(lambda: future.job_id, "the master has it")  # noqa: B023 - it waits here
        assert future.cancel()
    assert len(executor._core.stream._requests) <= 4
