"""The Executor against a played master: maps, what gets lost on the way, and who ends."""

import asyncio
import concurrent.futures
import gc
import itertools
import math
import operator
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

import cyclone
from cyclone.client import stream
from cyclone.client.executor import Executor
from cyclone.errors import (
    CycloneError,
    NotAllowed,
    PayloadTooLarge,
    QuotaExceeded,
)
from cyclone.protocol.job_messages import (
    NOT_ALLOWED,
    QUOTA,
    AddRequest,
    CancelJobsRequest,
    FollowRequest,
    SubmitRequest,
)
from cyclone.protocol.limits import VALUE_BYTES_MAX
from tests.support.played_master import PlayedMaster

WAIT_S = 20


def square(x: int) -> int:
    return x * x


class Accumulator:
    def __init__(self) -> None:
        self.total = 0

    def plus(self, x: int) -> int:
        return self.total + x


def raise_late(x: int) -> int:
    if x == 5000:
        raise KeyError(x)
    return x


# Maps.


def test_given_a_map_then_results_are_in_order_and_the_job_is_sealed(master: PlayedMaster, executor: Executor) -> None:
    assert list(executor.map(operator.add, range(20_000), itertools.count(1))) == list(range(1, 40_000, 2))
    assert list(executor.map(square, [])) == []
    assert list(executor.map(square)) == []
    (job,) = master.jobs.values()
    assert job.sealed


def test_given_results_out_of_order_then_they_are_put_in_order(master: PlayedMaster, executor: Executor) -> None:
    usual = master._work

    def work(job: Any) -> None:
        if len(job.rows) == 5000 and job.executed < 5000:
            for start, stop in ((3000, 5000), (0, 1000), (1000, 3000)):
                master._position += 1
                job.results.append((master._position, master._executed(job, start, stop)))
            job.executed = 5000
        usual(job) if job.executed else None

    master._work = work  # type: ignore[method-assign]
    assert list(executor.map(square, range(5000))) == [number * number for number in range(5000)]


def test_given_an_endless_iterable_then_no_more_is_pulled_than_the_buffer_holds(executor: Executor) -> None:
    numbers = itertools.count()
    results = executor.map(square, numbers, buffersize=5)
    assert next(numbers) == 5
    assert [next(results) for _ in range(4)] == [0, 1, 4, 9]
    assert next(numbers) <= 5 + 5
    assert next(executor.map(square, itertools.count())) == 0


def test_given_a_slow_iterable_then_what_is_there_is_yielded(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclone.client.mapping._PULL_AT_FIRST_S", 0.01)
    wanted = threading.Event()

    def numbers() -> Iterator[int]:
        yield 1
        wanted.wait(0.02)
        yield 2
        assert wanted.wait(WAIT_S)
        yield 3

    results = executor.map(square, numbers())
    assert next(results) == 1
    wanted.set()
    assert list(results) == [4, 9]


def test_given_a_call_that_raises_then_those_before_it_are_yielded_and_the_rest_is_cancelled(
    master: PlayedMaster, executor: Executor
) -> None:
    results = executor.map(raise_late, itertools.count())
    found: list[int] = []
    with pytest.raises(KeyError) as raised:
        found.extend(results)
    assert found == list(range(5000))
    assert raised.value.args == (5000,)
    executor.shutdown()
    assert master.of_kind(CancelJobsRequest)[-1].indexes == []


def test_given_a_map_that_nobody_wants_any_more_then_it_is_cancelled(master: PlayedMaster, executor: Executor) -> None:
    results = executor.map(square, itertools.count())
    assert next(results) == 0
    del results
    gc.collect()
    executor.shutdown()
    assert master.of_kind(CancelJobsRequest)


def test_given_a_result_that_does_not_come_then_the_map_times_out(master: PlayedMaster, executor: Executor) -> None:
    master.holding = True
    with pytest.raises(TimeoutError):
        list(executor.map(square, [1], timeout=0.01))


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [({"chunksize": 0}, ValueError), ({"buffersize": 0}, ValueError), ({"buffersize": "1"}, TypeError)],
)
def test_given_a_size_that_makes_no_sense_then_map_refuses_it(
    executor: Executor, arguments: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="size must be"):
        executor.map(square, [1], **arguments)


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(lambda: [range(30_000), [3] * 30_000], id="with a length"),
        pytest.param(lambda: [itertools.repeat(3), range(30_000)], id="one of them with a length"),
        pytest.param(lambda: [iter(range(30_000)), itertools.repeat(3)], id="an iterator over what has a length"),
    ],
)
def test_given_a_map_that_is_not_read_then_shutdown_finishes_it(
    master: PlayedMaster, inputs: Callable[[], list[Iterable[int]]], caplog: pytest.LogCaptureFixture
) -> None:
    with Executor(connect=master.address, by_value=True) as executor:
        results = executor.map(operator.add, *inputs())
    assert sorted(results) == sorted(map(operator.add, *inputs()))
    assert not caplog.records


