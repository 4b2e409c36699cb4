"""The Executor against a played master: what reaches it, what comes back, and what is cancelled."""

import concurrent.futures
import math
import operator
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest

import cyclone
from cyclone.client.calls import job_of_calls
from cyclone.client.executor import Executor
from cyclone.client.task_errors import RemoteTraceback, TaskCancelled
from cyclone.errors import (
    NotSerialisable,
    PayloadTooLarge,
    TaskError,
    Unreachable,
)
from cyclone.protocol.job_messages import (
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


def square(x: int) -> int:
    return x * x


@cyclone.task(retries=3, time_limit="1m")
def careful(x: int) -> int:
    return x


@cyclone.task(cpu=2)
def misnamed(x: int) -> int:
    return x


@cyclone.task(time_limit="soon")
def impatient(x: int) -> int:
    return x


class Accumulator:
    def __init__(self) -> None:
        self.total = 0

    def plus(self, x: int) -> int:
        return self.total + x


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


def raise_late(x: int) -> int:
    if x == 5000:
        raise KeyError(x)
    return x


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


@pytest.mark.parametrize(
    ("function", "kind", "said"),
    [
        (misnamed, TypeError, "@cyclone.task of misnamed: there is no option 'cpu'"),
        (impatient, ValueError, "@cyclone.task of impatient: time_limit: .*soon"),
    ],
)
def test_given_a_decorated_function_with_a_wrong_option_then_the_error_names_it(
    executor: Executor, function: Callable[[int], int], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        executor.submit(function, 1)
    with pytest.raises(kind, match=said):
        executor.map(function, [1])
    with pytest.raises(kind, match=said):
        job_of_calls(function, [[1]], {})


@pytest.mark.parametrize("number", [0, -1])
@pytest.mark.parametrize("name", ["max_workers", "workers"])
def test_given_no_worker_then_the_error_is_that_of_the_standard_library(name: str, number: int) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        Executor(**{name: number})  # type: ignore[arg-type]


def test_given_a_namespace_that_cannot_be_one_then_it_is_said_at_once(master: PlayedMaster) -> None:
    with pytest.raises(ValueError, match="namespace"):
        Executor(connect=master.address, namespace="no/way !")


@pytest.mark.parametrize(
    ("count", "kind", "said"),
    [
        (1.5, TypeError, "must be a whole number, not 1.5"),
        ("2", TypeError, "must be a whole number, not '2'"),
        (5000, ValueError, "at most 4096 workers, not 5000"),
    ],
)
@pytest.mark.parametrize("name", ["max_workers", "workers"])
def test_given_a_number_of_workers_that_is_none_then_no_cluster_is_started(
    name: str, count: Any, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        Executor(**{name: count})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"workers": 1, "connect": "tcp://127.0.0.1:1"}, "workers belongs.* connect .*: give one of them"),
        ({"workers": 1, "key_file": "x"}, "workers belongs.* key_file .*: give one of them"),
        ({"workers": 1, "profile": "x"}, "workers belongs.* profile .*: give one of them"),
        ({"workers": 1, "insecure": True}, "workers belongs.* insecure .*: give one of them"),
        ({"journal": "j", "connect": "tcp://127.0.0.1:1"}, "journal belongs.* connect .*: give one of them"),
        ({"connect": ""}, "connect is empty"),
        ({"key_file": ""}, "key_file is empty"),
        ({"profile": ""}, "profile is empty"),
        ({"journal": ""}, "journal is empty"),
        ({"key_file": "x"}, "key_file is for a cluster that runs, and none is named: give connect, or a profile"),
        ({"insecure": True}, "insecure is for a cluster that runs, and none is named"),
    ],
)
def test_given_arguments_of_two_kinds_of_clusters_then_they_are_refused(
    arguments: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cyclone.client.executor.is_server_named", lambda: False)
    with pytest.raises(ValueError, match=said):
        Executor(**arguments)


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


def test_given_a_future_as_an_argument_then_it_is_said_what_can_be_sent(executor: Executor) -> None:
    future = executor.submit(square, 1)
    with pytest.raises(NotSerialisable, match="argument 1, a TaskFuture, cannot be sent: .* send what its result"):
        executor.submit(square, future)  # type: ignore[arg-type]


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


def test_given_round_trips_one_by_one_then_no_request_is_remembered_for_each(executor: Executor) -> None:
    for number in range(20):
        assert executor.submit(square, number).result(WAIT_S) == number * number
    remembered = len(executor._core.stream._requests)
    assert remembered <= 3


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
