"""Stream: many jobs to one master at once, by one thread that owns the socket.

Owns the thread, the connection and what is asked besides the jobs; what a job sends, and when, is ``job_stream``'s.
Other threads only leave notes: they append to a queue and wake it up. Whatever ends the thread fails everything that is
open, so that nobody waits for ever. The caller owes ``close``; else what is open is finished at the interpreter's end.
"""

import contextlib
import logging
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import zmq

from cyclone.client.connection import not_let_in
from cyclone.client.handshakes import Handshakes
from cyclone.client.job_stream import RESEND_S, JobStream, Tasks
from cyclone.client.server import Server
from cyclone.errors import CycloneError, NotAllowed, ProtocolError
from cyclone.protocol import wire
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.endpoints import endpoint
from cyclone.protocol.job_messages import AnyFromClient, CancelJobsRequest, JobResults, Submitted
from cyclone.protocol.job_spec import IndexRanges, JobSelection, JobSpec
from cyclone.protocol.messages import FORBIDDEN, UNRECORDED, Refused
from cyclone.protocol.sockets import (
    POLLIN,
    Poller,
    controller_socket,
    receive_all,
    reconnect,
    send_at_once,
)

log = logging.getLogger("cyclone.client")

_MESSAGES_PER_TURN = 64
# How long to wait where nothing can be sent.
_BLOCKED_S = 0.02
_WAIT_MAX_S = 10.0
# A restart mostly takes less: then nobody need know.
_SILENCE_SAID_S = 10.0

OnAnswer = Callable[[Answer | None], None]
"""Told the answer, or None where there will be none."""


@dataclass(eq=False, slots=True)
class _Cancel:
    """The wish that tasks of a job be cancelled, until it is answered."""

    job: JobStream
    indexes: IndexRanges
    states: tuple[str, ...]
    on_answer: OnAnswer | None
    send_at: float = 0.0

    def request(self, number: int) -> CancelJobsRequest:
        selection = JobSelection(ids=[(self.job.job_id, self.job.job_id)])
        return CancelJobsRequest(number, selection, self.indexes, self.states)

    def answered(self, answer: Answer | None) -> None:
        if self.on_answer:
            self.on_answer(answer)


