"""A master and its workers in one thread, for clients: keeps to the protocol, or does what a test has it do.

It executes what is submitted itself, by ``tasks.function``, as soon as it comes, unless it is ``holding``. What it has
recorded it keeps over a ``restart``, as a journal does.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import msgspec
import zmq

from cyclone.errors import NotSerialisable
from cyclone.failure import error_record
from cyclone.protocol import states, wire
from cyclone.protocol.client_messages import Answer, StatusReport, StatusRequest
from cyclone.protocol.job_messages import (
    BUSY,
    GAP,
    AddRequest,
    AnyFromClient,
    AnyToClient,
    CancelJobsRequest,
    FollowRequest,
    JobBlock,
    JobResults,
    SubmitRequest,
    Submitted,
)
from cyclone.protocol.job_spec import JobSpec, TaskBlock
from cyclone.protocol.messages import UNRECORDED, ErrorRecord, Refused, ResultColumns
from cyclone.protocol.sockets import authenticator_socket
from cyclone.results import encode_columns, pack_seconds
from cyclone.task import BaseTask
from cyclone.values import decode_properties, encode
from tasks.function import FunctionTask

_FIRST_TASK_ID = 1000


class PlayedJob:
    """A job as this master has it."""

    def __init__(self, job_id: int, spec: JobSpec, number: int) -> None:
        self.job_id = job_id
        self.spec = spec
        self.number = number
        self.rows: list[bytes] = []
        self.sealed = False
        self.executed = 0
        self.cancelled: set[int] = set()
        # By position.
        self.results: list[tuple[int, JobBlock]] = []
        self.follower: tuple[bytes, int] | None = None
        self.told = 0


class PlayedMaster:
    """See the module. Its attributes may be set by a test at any time; ``handle`` may be replaced.

    ``lose`` says of each request whether it gets lost before it is seen, ``mute`` whether its answer does. ``busy`` is
    how many blocks are refused for now, ``seen`` every request that arrived, ``unrecorded`` why it answers nothing.
    With ``keys``, public and secret, it asks for keys, and knows all of them but for the next ``refusals`` times.
    """

    def __init__(self, rows_per_result: int = 4096, keys: tuple[bytes, bytes] | None = None) -> None:
        self.port = 0
        self.jobs: dict[bytes, PlayedJob] = {}
        self.seen: list[AnyFromClient] = []
        self.holding = False
        self.busy = 0
        self.refusal = ""
        self.unrecorded = ""
        self.lose: Callable[[AnyFromClient], bool] = lambda request: False
        self.mute: Callable[[AnyFromClient], bool] = lambda request: False
        self.refusals: float = 0
        self._keys = keys
        self._rows_per_result = rows_per_result
        self._position = 0
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def address(self) -> str:
        """For ``connect``."""
        return f"tcp://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """It is down; afterwards another one is there with the same journal."""
        self._stop()
        try:
            yield
        finally:
            for job in self.jobs.values():
                job.follower = None
            self._start()

    def release(self) -> None:
        """Go on with what was held."""
        self.holding = False
        self._nudge.send(b"")

    def of_kind(self, kind: type[Any]) -> list[Any]:
        """The requests of a kind that arrived."""
        return [request for request in self.seen if isinstance(request, kind)]

    def _start(self) -> None:
        # One for each life: when it has ended, the port is free again.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._asked_in = authenticator_socket(self._context)
        if self._keys:
            self._socket.curve_server = True
            self._socket.curve_publickey, self._socket.curve_secretkey = self._keys
        self._socket.bind(f"tcp://127.0.0.1:{self.port or '*'}")
        self.port = int(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        endpoint = f"inproc://nudge-{id(self._socket)}"
        self._nudged, self._nudge = self._context.socket(zmq.PAIR), self._context.socket(zmq.PAIR)
        self._nudged.bind(endpoint)
        self._nudge.connect(endpoint)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _stop(self) -> None:
        self._nudge.send(b"stop")
        self._thread.join()
        for socket in (self._socket, self._asked_in, self._nudge, self._nudged):
            socket.close(linger=0)
        self._context.term()

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._nudged, zmq.POLLIN)
        poller.register(self._asked_in, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._nudged in ready and self._nudged.recv() == b"stop":
                return
            if self._asked_in in ready:
                self._let_in(*self._asked_in.recv_multipart())
            if self._socket in ready:
                peer, *frames = self._socket.recv_multipart()
                request = wire.decode_for_master(frames)
                self.seen.append(request)  # type: ignore[arg-type]
                if self.unrecorded:
                    refused = Refused(UNRECORDED, "", self.unrecorded)
                    self._socket.send_multipart([peer, *wire.encode(refused)])
                elif not self.lose(request):  # type: ignore[arg-type]
                    answer = self.handle(peer, request)  # type: ignore[arg-type]
                    if answer is not None and not self.mute(request):  # type: ignore[arg-type]
                        self._send(peer, answer)
            for job in self.jobs.values():
                self._work(job)

    def _let_in(self, version: bytes, request: bytes, *_: bytes) -> None:
        code = b"400" if self.refusals > 0 else b"200"
        self.refusals -= 1
        self._asked_in.send_multipart([version, request, code, b"", b"", b""])

    def _send(self, peer: bytes, answer: AnyToClient) -> None:
        self._socket.send_multipart([peer, *wire.encode(answer)])

    def handle(self, peer: bytes, request: AnyFromClient) -> AnyToClient | None:
        """What it answers."""
        match request:
            case StatusRequest():
                return StatusReport(request.request, "1", "none", 1, {}, 0, True, False, [], [])
            case SubmitRequest():
                return self._submit(request)
            case AddRequest():
                job = next(job for job in self.jobs.values() if job.job_id == request.job_id)
                answer = self._add(job, request.request, request.block, request.sealed)
                return None if request.quiet and not answer.code else answer
            case FollowRequest():
                job = next(job for job in self.jobs.values() if job.job_id == request.job_id)
                job.follower = (peer, request.request) if request.window_bytes else None
                if request.resume or job.follower is None:
                    job.told = request.position
                job.told = max(job.told, request.position)
                return None
            case CancelJobsRequest():
                return self._cancel(request)
        raise AssertionError(request)

    def _submit(self, request: SubmitRequest) -> Submitted:
        if self.refusal:
            return Submitted(request.request, 0, 0, False, 0, code=self.refusal)
        job = self.jobs.get(request.key)
        if job is None:
            job = self.jobs[request.key] = PlayedJob(len(self.jobs) + 1, request.spec, self._position)
        return self._add(job, request.request, request.block, request.sealed)

    def _add(self, job: PlayedJob, number: int, block: TaskBlock | None, sealed: bool) -> Submitted:
        code = ""
        if block is not None:
            if self.busy:
                self.busy -= 1
                code = BUSY
            elif block.offset > len(job.rows):
                code = GAP
            else:
                job.rows += block.args[len(job.rows) - block.offset :]
        job.sealed |= sealed and not code
        return Submitted(number, job.job_id, len(job.rows), job.sealed, 1_000_000, job.number, code)

    def _cancel(self, request: CancelJobsRequest) -> Answer:
        count = 0
        for job in self.jobs.values():
            if (job.job_id, job.job_id) in request.selection.ids:
                spans = request.indexes or [(0, len(job.rows))]
                wanted = {index for low, high in spans for index in range(max(low, job.executed), high + 1)}
                wanted &= set(range(len(job.rows)))
                count += len(wanted - job.cancelled)
                job.cancelled |= wanted
                job.sealed |= not request.indexes and not request.states
        return Answer(request.request, count > 0, count, "granted" if count else "nothing to cancel")

    def _work(self, job: PlayedJob) -> None:
        while not self.holding and job.executed < len(job.rows):
            stop = min(len(job.rows), job.executed + self._rows_per_result)
            self._position += 1
            job.results.append((self._position, self._executed(job, job.executed, stop)))
            job.executed = stop
        if job.follower is None:
            return
        blocks = [(position, block) for position, block in job.results if position > job.told]
        finished = job.sealed and job.executed == len(job.rows)
        for position, block in blocks:
            last = finished and position == blocks[-1][0]
            self._send(job.follower[0], JobResults(job.follower[1], job.job_id, job.told, position, [block], last))
            job.told = position
        if finished and not blocks:
            self._send(job.follower[0], JobResults(job.follower[1], job.job_id, job.told, job.told, [], True))

    def _executed(self, job: PlayedJob, start: int, stop: int) -> JobBlock:
        BaseTask.current.by_value = job.spec.by_value
        try:
            build = FunctionTask.prepared(decode_properties(job.spec.shared))
        finally:
            BaseTask.current.by_value = False
        found, values = bytearray(), []
        for index in range(start, stop):
            try:
                if index in job.cancelled:
                    found.append(states.CANCELLED)
                    values.append(msgspec.msgpack.encode(ErrorRecord("Cancelled", "somebody has cancelled it")))
                    continue
                values.append(encode(build(*decode_properties(job.rows[index])).execute()))
                found.append(states.COMPLETED)
            except Exception as error:  # as a worker does it
                pickled = b""
                if job.spec.by_value:
                    with contextlib.suppress(NotSerialisable):
                        pickled = FunctionTask.failure(error)
                found.append(states.FAILED)
                values.append(msgspec.msgpack.encode(error_record(error, pickled=pickled)))
        body = encode_columns(ResultColumns(values, pack_seconds([0.0] * len(values)), 1.0, 1))
        return JobBlock(start, _FIRST_TASK_ID + start, 1, bytes(found), None, body, "c1")
