"""The controllers of ``benchmarks/scale.py``: thousands of production agents in one process, each with its own socket.

    python -m benchmarks.scale_crowd PORT COUNT FIRST_NUMBER TASK_S

It does for each of them what ``cyclone/controller/service.py`` does, but for the workers: a slot executes by a moment
on a heap. SIGTERM ends it; then it prints one JSON object. The first task of each slot takes a random part of the time,
so that the others do not end all in the same moment.
"""

import heapq
import json
import os
import random
import select
import signal
import sys
import time
import uuid

import zmq
from zmq.utils.monitor import recv_monitor_message

from cyclone.controller import actions
from cyclone.controller.agent import Agent
from cyclone.controller.link import Identity
from cyclone.controller.options import AgentOptions
from cyclone.controller.pipe import Done
from cyclone.controller.watch import Progress
from cyclone.processes import SignalWakeup, die_with_parent, raise_descriptor_limit, spare_the_collector
from cyclone.protocol import states, wire
from cyclone.protocol.messages import ResultColumns, Results, Welcome
from cyclone.protocol.sockets import POLLIN, controller_socket, receive_all
from cyclone.results import encode_columns, pack_seconds
from cyclone.values import encode

_MESSAGES_PER_TURN = 64
# So many connections at a time: a backlog that overflows only costs seconds of TCP's patience.
_CONNECTS_AT_ONCE = 200