@pytest.mark.parametrize("inputs", [lambda: itertools.count(), lambda: (number for number in range(30_000))])
def test_given_a_map_whose_end_nobody_knows_then_shutdown_cuts_it_off_and_says_so(
    master: PlayedMaster, inputs: Callable[[], Iterable[int]], caplog: pytest.LogCaptureFixture
) -> None:
    with Executor(connect=master.address, by_value=True) as executor:
        cut_off = executor.map(square, inputs())
        assert next(executor.map(square, itertools.count())) == 0
        assert list(executor.map(square, (number for number in range(3)))) == [0, 1, 4]
    (said,) = caplog.messages
    assert re.match("map of square: .* is shut down after 8192 calls, .*: .* give map a list", said)
    with pytest.raises(RuntimeError, match="after shutdown"):
        list(cut_off)


def test_given_an_executor_that_is_forgotten_then_its_maps_are_still_read_to_their_end(master: PlayedMaster) -> None:
    executor = Executor(connect=master.address, by_value=True)
    own = executor._core.stream._thread
    results = executor.map(square, (number for number in range(30_000)))
    del executor
    gc.collect()
    assert list(results) == [number * number for number in range(30_000)]
    assert own
    own.join(WAIT_S)
    assert not own.is_alive()


def test_given_an_input_that_fails_in_shutdown_then_that_is_raised_and_everything_ends(master: PlayedMaster) -> None:
    with pytest.raises(PayloadTooLarge), Executor(connect=master.address, by_value=True) as executor:
        results = executor.map(len, ["x"] * 10_000 + ["x" * VALUE_BYTES_MAX])
    assert list(results) == [1] * 10_000
    assert executor._core.stream._thread is None


def test_given_results_that_were_yielded_then_nothing_keeps_them_alive(executor: Executor) -> None:
    results = executor.map(make_accumulator, range(3))
    first = weakref.ref(next(results))
    gc.collect()
    assert first() is None
    results.close()  # type: ignore[attr-defined]


def make_accumulator(_: int) -> Accumulator:
    return Accumulator()


@pytest.mark.parametrize("by_value", [True, False])
def test_given_an_item_that_is_too_large_then_that_is_raised_and_others_go_on(
    master: PlayedMaster, by_value: bool
) -> None:
    with Executor(connect=master.address, by_value=by_value) as executor:
        with pytest.raises(PayloadTooLarge, match=f"takes? .* bytes, the limit is {VALUE_BYTES_MAX}: .* a file"):
            executor.map(len, ["x", "x" * VALUE_BYTES_MAX, "y"])
        assert executor.submit(len, "abc").result(WAIT_S) == 3


def test_given_a_later_item_that_is_too_large_then_what_is_before_it_is_yielded_first(executor: Executor) -> None:
    results = executor.map(len, ["abc", "x" * VALUE_BYTES_MAX], buffersize=1)
    assert next(results) == 3
    with pytest.raises(PayloadTooLarge, match="the arguments of call 1 take"):
        next(results)


# What gets lost, and who ends.


@pytest.mark.usefixtures("quick")
def test_given_requests_and_answers_that_get_lost_then_everything_is_done_once(master: PlayedMaster) -> None:
    lost, muted = itertools.cycle([True, False, False]), itertools.cycle([False, False, True])
    master.lose = lambda request: isinstance(request, SubmitRequest | AddRequest | FollowRequest) and next(lost)
    master.mute = lambda request: isinstance(request, SubmitRequest | AddRequest) and next(muted)
    with Executor(connect=master.address, by_value=True) as executor:
        futures = [executor.submit(square, number) for number in range(5000)]
        assert list(executor.map(square, range(50_000))) == [number * number for number in range(50_000)]
        assert [future.result(WAIT_S) for future in futures] == [number * number for number in range(5000)]
    assert sorted(len(job.rows) for job in master.jobs.values()) == [5000, 50_000]


