"""The Executor against a played master: what reaches it, what comes back, and what gets lost on the way."""

import asyncio
import concurrent.futures
import gc
import itertools
import math
import operator
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

import cyclone
from cyclone.client import job_stream, stream
from cyclone.client.executor import Executor
from cyclone.client.task_errors import RemoteTraceback, TaskCancelled
from cyclone.errors import (
    CycloneError,
    NotAllowed,
    NotSerialisable,
    PayloadTooLarge,
    QuotaExceeded,
    TaskError,
    Unreachable,
)
from cyclone.protocol.job_messages import (
    NOT_ALLOWED,
    QUOTA,
    AddRequest,
    AnyFromClient,
    AnyToClient,
    CancelJobsRequest,
    FollowRequest,
    SubmitRequest,
)
from cyclone.protocol.limits import VALUE_BYTES_MAX
from tests.support.played_master import PlayedMaster

WAIT_S = 20


@pytest.fixture
def master() -> Iterator[PlayedMaster]:
    with PlayedMaster() as played:
        yield played


@pytest.fixture
def executor(master: PlayedMaster) -> Iterator[Executor]:
    with Executor(connect=master.address, by_value=True) as made:
        yield made
        # What a test held would be waited for.
        master.release()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What got lost is sent again soon."""
    monkeypatch.setattr(job_stream, "RESEND_S", 0.02)
    monkeypatch.setattr(job_stream, "FOLLOW_S", 0.02)
    monkeypatch.setattr(stream, "RESEND_S", 0.02)


def square(x: int) -> int:
    return x * x


@cyclone.task(retries=3, time_limit="1m")
def careful(x: int) -> int:
    return x


class Accumulator:
    def __init__(self) -> None:
        self.total = 0

    def plus(self, x: int) -> int:
        return self.total + x


def raise_late(x: int) -> int:
    if x == 5000:
        raise KeyError(x)
    return x


def strange(x: Any) -> Any:
    return Strange()


class Strange:
    """Pickled in a worker, and not to be opened here."""

    def __reduce__(self) -> Any:
        return (int, ("no number",))


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("only text")
        self.lock = threading.Lock()


def raise_unpicklable() -> None:
    raise Unpicklable


# Submitting.


def test_given_calls_then_futures_have_what_they_return(executor: Executor) -> None:
    future = executor.submit(pow, 2, 10)
    assert future.result(WAIT_S) == 1024
    assert (future.index, future.job_id, future.done(), future.running()) == (0, 1, True, False)
    assert future.task_id is not None
    assert executor.submit(dict, a=1).result(WAIT_S) == {"a": 1}
    assert executor.submit(lambda *a: a, 1, (2,)).result(WAIT_S) == (1, (2,))


def test_given_calls_of_one_function_then_they_are_one_job(master: PlayedMaster, executor: Executor) -> None:
    futures = [executor.submit(square, number) for number in range(1000)]
    assert [future.result(WAIT_S) for future in futures] == [number * number for number in range(1000)]
    (job,) = master.jobs.values()
    assert (job.spec.name, job.spec.by_value, job.spec.task_class) == ("square", True, "tasks.function:FunctionTask")
    assert len(master.of_kind(AddRequest)) < 500


def test_given_a_bound_method_then_it_is_sent_as_it_is_at_that_moment(executor: Executor) -> None:
    accumulator = Accumulator()
    first = executor.submit(accumulator.plus, 1)
    accumulator.total = 10
    second = executor.submit(accumulator.plus, 1)
    assert (first.result(WAIT_S), second.result(WAIT_S)) == (1, 11)


def test_given_options_then_they_make_a_job_of_their_own(master: PlayedMaster, executor: Executor) -> None:
    view = executor.options(cpus=2, time_limit="90s", mem="1 GiB", retry_on=[OSError, "m.E"])
    view.submit(square, 1).result(WAIT_S)
    view.options(cpus=3).submit(square, 1).result(WAIT_S)
    executor.submit(careful, 1).result(WAIT_S)
    executor.options(retries=1).submit(careful, 1).result(WAIT_S)
    two, three, decorated, overruled = (job.spec for job in master.jobs.values())
    assert (two.cpus, two.time_limit_s, two.mem_bytes, two.retry_on) == (2, 90.0, 1 << 30, ("OSError", "m.E"))
    assert (three.cpus, three.time_limit_s) == (3, 90.0)
    assert (decorated.retries, decorated.time_limit_s) == (3, 60.0)
    assert (overruled.retries, overruled.time_limit_s) == (1, 60.0)
    assert careful(4) == 4


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"cpu": 2}, TypeError, "no option 'cpu'; there are .*cpus"),
        ({"cpus": 0}, ValueError, "cpus"),
        ({"time_limit": "soon"}, ValueError, "soon"),
        ({"task_class": "m:C"}, TypeError, "no option 'task_class'"),
    ],
)
def test_given_an_option_that_is_none_then_it_is_said_at_once(
    executor: Executor, options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        executor.options(**options)


@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("name", ["max_workers", "workers"])
def test_given_no_worker_then_the_error_is_that_of_the_standard_library(name: str, number: int) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        Executor(**{name: number})  # type: ignore[arg-type]


def test_given_a_namespace_that_cannot_be_one_then_it_is_said_at_once(master: PlayedMaster) -> None:
    with pytest.raises(ValueError, match="namespace"):
        Executor(connect=master.address, namespace="no/way !")


def test_given_workers_and_a_server_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="give one of them"):
        Executor(workers=1, connect="tcp://127.0.0.1:1")


def test_given_max_workers_and_a_server_then_so_many_run_at_once(master: PlayedMaster) -> None:
    with Executor(3, connect=master.address, by_value=True, namespace="mine") as executor:
        executor.submit(square, 1).result(WAIT_S)
    (job,) = master.jobs.values()
    assert (job.spec.parallel, job.spec.namespace) == (3, "mine")


def test_given_no_master_then_it_is_unreachable_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cyclone.client.executor._CONNECT_TIMEOUT_S", 0.05)
    with pytest.raises(Unreachable, match="no answer from a master"):
        Executor(connect="tcp://127.0.0.1:9")


def test_given_too_much_then_it_is_said_at_once(executor: Executor) -> None:
    with pytest.raises(PayloadTooLarge, match="the limit is"):
        executor.submit(len, "x" * VALUE_BYTES_MAX)


def test_given_a_function_by_reference_then_values_are_plain(master: PlayedMaster) -> None:
    with Executor(connect=master.address) as executor:
        assert executor.submit(max, [1, 2]).result(WAIT_S) == 2
        assert list(executor.map(math.sqrt, [4, 9])) == [2.0, 3.0]
        with pytest.raises(NotSerialisable, match="by_value=True here"):
            executor.submit(lambda: 1)
        with pytest.raises(NotSerialisable, match="argument 1.*set"):
            executor.submit(len, {1})
        with pytest.raises(ZeroDivisionError):
            executor.submit(operator.floordiv, 1, 0).result(WAIT_S)
    assert not any(job.spec.by_value for job in master.jobs.values())


# What goes wrong in a task.


def test_given_an_exception_then_it_is_of_its_type_with_the_remote_traceback(executor: Executor) -> None:
    future = executor.submit(raise_late, 5000)
    with pytest.raises(KeyError) as raised:
        future.result(WAIT_S)
    assert raised.value.args == (5000,)
    assert isinstance(raised.value.__cause__, RemoteTraceback)
    assert "raise KeyError(x)" in str(raised.value.__cause__)
    assert future.exception() is raised.value


def test_given_an_exception_that_cannot_travel_then_its_text_does(executor: Executor) -> None:
    with pytest.raises(TaskError, match="Unpicklable: only text") as raised:
        executor.submit(raise_unpicklable).result(WAIT_S)
    assert "raise Unpicklable" in raised.value.remote_traceback
    assert raised.value.job_id == 1


def test_given_a_result_that_cannot_be_opened_then_only_its_own_task_fails(executor: Executor) -> None:
    futures = [executor.submit(strange, 1), executor.submit(square, 3)]
    with pytest.raises(TaskError, match="cannot be read here: ValueError.*no number"):
        futures[0].result(WAIT_S)
    assert futures[1].result(WAIT_S) == 9


# Cancelling.


@pytest.mark.usefixtures("quick")
def test_given_a_task_that_was_not_sent_then_cancel_asks_nobody(master: PlayedMaster) -> None:
    master.mute = lambda request: isinstance(request, SubmitRequest)
    with Executor(connect=master.address, by_value=True) as executor:
        first = executor.submit(square, 1)
        while not master.of_kind(SubmitRequest):
            concurrent.futures.wait([first], 0.01)
        second = executor.submit(square, 2)
        assert second.cancel()
        assert second.cancelled()
        assert concurrent.futures.wait([second], WAIT_S).done == {second}
        with pytest.raises(CancelledError):
            second.result()
        master.mute = lambda request: False
        assert first.result(WAIT_S) == 1
    assert not master.of_kind(CancelJobsRequest)
    assert [len(job.rows) for job in master.jobs.values()] == [1]


def test_given_a_task_that_was_sent_then_cancel_is_the_masters_word(master: PlayedMaster, executor: Executor) -> None:
    done = executor.submit(square, 1)
    assert done.result(WAIT_S) == 1
    master.holding = True
    future = executor.submit(square, 2)
    while not future.running():
        concurrent.futures.wait([future], 0.01)
    assert future.cancel()
    assert future.cancel()
    assert future.cancelled()
    assert not done.cancel()
    (request,) = master.of_kind(CancelJobsRequest)
    assert request.indexes == [(1, 1)]
    master.release()
    assert executor.submit(square, 3).result(WAIT_S) == 9
    assert future.cancelled()


def test_given_a_cancel_that_comes_too_late_then_it_is_not_granted(master: PlayedMaster, executor: Executor) -> None:
    held = threading.Event()
    usual = master._send

    def send(peer: bytes, answer: AnyToClient) -> None:
        if type(answer).__name__ == "JobResults":
            assert held.wait(WAIT_S)
        usual(peer, answer)

    def release(request: AnyFromClient) -> bool:
        return False

    master._send, master.lose = send, release  # type: ignore[method-assign]
    future = executor.submit(square, 2)
    while not master.of_kind(FollowRequest):
        concurrent.futures.wait([future], 0.01)
    threading.Timer(0.05, held.set).start()
    assert not future.cancel()
    assert future.result(WAIT_S) == 4


def test_given_a_callback_that_cancels_then_nothing_waits_for_itself(master: PlayedMaster, executor: Executor) -> None:
    first = executor.submit(square, 1)
    first.result(WAIT_S)
    master.holding = True
    second, third = executor.submit(square, 2), executor.submit(square, 3)
    while not third.running():
        concurrent.futures.wait([third], 0.01)
    second.add_done_callback(lambda _: third.cancel())
    assert second.cancel()
    assert concurrent.futures.wait([third], WAIT_S).done
    assert third.cancelled()


def test_given_somebody_else_who_cancels_then_the_future_is_cancelled_and_says_why(
    master: PlayedMaster, executor: Executor
) -> None:
    executor.submit(square, 1).result(WAIT_S)
    master.holding = True
    future = executor.submit(square, 2)
    while not future.running():
        concurrent.futures.wait([future], 0.01)
    (job,) = master.jobs.values()
    job.cancelled.add(1)
    master.release()
    with pytest.raises(TaskCancelled, match="somebody has cancelled it"):
        future.result(WAIT_S)
    assert future.cancelled()


def test_given_shutdown_that_cancels_then_what_waits_is_cancelled(master: PlayedMaster, executor: Executor) -> None:
    executor.submit(square, 1).result(WAIT_S)
    master.holding = True
    futures = [executor.submit(square, number) for number in range(10)]
    while not futures[-1].running():
        concurrent.futures.wait(futures[-1:], 0.01)
    executor.shutdown(wait=False, cancel_futures=True)
    while not master.of_kind(CancelJobsRequest):
        concurrent.futures.wait(futures[-1:], 0.01)
    master.release()
    executor.shutdown()
    assert all(future.cancelled() for future in futures)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(square, 1)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(square, [1])


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


def test_given_a_map_that_is_not_read_then_shutdown_finishes_it(master: PlayedMaster) -> None:
    with Executor(connect=master.address, by_value=True) as executor:
        results = executor.map(square, range(30_000))
        cut_off = executor.map(square, itertools.count())
    assert list(results) == [number * number for number in range(30_000)]
    with pytest.raises(RuntimeError, match="after shutdown"):
        list(cut_off)


def test_given_results_that_were_yielded_then_nothing_keeps_them_alive(executor: Executor) -> None:
    results = executor.map(make_accumulator, range(3))
    first = weakref.ref(next(results))
    gc.collect()
    assert first() is None
    results.close()  # type: ignore[attr-defined]


def make_accumulator(_: int) -> Accumulator:
    return Accumulator()


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
        executor.shutdown()
        return bool(concurrent.futures.wait([future], 0).done)

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
    monkeypatch.setattr("cyclone.client.executor._JOBS_MAX", 2)
    for function in (math.sqrt, math.exp, math.floor, math.sqrt):
        executor.submit(function, 4.0).result(WAIT_S)
    executor.shutdown()
    assert [job.sealed for job in master.jobs.values()] == [True] * 4


def test_given_public_names_then_they_are_there() -> None:
    assert cyclone.Executor is Executor
    assert cyclone.Client.__name__ == "Client"