class _Member:
    """One controller: agent, socket, and a slot that executes nothing."""

    def __init__(self, crowd: "_Crowd", number: int) -> None:
        identity = Identity(f"c{number}", uuid.uuid4().hex, "node", number + 1, "1.0", sys.version.split()[0])
        self.agent = Agent(identity, AgentOptions(1), crowd.rng.random)
        self.socket, self.monitor = controller_socket(crowd.context, "127.0.0.1", crowd.port)
        self.connected = False
        self.welcomes = self.served = 0
        self.due_at = float("inf")
        self._crowd = crowd
        self._result_sent_at: float | None = None
        self._running: dict[int, Progress] = {}

    def pump(self) -> None:
        """All that has come, then what follows from it. ZeroMQ signals an edge: nothing may be left behind."""
        while True:
            now = time.monotonic()
            if int(self.monitor.get(zmq.EVENTS)) & POLLIN:
                if recv_monitor_message(self.monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    self.connected = True
                    self._do(self.agent.connected(now))
                continue
            for frames in receive_all(self.socket, _MESSAGES_PER_TURN):
                message = wire.decode_from_master(frames)
                self.welcomes += type(message) is Welcome
                self._do(self.agent.handle(message, now))
            self.advance(now)
            if not (int(self.socket.get(zmq.EVENTS)) | int(self.monitor.get(zmq.EVENTS))) & POLLIN:
                return

    def advance(self, now: float) -> None:
        """What time brings."""
        self._do(self.agent.advance(now, self._running))
        self._crowd.call(self, self.agent.deadline)

    def finish(self, execute: actions.Execute, busy_s: float) -> None:
        """The slot has executed what it was given."""
        rows = len(execute.piece)
        columns = ResultColumns([encode(0)] * rows, pack_seconds([busy_s / rows] * rows), time.time() - busy_s, 1)
        self._running.clear()
        done = Done(execute.base, bytes([states.COMPLETED]) * rows, encode_columns(columns), busy_s, True)
        self._do(self.agent.worker_done(execute.worker, done, time.monotonic()))
        self.pump()

    def _do(self, wanted: list[actions.Action]) -> None:
        for action in wanted:
            match action:
                case actions.Send(message):
                    if type(message) is Results:
                        self._result_sent_at = time.monotonic()
                    try:
                        self.socket.send_multipart(wire.encode(message), zmq.DONTWAIT)
                    except zmq.Again:
                        self._crowd.unsent += 1
                case actions.StartWorker(worker):
                    self._do(self.agent.worker_ready(worker, time.monotonic()))
                case actions.Execute():
                    self._execute(action)
                case actions.Say("warning", text):
                    print(f"{self.agent.link.identity.name}: {text}", file=sys.stderr, flush=True)
                case actions.Exit(_, reason):
                    sys.exit(f"{self.agent.link.identity.name} ends: {reason}")

    def _execute(self, execute: actions.Execute) -> None:
        now = time.monotonic()
        if self._result_sent_at is not None:
            self._crowd.gaps_ms.append(round((now - self._result_sent_at) * 1e3, 2))
        self.served += 1
        self._running[execute.worker] = Progress(execute.base, now, True)
        self._crowd.execute(self, execute, first=self._result_sent_at is None)
        self._result_sent_at = None


class _Crowd:
    """The loop: one epoll for all sockets, one heap for all moments."""

    def __init__(self, port: int, count: int, first_number: int, task_s: float) -> None:
        self.port = port
        self.rng = random.Random(first_number)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        raise_descriptor_limit()
        self.context.set(zmq.MAX_SOCKETS, int(self.context.get(zmq.SOCKET_LIMIT)))
        self.gaps_ms: list[float] = []
        self.unsent = 0
        self._numbers = iter(range(first_number, first_number + count))
        self._task_s = task_s
        self._members: list[_Member] = []
        self._by_fd: dict[int, _Member] = {}
        self._heap: list[tuple[float, int, _Member, actions.Execute | None]] = []
        self._sequence = 0
        self._epoll = select.epoll()
        self._over = False

    def run(self) -> None:
        """Until a signal comes."""
        wakeup = SignalWakeup(signal.SIGTERM, signal.SIGINT)
        self._epoll.register(wakeup.fileno(), select.EPOLLIN)
        spare_the_collector()
        while not self._over:
            self._connect_some()
            wait_s = max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else 0.1
            for fd, _ in self._epoll.poll(min(wait_s, 0.1), maxevents=1024):
                if fd == wakeup.fileno():
                    self._over = True
                else:
                    self._by_fd[fd].pump()
            self._what_is_due()
        report = {
            "welcomes": sum(member.welcomes for member in self._members),
            "never_served": sum(not member.served for member in self._members),
            "gaps_ms": self.gaps_ms,
            "unsent": self.unsent,
            "cpu_s": round(time.process_time(), 3),
        }
        print(json.dumps(report), flush=True)

    def call(self, member: _Member, at: float) -> None:
        """Its agent wants to be called then."""
        # What was asked for earlier is asked again when it comes, so that a later wish costs nothing now.
        if at < member.due_at:
            member.due_at = at
            self._push(at, member, None)

    def execute(self, member: _Member, execute: actions.Execute, first: bool) -> None:
        """Its slot is busy for as long as the tasks take."""
        seconds = self._task_s * len(execute.piece) * (self.rng.random() if first else 1.0)
        self._push(time.monotonic() + seconds, member, execute)

    def _push(self, at: float, member: _Member, execute: actions.Execute | None) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (at, self._sequence, member, execute))

    def _what_is_due(self) -> None:
        now = time.monotonic()
        while self._heap and self._heap[0][0] <= now:
            at, _, member, execute = heapq.heappop(self._heap)
            if execute is not None:
                member.finish(execute, self._task_s)
            elif at == member.due_at:
                member.due_at = float("inf")
                if member.agent.deadline <= now:
                    member.pump()
                else:
                    self.call(member, member.agent.deadline)

    def _connect_some(self) -> None:
        under_way = sum(not member.connected for member in self._members[-_CONNECTS_AT_ONCE:])
        for _, number in zip(range(under_way, _CONNECTS_AT_ONCE), self._numbers, strict=False):
            member = _Member(self, number)
            self._members.append(member)
            for socket in (member.socket, member.monitor):
                fd = int(socket.get(zmq.FD))
                self._by_fd[fd] = member
                self._epoll.register(fd, select.EPOLLIN)
            member.pump()


def main() -> None:
    """Entry point."""
    die_with_parent(os.getppid())
    port, count, first_number = map(int, sys.argv[1:4])
    _Crowd(port, count, first_number, float(sys.argv[4])).run()
    # A context with thousands of connections takes seconds to close, and nobody needs their last words.
    sys.stdout.flush()
    signal.raise_signal(signal.SIGKILL)


if __name__ == "__main__":
    main()
