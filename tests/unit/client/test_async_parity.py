"""The AsyncClient beside the Client: it has what that has, and waits, reads and is patient in the same way."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cyclone import AsyncClient, Client
from cyclone.client import connection, following, task_output
from cyclone.client.async_rows import Rows
from cyclone.client.pacing import Batch
from cyclone.client.patience import Patience
from cyclone.errors import CycloneError
from cyclone.protocol.client_messages import StatusReport, StatusRequest
from cyclone.protocol.job_messages import (
    AnyFromClient,
    AnyToClient,
    DetailRequest,
    FollowRequest,
    JobDetail,
    JobSummary,
    OutputAnswer,
    OutputRequest,
)
from cyclone.protocol.job_spec import JobSpec
from cyclone.protocol.messages import OutputPieces
from cyclone.values import encode
from tests.support.played_master import PlayedMaster

WAIT_S = 20
SPEC = JobSpec(task_class="tasks.function:FunctionTask", shared=encode(["builtins:abs"]))
ROWS = [encode([[-number]]) for number in range(3)]


def parameters(member: Any) -> list[tuple[str, Any, Any]] | None:
    """Of what can be called."""
    if not callable(member):
        return None
    return [(one.name, one.kind, one.default) for one in inspect.signature(member).parameters.values()]


def public(made: Client | AsyncClient) -> dict[str, Any]:
    names = [name for name in dir(made) if not name.startswith("_")]
    return {"": parameters(type(made)), **{name: parameters(getattr(made, name)) for name in names}}


def test_given_both_clients_then_each_has_the_public_names_of_the_other_with_the_same_parameters(
    master: PlayedMaster,
) -> None:
    async def of_the_other() -> dict[str, Any]:
        async with AsyncClient(master.address) as client:
            return public(client)

    with Client(master.address) as client:
        assert asyncio.run(of_the_other()) == public(client)


class Printing:
    """A task that prints, for a played master: at most four bytes an answer."""

    def __init__(self, master: PlayedMaster) -> None:
        self.printed, self.has_ended = b"abcdef", True
        self.asked = 0
        self._usual = master.handle
        master.handle = self.handle  # type: ignore[method-assign]

    def handle(self, peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        match request:
            case DetailRequest(number, job_id):
                summary = JobSummary(job_id, "", "default", "", "running", "m:C", 0, 1.0, 2.0, True, {})
                return JobDetail(number, summary)
            case OutputRequest(number, offset=offset):
                self.asked += 1
                part = self.printed[offset : offset + 4]
                state = "completed" if self.has_ended else "running"
                pieces: OutputPieces = [(1, part)] if part else []
                return OutputAnswer(number, 1, offset, pieces, len(self.printed), self.has_ended, state, "c1")
        return self._usual(peer, request)


def test_given_what_a_task_prints_then_it_is_read_and_followed_while_others_ask(
    master: PlayedMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_output, "_PAUSE_MIN_S", 0.001)
    task = Printing(master)

    async def main() -> None:
        async with AsyncClient(master.address) as client, asyncio.timeout(WAIT_S):
            output = client.read_output(1, 0)
            assert b"".join([piece.data async for piece in output.read()]) == b"abcdef"
            assert output.last is not None
            assert (output.last.state, output.lost_bytes, output.cut) == ("completed", 0, "")
            task.has_ended, task.asked = False, 0
            async with client.read_output(1, 0, offset=2).follow() as pieces:
                assert (await anext(pieces)).data == b"cdef"
                rest = asyncio.ensure_future(anext(pieces))
                while task.asked < 3:
                    assert (await client.status()).epoch == 1
                task.printed += b"gh"
                assert (await rest).offset == 6
                task.has_ended = True
                assert [piece async for piece in pieces] == []

    asyncio.run(main())


def test_given_a_question_that_waits_for_output_then_others_are_answered_meanwhile(master: PlayedMaster) -> None:
    task = Printing(master)
    task.has_ended = False
    # As one does that nothing is printed for.
    master.mute = lambda request: isinstance(request, OutputRequest) and request.wait_s > 0

    async def main() -> None:
        async with AsyncClient(master.address, timeout_s=1.0) as client, asyncio.timeout(WAIT_S):
            waiting = asyncio.ensure_future(client.output(1, 0, offset=6, wait_s=10.0))
            while not master.of_kind(OutputRequest):
                await client.status()
            assert (await client.status()).epoch == 1
            assert not waiting.done()
            task.printed += b"gh"
            assert (await waiting).pieces == [(1, b"gh")]
            answer = await client.output(1, 0, offset=8, wait_s=0.02)
            assert (answer.pieces, answer.size) == ([], 8)

    asyncio.run(main())


def test_given_results_that_come_together_then_they_are_read_so(master: PlayedMaster) -> None:
    Printing(master)

    async def main() -> list[list[Any]]:
        async with AsyncClient(master.address) as client, asyncio.timeout(WAIT_S):
            job_id = await client.submit(SPEC, ROWS)
            return [[row.value for row in batch.rows] async for batch in client.result_batches(job_id)]

    assert asyncio.run(main())[0] == [0, 1, 2]


def test_given_a_question_of_ones_own_then_it_is_awaited_too(master: PlayedMaster) -> None:
    async def main() -> None:
        async with AsyncClient(master.address) as client, asyncio.timeout(WAIT_S):
            assert isinstance(await client.ask(StatusRequest), StatusReport)
            assert (await client.expect(StatusReport, StatusRequest)).epoch == 1

    asyncio.run(main())


def test_given_a_reader_that_waits_when_its_iterator_is_closed_then_both_come_to_their_end() -> None:
    asked, goes_on = threading.Event(), threading.Event()

    def batches() -> Iterator[Batch[int]]:
        asked.set()
        assert goes_on.wait(WAIT_S)
        yield Batch([1])

    async def main() -> None:
        with ThreadPoolExecutor(1) as thread:
            rows = Rows(thread, batches())
            reading = asyncio.ensure_future(anext(rows, None))
            await asyncio.to_thread(asked.wait, WAIT_S)
            closing = asyncio.ensure_future(rows.aclose())
            # It waits for what is on its way.
            await asyncio.sleep(0)
            goes_on.set()
            await asyncio.wait_for(closing, WAIT_S)
            assert await reading is None

    asyncio.run(main())


def test_given_a_client_that_is_closed_then_it_says_so(master: PlayedMaster) -> None:
    async def main() -> None:
        async with AsyncClient(master.address) as client:
            pass
        await client.status()

    with Client(master.address) as client:
        pass
    with pytest.raises(CycloneError, match="this client is closed: make another one"):
        client.status()
    with pytest.raises(CycloneError, match="this client is closed: make another one"):
        asyncio.run(main())


def test_given_patience_then_a_masters_absence_is_outlasted_and_told_in_the_loop(
    master: PlayedMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_RESEND_S", 0.02)
    monkeypatch.setattr(following, "FOLLOW_S", 0.02)
    Printing(master)
    away = threading.Event()
    master.lose = lambda request: away.is_set() and isinstance(request, StatusRequest | FollowRequest)
    told: list[tuple[int, str]] = []

    def tell(text: str) -> None:
        told.append((threading.get_ident(), text))
        away.clear()

    async def main() -> None:
        patience = Patience(WAIT_S, tell, 0.01)
        async with AsyncClient(master.address, timeout_s=0.5, patience=patience) as client, asyncio.timeout(WAIT_S):
            job_id = await client.submit(SPEC, ROWS)
            assert client.timeout_s == WAIT_S
            away.set()
            await client.status()
            away.set()
            assert [result.value async for result in client.results(job_id)] == [0, 1, 2]

    asyncio.run(main())
    said = ["the master does not answer; trying on for 20 s", "the master answers again"]
    assert told == [(threading.get_ident(), text) for text in 2 * said]
