"""A master made of a bare ROUTER, for real controllers: keeps to the protocol, or says whatever a test has it say."""

from collections.abc import Callable, Iterable, Sequence
from typing import Self, TypeVar

import zmq

from cyclone import values
from cyclone.protocol import wire
from cyclone.protocol.client_messages import FromClient
from cyclone.protocol.messages import (
    AnyFromController,
    AnyFromMaster,
    Hello,
    Job,
    Pong,
    Recall,
    Recorded,
    Results,
    Returned,
    State,
    TaskBatch,
    Tasks,
    Welcome,
)
from cyclone.results import OpenBlock, RecordedBlock, TaskResult
from tests.support.malformed import Frames

M = TypeVar("M")

_WAIT_MS = 20_000
_EPOCH = 7
_JOURNAL = "f" * 32


class FakeMaster:
    """One controller's master. While the test waits for something, all else that comes in is answered as it should be.

    ``results`` are those recorded, by task id; a second one for a task, or one of a second attempt, fails the test.
    """

    def __init__(self, port: int) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 100)
        self._socket.setsockopt(zmq.SNDTIMEO, _WAIT_MS)
        self._socket.bind(f"tcp://127.0.0.1:{port}")
        self.hello: Hello | None = None
        self.session = 0
        self.results: dict[int, TaskResult] = {}
        self._peer = b""
        self._granted = self._sent = self._seq = 0
        self._jobs: dict[int, Job] = {}
        self._args: dict[int, bytes] = {}
        self._job_of: dict[int, int] = {}
        self._waiting: list[int] = []
        self._numbers: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._context.term()

    def send(self, message: AnyFromMaster) -> None:
        """To the controller that said hello last."""
        self.send_frames(wire.encode(message))

    def send_frames(self, frames: Frames) -> None:
        self._socket.send_multipart([self._peer, *frames])

    def await_message(self, kind: type[M], wanted: Callable[[M], bool] = lambda _: True) -> M:
        """The next such message; AssertionError when none comes."""
        while True:
            assert self._socket.poll(_WAIT_MS), f"no {kind.__name__}"
            message = self._receive()
            if isinstance(message, kind) and wanted(message):
                return message

    def serve(self) -> None:
        """Take in what is there, and lease what there is credit for."""
        while self._socket.poll(0):
            self._receive()

    def forget(self) -> None:
        """The connection is gone: the next thing must be a hello."""
        self.hello, self.session = None, 0

    def welcome(self, session: int, journal_id: str = _JOURNAL) -> None:
        """Open a session with the controller that said hello; it is open when this returns."""
        hello = self.hello or self.await_message(Hello)
        self.session = session
        self._granted = self._sent = self._seq = 0
        self.send(Welcome(session, hello.incarnation, _EPOCH, journal_id, 0.2, 60.0, []))
        self.await_message(State)

    def add(self, job: Job, first: int, args: Sequence[bytes]) -> None:
        """Tasks to be leased as credit comes in."""
        self._jobs[job.job_id] = job
        for task_id, packed in enumerate(args, first):
            self._args[task_id] = packed
            self._job_of[task_id] = job.job_id
        self._waiting.extend(range(first, first + len(args)))
        self._lease()

    def await_results(self, task_ids: Iterable[int]) -> list[TaskResult]:
        """The results of these tasks, as soon as all of them are recorded."""
        wanted = list(task_ids)
        while not self.results.keys() >= set(wanted):
            assert self._socket.poll(_WAIT_MS), f"no results; {len(self.results)} are there, {self._waiting} wait"
            self._receive()
        return [self.results[task_id] for task_id in wanted]

    def await_answer(self) -> None:
        """Make sure that the controller, which holds nothing, has looked at all that was sent so far."""
        self.send(Recall(self.session, 1))
        self.await_message(Returned)

    def _receive(self) -> AnyFromController:
        peer, *frames = self._socket.recv_multipart()
        message = wire.decode_for_master(frames)
        assert not isinstance(message, FromClient), f"a controller said {message}"
        if isinstance(message, Hello):
            self._peer, self.hello = peer, message
        elif message.session == self.session and peer == self._peer:
            self._on_message(message)
        return message

    def _on_message(self, message: AnyFromController) -> None:
        match message:
            case State(seq=seq, granted=granted):
                self._granted = max(self._granted, granted)
                self.send(Pong(self.session, seq, self._seq, self._sent))
            case Results(number=number, granted=granted):
                self._granted = max(self._granted, granted)
                if number not in self._numbers:
                    self._numbers.add(number)
                    self._record(message)
                self.send(Recorded(self.session, [number]))
        self._lease()

    def _record(self, message: Results) -> None:
        for batch in message.batches:
            ids = range(batch.first, batch.first + len(batch.statuses))
            block = RecordedBlock(
                batch.first,
                batch.attempt,
                [(self._jobs[self._job_of[task_id]].task_class, 1) for task_id in ids],
                [self._args[task_id] for task_id in ids],
                batch.statuses,
                None,
                batch.body,
                "fake",
            )
            for result in OpenBlock(block):
                assert result.task_id not in self.results, f"a second result for task {result.task_id}"
                assert result.attempt == 1
                self.results[result.task_id] = result

    def _lease(self) -> None:
        while self._waiting and self._sent < self._granted:
            task_id = self._waiting.pop(0)
            self._sent += 1
            self._seq += 1
            job = self._jobs[self._job_of[task_id]]
            batch = TaskBatch(task_id, 1, [(job.job_id, 1)], [self._args[task_id]])
            self.send(Tasks(self.session, self._seq, self._sent, [job], [batch]))


def packed(*properties: object) -> bytes:
    """A task's constructor properties."""
    return values.encode(list(properties))