@pytest.mark.usefixtures("quick")
def test_given_a_master_that_is_started_anew_then_everything_goes_on(master: PlayedMaster, executor: Executor) -> None:
    results = executor.map(square, range(100_000))
    first = next(results)
    with master.away():
        future = executor.submit(square, 7)
    assert future.result(WAIT_S) == 49
    assert [first, *results] == [number * number for number in range(100_000)]


@pytest.mark.usefixtures("quick")
def test_given_a_busy_master_then_it_is_asked_again(master: PlayedMaster, executor: Executor) -> None:
    master.busy = 5
    assert list(executor.map(square, range(20_000))) == [number * number for number in range(20_000)]


@pytest.mark.parametrize(("code", "kind"), [(QUOTA, QuotaExceeded), (NOT_ALLOWED, NotAllowed)])
def test_given_a_refusal_then_it_is_raised_and_the_next_submit_asks_again(
    master: PlayedMaster, executor: Executor, code: str, kind: type[Exception]
) -> None:
    master.refusal = code
    with pytest.raises(kind):
        executor.submit(square, 2).result(WAIT_S)
    with pytest.raises(kind):
        list(executor.map(square, [2]))
    master.refusal = ""
    assert executor.submit(square, 2).result(WAIT_S) == 4


def test_given_a_thread_that_cannot_go_on_then_nobody_waits_for_ever(
    master: PlayedMaster, executor: Executor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    master.holding = True
    future, results = executor.submit(square, 1), executor.map(square, [1])
    monkeypatch.setattr(stream.Stream, "_on_message", lambda *_: 1 / 0)
    executor.submit(square, 2)
    with pytest.raises(ZeroDivisionError):
        future.result(WAIT_S)
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(ZeroDivisionError):
        executor.submit(square, 3)
    assert "cannot go on" in caplog.text


def test_given_a_child_that_is_forked_then_it_is_told_and_the_parent_goes_on(
    master: PlayedMaster, executor: Executor
) -> None:
    executor.submit(square, 1).result(WAIT_S)
    master.holding = True
    future, results = executor.submit(square, 2), executor.map(square, [3])

    def in_child() -> bool:
        asks: list[Callable[[], Any]] = [
            lambda: future.result(WAIT_S),
            lambda: next(results),
            lambda: executor.submit(square, 1),
        ]
        for ask in asks:
            try:
                ask()
            except (CycloneError, RuntimeError) as error:
                if "process that was forked" not in str(error):
                    return False
            else:
                return False
        try:
            executor.submit(square, 1)
        except RuntimeError as error:
            # As what replaces a ProcessPoolExecutor is expected to.
            executor.shutdown()
            return "process that was forked" in str(error) and bool(concurrent.futures.wait([future], 0).done)
        return False

    pid = os.fork()
    if not pid:
        status = 1
        try:
            status = 0 if in_child() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    master.release()
    assert future.result(WAIT_S) == 4
    assert list(results) == [9]


def test_given_an_executor_that_is_forgotten_then_what_was_submitted_is_finished_and_its_thread_ends(
    master: PlayedMaster,
) -> None:
    executor = Executor(connect=master.address, by_value=True)
    own = executor._core.stream._thread
    future = executor.submit(square, 5)
    del executor
    gc.collect()
    assert future.result(WAIT_S) == 25
    assert own
    own.join(WAIT_S)
    assert not own.is_alive()
    (job,) = master.jobs.values()
    assert job.sealed


def test_given_asyncio_then_futures_can_be_awaited(executor: Executor) -> None:
    async def both() -> list[int]:
        loop = asyncio.get_running_loop()
        wrapped = asyncio.wrap_future(executor.submit(square, 2))
        return list(await asyncio.gather(wrapped, loop.run_in_executor(executor, square, 3)))

    assert asyncio.run(both()) == [4, 9]


def test_given_many_functions_then_those_used_least_are_closed(
    master: PlayedMaster, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclone.client.executor_core._JOBS_MAX", 2)
    for function in (math.sqrt, math.exp, math.floor, math.sqrt):
        executor.submit(function, 4.0).result(WAIT_S)
    executor.shutdown()
    assert [job.sealed for job in master.jobs.values()] == [True] * 4


def test_given_public_names_then_they_are_there() -> None:
    assert cyclone.Executor is Executor
    assert cyclone.Client.__name__ == "Client"