class Stream:
    """See the module. ``broken`` says why it works no more. It closes the server in the end; where it cannot be made,
    that is left to who wanted it.
    """

    _wakeup = -1

    def __init__(self, server: Server) -> None:
        self._server = server
        self._jobs: dict[JobStream, None] = {}
        self._by_job_id: dict[int, JobStream] = {}
        self._requests: dict[int, JobStream | _Cancel] = {}
        self._cancels: dict[_Cancel, None] = {}
        self._number = 0
        # What other threads leave here; and whatever is collected as garbage while they hold the lock.
        self._lock = threading.RLock()
        self._notes: deque[Callable[[], None]] = deque()
        self.has_rows = self._sleeping = self._ended = self.is_forked = False
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = False
        self._blocked = False
        self._is_silence_said = self._is_unrecorded_said = False
        self.broken: Exception | None = None
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="cyclone-stream", daemon=True)
        _streams.add(self)
        self._thread.start()

    def __del__(self) -> None:
        # No sooner: another thread may be about to wake us up, and the number may be another file's by then.
        if self._wakeup >= 0:
            os.close(self._wakeup)

    # For any thread.

    def open(self, spec: JobSpec, tasks: Tasks) -> JobStream:
        """A new job, which begins when its first row is there. ``notify`` is owed for each row."""
        job = JobStream(spec, tasks)
        self._tell(lambda: self._begin(job))
        return job

    def notify(self) -> None:
        """There are rows for a job, or one was closed."""
        self.has_rows = True
        if self._sleeping:
            self._wake()

    def cancel(
        self,
        job: JobStream,
        indexes: Sequence[tuple[int, int]] = (),
        states: tuple[str, ...] = (),
        on_answer: OnAnswer | None = None,
    ) -> None:
        """Have tasks of a job cancelled, all where none are named; ``on_answer`` is called in the stream's thread."""
        self._tell(lambda: self._want(_Cancel(job, list(indexes), states, on_answer)))

    def is_own_thread(self) -> bool:
        """Whether this is the stream's thread, which must not wait for itself."""
        return threading.current_thread() is self._thread

    def close(self, wait: bool = True) -> None:
        """Finish what is open, then end."""
        self._tell(self._close)
        thread = self._thread
        if wait and thread and not self.is_own_thread():
            thread.join()
            # We may wait for the garbage collector; a thread that has ended is not to be seen as long as that.
            self._thread = None

    def forked(self) -> None:
        """This is a child that was forked: nothing of the stream works here, and nobody must wait for it."""
        self._lock = threading.RLock()
        self._ended, self._sleeping, self.is_forked = True, False, True
        self.broken = CycloneError("this Executor belongs to the process that was forked: make a new one in this one")
        for job in self._jobs:
            job.tasks.forked(self.broken)
        while self._notes:
            self._notes.popleft()()

    def _tell(self, note: Callable[[], None]) -> None:
        with self._lock:
            if not self._ended:
                self._notes.append(note)
                self._wake()
                return
        note()

    def _wake(self) -> None:
        self._sleeping = False
        os.eventfd_write(self._wakeup, 1)

    # For the stream's thread alone.

    def _run(self) -> None:
        error: Exception = CycloneError("the connection to the master is closed")
        try:
            with contextlib.ExitStack() as stack:
                stack.callback(self._server.close)
                self._connect(stack)
                while not (self._closing and not self._jobs and not self._cancels):
                    self._turn()
        except CycloneError as found:
            error = found
        except Exception as found:  # whatever it is, nobody must wait for us any more
            log.exception("the connection to the master cannot go on")
            error = found
        finally:
            self._end(error)

    def _connect(self, stack: contextlib.ExitStack) -> None:
        address = self._server.address()
        self._address = address
        self._handshakes = Handshakes(address.keys is not None, time.monotonic())
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stack.callback(context.destroy, linger=0)
        self._socket, self._monitor = controller_socket(context, address.target, address.port, address.keys)
        stack.callback(self._socket.disable_monitor)
        self._poller = Poller()
        stack.callback(self._poller.close)
        self._poller.register(self._socket, POLLIN)
        self._poller.register_monitor(self._monitor)
        self._poller.register(self._wakeup, POLLIN)
        if self._server.fileno() >= 0:
            self._poller.register(self._server.fileno(), POLLIN)

    def _renew_server(self) -> None:
        """Go on with what follows a server that has ended: what it has not answered is sent again."""
        self._poller.unregister(self._server.fileno())
        self._server.renew()
        former, self._address = self._address, self._server.address()
        reconnect(self._socket, self._address.target, self._address.port, endpoint(former.target, former.port))
        self._poller.register(self._server.fileno(), POLLIN)

    def _turn(self) -> None:
        self._sleeping = True
        wait_s = 0.0 if self._notes or self.has_rows else self._wait_s(time.monotonic())
        ready = self._poller.poll(wait_s)
        self._sleeping = False
        if self._wakeup in ready:
            os.eventfd_read(self._wakeup)
        if self._server.fileno() in ready:
            self._renew_server()
        now = time.monotonic()
        if self._monitor in ready:
            self._on_monitor(now)
        if self._handshakes.is_reconnect_due(now):
            reconnect(self._socket, self._address.target, self._address.port)
        if self._socket in ready:
            for frames in receive_all(self._socket, _MESSAGES_PER_TURN):
                self._on_message(frames, now)
        while self._notes:
            self._notes.popleft()()
        self.has_rows = self._blocked = False
        for cancel in list(self._cancels):
            self._advance_cancel(cancel, now)
        for job in list(self._jobs):
            job.advance(now, self._send)
            if job.is_over:
                job.leave(self._send)
                self._forget(job)
        self._say_silence(now)

    def _wait_s(self, now: float) -> float:
        due = [job.deadline for job in self._jobs] + [cancel.send_at for cancel in self._cancels if cancel.job.job_id]
        due.append(self._handshakes.reconnect_at)
        return _BLOCKED_S if self._blocked else min(_WAIT_MAX_S, max(0.0, min(due, default=math.inf) - now))

    def _begin(self, job: JobStream) -> None:
        if self.is_forked and self.broken:
            job.tasks.forked(self.broken)
            return
        if self.broken:
            job.fail(self.broken)
            return
        self._jobs[job] = None
        if self._closing:
            job.tasks.close()

    def _want(self, cancel: _Cancel) -> None:
        if self.broken:
            cancel.answered(None)
        else:
            self._cancels[cancel] = None

    def _close(self) -> None:
        self._closing = True
        for job in self._jobs:
            job.tasks.close()

    def _forget(self, job: JobStream) -> None:
        del self._jobs[job]
        self._by_job_id.pop(job.job_id, None)
        self._drop_requests(job)

    def _drop_requests(
        self, owner: JobStream | _Cancel, before: float = math.inf, standing: Collection[int] = ()
    ) -> None:
        """No answer to them is waited for: not to those before one that was answered, because each says how it is."""
        for number in [number for number, whose in self._requests.items() if whose is owner and number < before]:
            if number not in standing:
                del self._requests[number]

    def _send(self, owner: JobStream | _Cancel, make: Callable[[int], AnyFromClient], number: int = 0, /) -> int:
        if not number:
            self._number += 1
            number = self._number
        try:
            send_at_once(self._socket, wire.encode(make(number)))
        except zmq.Again:
            self._blocked = True
            return 0
        self._requests[number] = owner
        return number

    def _advance_cancel(self, cancel: _Cancel, now: float) -> None:
        if cancel.job.job_id:
            if now >= cancel.send_at and self._send(cancel, cancel.request):
                cancel.send_at = now + RESEND_S
        elif cancel.job.is_over:
            # Nothing of it was ever sent.
            del self._cancels[cancel]
            cancel.answered(None)

    def _on_monitor(self, now: float) -> None:
        if self._handshakes.read(self._monitor, now) and self._handshakes.succeeded > 1:
            for job in self._jobs:
                job.reconnected()
            for cancel in self._cancels:
                cancel.send_at = 0.0
        if self._handshakes.are_refused:
            raise not_let_in(self._address, self._handshakes.fault)

    def _on_message(self, frames: list[bytes], now: float) -> None:
        try:
            message = wire.decode_for_client(frames)
        except ProtocolError as error:
            raise CycloneError(f"what answers at {self._address} is no master of this version: {error}") from error
        if isinstance(message, Refused):
            if message.code == FORBIDDEN:
                raise NotAllowed(f"the master at {self._address} refuses: {message.text}")
            self._on_refusal(message)
            return
        if self._is_unrecorded_said:
            self._is_unrecorded_said = False
            log.warning("the master at %s answers again", self._address)
        if isinstance(message, JobResults):
            job = self._by_job_id.get(message.job_id)
            if job:
                job.on_results(message, now)
        else:
            owner = self._requests.pop(message.request, None)
            if isinstance(owner, JobStream) and isinstance(message, Submitted):
                self._drop_requests(owner, message.request, owner.standing_requests)
                owner.on_submitted(message, now)
                if owner.job_id:
                    self._by_job_id[owner.job_id] = owner
            elif isinstance(owner, JobStream) and isinstance(message, Answer):
                # It is about what the job wanted to follow.
                owner.fail(CycloneError(message.text))
            elif isinstance(owner, _Cancel) and isinstance(message, Answer) and owner in self._cancels:
                del self._cancels[owner]
                self._drop_requests(owner)
                owner.answered(message)

    def _on_refusal(self, message: Refused) -> None:
        """What is not answered is asked again."""
        if message.code != UNRECORDED:
            log.warning("the master at %s refuses: %s", self._address, message.text)
        elif not self._is_unrecorded_said:
            self._is_unrecorded_said = True
            log.warning("the master at %s answers nothing, trying on: %s", self._address, message.text)

    def _say_silence(self, now: float) -> None:
        """Tell, once, whoever wonders why nothing comes; and that it does again."""
        away_s, is_said = now - self._handshakes.away_since, self._is_silence_said
        if is_said and away_s < 0:
            self._is_silence_said = False
            log.warning("the master at %s is there again", self._address)
        elif not is_said and away_s > _SILENCE_SAID_S and (self._jobs or self._cancels):
            self._is_silence_said = True
            reason = self._handshakes.fault or "is it running?"
            log.warning("no connection to the master at %s, trying on: %s", self._address, reason)

    def _end(self, error: Exception) -> None:
        """Nothing more will come: tell all who wait, and whoever asks from now on."""
        self.broken = error
        with self._lock:
            self._ended = True
        while self._notes:
            self._notes.popleft()()
        # Emptied before whoever is told of it comes back with more, in this thread or another.
        jobs, self._jobs = self._jobs, {}
        cancels, self._cancels = self._cancels, {}
        for job in jobs:
            job.fail(error)
        for cancel in cancels:
            cancel.answered(None)
        _streams.discard(self)


# Those whose threads run: for what concerns the process as a whole.
_streams: "weakref.WeakSet[Stream]" = weakref.WeakSet()


def _after_fork() -> None:
    for stream in list(_streams):
        stream.forked()
    _streams.clear()


def _at_exit() -> None:
    """What was submitted is finished, as the standard library's executors do it."""
    for stream in list(_streams):
        stream.close()


os.register_at_fork(after_in_child=_after_fork)
# Before the interpreter joins threads, and while they can still be started: there is no public name for this moment.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
