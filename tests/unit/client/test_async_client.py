"""The AsyncClient against a played master: what is awaited and read, what is cancelled meanwhile, what stays behind."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from cyclone import AsyncClient
from cyclone.client import connection, event_log
from cyclone.client.async_rows import Rows
from cyclone.errors import BadRequest, CycloneError, NoSuchJob, Unreachable
from cyclone.protocol.event_messages import EventsReport, EventsRequest, Happening
from cyclone.protocol.job_messages import (
    AnyFromClient,
    AnyToClient,
    DetailRequest,
    FollowRequest,
    JobDetail,
    JobsReport,
    JobsRequest,
    JobSummary,
    SubmitRequest,
    TaskRow,
    TasksReport,
    TasksRequest,
)
from cyclone.protocol.job_spec import JobSpec
from cyclone.values import encode
from tests.support.played_master import PlayedMaster

SPEC = JobSpec(task_class="tasks.function:FunctionTask", shared=encode(["builtins:abs"]))
WAIT_S = 20
Body = Callable[[AsyncClient], Awaitable[Any]]


def rows(count: int) -> Iterator[bytes]:
    return (encode([[-number]]) for number in range(count))


def summary(job_id: int, state: str = "completed", **tasks: int) -> JobSummary:
    return JobSummary(job_id, "", "default", "", state, "m:C", 0, 1.0, 2.0, True, tasks)


class Answers:
    """What the played master says of jobs, tasks and events; ``running`` are those that have not ended."""

    def __init__(self, master: PlayedMaster) -> None:
        self._usual = master.handle
        self.running: set[int] = set()
        self.pages = 0
        self.happened = [Happening(number, 1e9 + number, "job_ended") for number in (1, 2, 3)]
        master.handle = self.handle  # type: ignore[method-assign]

    def handle(self, peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        match request:
            case DetailRequest():
                return JobDetail(request.request, summary(request.job_id) if request.job_id < 90 else None)
            case JobsRequest():
                ids = [number for low, high in request.selection.ids for number in range(low, high + 1)]
                jobs = [summary(one, "running" if one in self.running else "completed") for one in ids if one < 90]
                return JobsReport(request.request, jobs, 0)
            case TasksRequest():
                self.pages += 1
                start = request.start
                found = [TaskRow(index, 10 + index, "queued", 1, "") for index in range(start, start + request.page)]
                return TasksReport(request.request, found, start + request.page)
            case EventsRequest():
                page = [event for event in self.happened if event.number > request.after][:2]
                return EventsReport(request.request, 1, 1, self.happened[-1].number, page)
        return self._usual(peer, request)


@pytest.fixture
def master() -> Iterator[PlayedMaster]:
    with PlayedMaster() as played:
        yield played


@pytest.fixture
def answers(master: PlayedMaster, monkeypatch: pytest.MonkeyPatch) -> Answers:
    monkeypatch.setattr(event_log, "_LOOK_EVERY_S", 0.01)
    return Answers(master)


def run(master: PlayedMaster, body: Body, **options: Any) -> Any:
    """What the body returns, with a client of its own. Nothing of that is left."""
    before = set(threading.enumerate())

    async def main() -> Any:
        async with AsyncClient(master.address, **options) as client:
            found = await asyncio.wait_for(body(client), WAIT_S)
        assert set(threading.enumerate()) == before
        return found

    return asyncio.run(main())


async def soon(is_so: Callable[[], object]) -> None:
    """The loop goes on until it is so."""
    async with asyncio.timeout(WAIT_S):
        while not is_so():
            await asyncio.sleep(0.001)


def test_given_tasks_then_they_are_submitted_awaited_and_read(master: PlayedMaster, answers: Answers) -> None:
    async def body(client: AsyncClient) -> Any:
        job_id = await client.submit(SPEC, rows(10_000))
        [job] = await client.wait([job_id])
        return job.state, [result.value async for result in client.results(job_id)]

    assert run(master, body) == ("completed", list(range(10_000)))


def test_given_a_function_then_map_makes_a_job_of_calls(master: PlayedMaster, answers: Answers) -> None:
    async def body(client: AsyncClient) -> Any:
        job_id = await client.map(divmod, [7, 9], [2, 4], retries=2, name="pairs")
        return [result.value async for result in client.results(job_id)]

    assert run(master, body) == [[3, 1], [2, 1]]
    (request,) = master.of_kind(SubmitRequest)
    assert (request.spec.name, request.spec.retries) == ("pairs", 2)


def test_given_pages_then_no_more_are_asked_for_than_are_wanted(master: PlayedMaster, answers: Answers) -> None:
    async def body(client: AsyncClient) -> Any:
        found = client.tasks(1, page=10)
        return [(await anext(found)).index for _ in range(25)], answers.pages

    found, pages = run(master, body)
    assert (found, pages) == (list(range(25)), 3)


def test_given_many_that_wait_then_the_client_answers_others_meanwhile(master: PlayedMaster, answers: Answers) -> None:
    answers.running = {1, 2, 3}

    async def body(client: AsyncClient) -> Any:
        waiting = [asyncio.create_task(client.wait([number])) for number in (1, 2, 3) * 20]
        await soon(lambda: len(master.of_kind(JobsRequest)) > 60)
        epoch = (await client.status()).epoch
        answers.running.clear()
        return epoch, [job.job_id for [job] in await asyncio.gather(*waiting)]

    assert run(master, body) == (1, [1, 2, 3] * 20)


def test_given_a_time_out_then_it_is_raised_and_the_client_goes_on(master: PlayedMaster, answers: Answers) -> None:
    answers.running = {1}

    async def body(client: AsyncClient) -> None:
        with pytest.raises(TimeoutError, match=r"not ended after 0\.01 s: 1"):
            await client.wait([1], timeout_s=0.01)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.wait([1]), 0.01)
        assert (await client.status()).epoch == 1

    run(master, body)


def test_given_a_question_that_is_cancelled_then_the_next_one_gets_its_own_answer(
    master: PlayedMaster, answers: Answers
) -> None:
    async def body(client: AsyncClient) -> Any:
        master.mute = lambda request: isinstance(request, DetailRequest) and request.job_id == 1
        asked = asyncio.create_task(client.detail(1))
        await soon(lambda: master.of_kind(DetailRequest))
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        found = (await client.detail(2)).job
        assert found is not None
        return found.job_id

    assert run(master, body, timeout_s=0.2) == 2


class Slow:
    """Tasks that come when they are let: ``asked`` is set when the third is waited for."""

    def __init__(self) -> None:
        self.asked, self.let, self.taken = threading.Event(), threading.Event(), 0

    def __iter__(self) -> Iterator[bytes]:
        for row in rows(100):
            self.taken += 1
            if self.taken == 3:
                self.asked.set()
                assert self.let.wait(WAIT_S)
            yield row


@pytest.mark.parametrize("how", ["cancelled", "closed"])
@pytest.mark.parametrize("verb", ["submit", "add"])
def test_given_tasks_of_which_nobody_waits_for_the_job_any_more_then_none_is_taken_and_none_is_sent(
    verb: str, how: str, master: PlayedMaster, answers: Answers
) -> None:
    slow = Slow()

    async def body(client: AsyncClient) -> None:
        job_id = await client.submit(SPEC, rows(1), sealed=False)
        sending = client.submit(SPEC, slow) if verb == "submit" else client.add(job_id, slow, offset=1)
        task = asyncio.ensure_future(sending)
        await soon(slow.asked.is_set)
        if how == "cancelled":
            task.cancel()
            await asyncio.wait([task])
            slow.let.set()
            await client.status()
        else:
            closing = asyncio.ensure_future(client.close())
            await asyncio.sleep(0)
            slow.let.set()
            await closing
            with pytest.raises(CycloneError, match="this client is closed"):
                await task

    run(master, body)
    assert slow.taken <= 4
    assert [len(job.rows) for job in master.jobs.values()] == [1]


def test_given_a_reader_that_is_cancelled_then_no_row_is_lost(master: PlayedMaster, answers: Answers) -> None:
    master.holding = True

    async def body(client: AsyncClient) -> Any:
        job_id = await client.submit(SPEC, rows(3))
        async with client.results(job_id) as results:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(results), 0.01)
            await soon(lambda: master.of_kind(FollowRequest))
            master.release()
            return [result.value async for result in results]

    assert run(master, body) == [0, 1, 2]


def test_given_events_then_they_are_told_and_followed(master: PlayedMaster, answers: Answers) -> None:
    async def body(client: AsyncClient) -> Any:
        told = [one.event.number async for one in client.events(after=1)]
        follower = client.events(follow=True)
        first = [(await anext(follower)).event.number for _ in range(3)]
        following = asyncio.ensure_future(anext(follower))
        answers.happened.append(Happening(4, 2e9, "master_stopping"))
        return told, first, (await following).event.kind

    assert run(master, body) == ([2, 3], [1, 2, 3], "master_stopping")


def read_results(client: AsyncClient) -> Rows[Any]:
    return client.results(1)


def read_events(client: AsyncClient) -> Rows[Any]:
    return client.events(follow=True)


@pytest.mark.parametrize("read", [read_results, read_events])
def test_given_an_iterator_that_nobody_reads_to_its_end_then_closing_the_client_ends_it(
    read: Callable[[AsyncClient], Rows[Any]], master: PlayedMaster, answers: Answers
) -> None:
    async def body(client: AsyncClient) -> None:
        await client.submit(SPEC, rows(5), sealed=False)
        one = read(client)
        await anext(one)
        following = asyncio.ensure_future(drained(one))
        await soon(lambda: len(master.of_kind(FollowRequest)) > 1 or len(master.of_kind(EventsRequest)) > 2)
        await client.close()
        assert await following < 5
        with pytest.raises(CycloneError, match="closed"):
            await client.status()

    run(master, body)


async def drained(rows: AsyncIterator[Any]) -> int:
    return len([row async for row in rows])


def test_given_an_iterator_that_is_dropped_then_nothing_waits_for_it(
    master: PlayedMaster, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[connection.Connection] = []
    closing = connection.Connection.close

    def close(self: connection.Connection) -> None:
        ended.append(self)
        closing(self)

    monkeypatch.setattr(connection.Connection, "close", close)

    async def body(client: AsyncClient) -> None:
        await client.submit(SPEC, rows(5), sealed=False)
        results = client.results(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await drained(results)
        assert not ended
        del results
        gc.collect()
        await soon(lambda: ended)

    run(master, body)


def test_given_a_long_job_then_no_more_is_in_memory_than_was_read(master: PlayedMaster, answers: Answers) -> None:
    async def body(client: AsyncClient) -> Any:
        job_id = await client.submit(SPEC, rows(20_000))
        results = client.results(job_id)
        await anext(results)
        # Who does not read does not ask either.
        return max(request.position for request in master.of_kind(FollowRequest))

    assert run(master, body) <= 1


def test_given_two_tasks_that_read_one_iterator_then_it_is_refused(master: PlayedMaster, answers: Answers) -> None:
    async def body(client: AsyncClient) -> None:
        found = client.jobs()
        first = asyncio.ensure_future(anext(found, None))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="give each its own"):
            await anext(found)
        await first

    run(master, body)


def test_given_what_goes_wrong_then_it_is_raised_as_by_a_client(master: PlayedMaster, answers: Answers) -> None:
    async def body(client: AsyncClient) -> None:
        with pytest.raises(NoSuchJob, match="no job 99"):
            await client.wait([99])
        with pytest.raises(NoSuchJob, match="no job 99"):
            await anext(client.results(99))
        with pytest.raises(BadRequest, match="controller"):
            await client.drain("")
        master.lose = lambda request: True
        with pytest.raises(Unreachable):
            await client.status()

    run(master, body, timeout_s=0.1)
