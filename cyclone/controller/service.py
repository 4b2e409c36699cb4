"""The controller's body: moves bytes, time and processes between the master, the agent and the workers. Decides
nothing.

One loop, one thread: wait for the master, the workers, signals or the agent's deadline; feed the agent; carry out its
actions. The caller owes a main thread (workers are tied to it) and calls ``run`` once.
"""

import logging
import math
import random
import signal
import time
from dataclasses import dataclass
from typing import Protocol

import zmq
from zmq.utils.monitor import recv_monitor_message

from cyclone.controller import actions
from cyclone.controller.agent import Agent
from cyclone.controller.crew import Obituary
from cyclone.controller.diagnosis import Diagnosis
from cyclone.controller.link import Identity
from cyclone.controller.options import AgentOptions
from cyclone.controller.output_desk import OutputDesk, OutputOptions
from cyclone.controller.output_store import OutputStore
from cyclone.controller.pipe import Done, Ready
from cyclone.controller.pool import WorkerOptions, WorkerProcess
from cyclone.controller.watch import Progress
from cyclone.errors import ProtocolError
from cyclone.logs import RateLimit
from cyclone.notify import Notifier
from cyclone.processes import (
    Guard,
    SignalWakeup,
    adopt_orphans,
    raise_descriptor_limit,
    reap_orphans,
    spare_the_collector,
)
from cyclone.protocol import endpoints, wire
from cyclone.protocol.messages import AnyFromController, AnyFromMaster, FetchOutput, TaskRange, Welcome
from cyclone.protocol.sockets import (
    POLLIN,
    POLLOUT,
    ClientKeys,
    Poller,
    controller_socket,
    receive_all,
    reconnect,
    send_at_once,
)
from cyclone.protocol.traffic import Traffic

log = logging.getLogger("cyclone.controller")

# One turn takes in at most so many messages, so that workers and time get their share.
_MESSAGES_PER_TURN = 256
_STATUS_EVERY_S = 5.0
# How long ZeroMQ gets to say that it tries a lost connection again.
_RECONNECT_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class ControllerOptions:
    """Where the master is, and what concerns only the body."""

    target: str
    port: int
    poll_timeout_s: float
    worker: WorkerOptions
    keys: ClientKeys | None = None
    output: OutputOptions = OutputOptions()


class Meter(Protocol):
    """Who counts, for metrics. Must be quick; raising ends the controller."""

    def reported(self, agent: Agent, worker: int, report: Done) -> None:
        """A worker is about to report rows to the agent."""

    def worker_ended(self, agent: Agent, worker: int, reason: str, seen: Progress, running_s: float) -> None:
        """A worker process is gone, for one of a few reasons; the agent is about to be told.

        ``seen`` is what it published last; if it was in a row, then for ``running_s``.
        """

    def turn(self, service: "ControllerService") -> None:
        """A turn of the loop has ended."""


class _Published:
    """What the workers publish in their shared words."""

    def __init__(self, workers: dict[int, WorkerProcess]) -> None:
        self._workers = workers

    def get(self, worker: int, /) -> Progress | None:
        """Read just now."""
        process = self._workers.get(worker)
        return process.progress() if process else None


class ControllerService:
    """See the module."""

    def __init__(
        self,
        identity: Identity,
        agent: AgentOptions,
        options: ControllerOptions,
        jitter: random.Random,
        meter: Meter | None = None,
    ) -> None:
        self._options = options
        self._name = identity.name
        self._meter = meter
        self.agent = Agent(identity, agent, jitter.random)
        self.traffic = Traffic()
        self.bad_messages = 0
        self._discarded_bytes = 0
        # When the wait of this turn was over, in monotonic seconds.
        self.woke_at = 0.0
        self._workers: dict[int, WorkerProcess] = {}
        self.output = OutputDesk(None, self.agent.crew.held)
        self._published = _Published(self._workers)
        self._by_fd: dict[int, WorkerProcess] = {}
        self._by_output: dict[int, WorkerProcess] = {}
        self._bad_log = RateLimit()
        self._diagnosis = Diagnosis(options.keys is not None)
        self._exit: actions.Exit | None = None
        self._stops = 0
        self._status_at = 0.0
        self._reconnect_at = math.inf

    @property
    def discarded_bytes(self) -> int:
        """What tasks have printed beyond what each of them may."""
        return self._discarded_bytes + sum(process.output.discarded_bytes for process in self._workers.values())

    def run(self) -> int:
        """Until the agent wants to exit; the exit code."""
        raise_descriptor_limit()
        adopt_orphans()
        self._notifier = Notifier.from_environment()
        self._guard = Guard()
        if self._options.output.is_kept:
            folder = self._options.output.folder or self._guard.folder / "output"
            store = OutputStore(folder, self._options.output.bytes_max)
            self.output = OutputDesk(store, self.agent.crew.held)
        self._wakeup = SignalWakeup(signal.SIGTERM, signal.SIGINT)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            options = self._options
            self._socket, self._monitor = controller_socket(context, options.target, options.port, options.keys)
            self._poller = Poller()
            self._poller.register_monitor(self._monitor)
            for readable in (self._socket, self._wakeup.fileno(), self._guard.fileno()):
                self._poller.register(readable, POLLIN)
            log.info("controller=%s started, master at %s", self._name, endpoints.shown(options.target, options.port))
            self._wait_max_s = self._notifier.longest_wait_s(self._options.poll_timeout_s)
            self._notifier.ready("waiting for the master")
            spare_the_collector()
            while self._exit is None:
                self._turn()
            self._notifier.stopping(self._exit.reason)
            self._end_workers()
            self._poller.close()
            self._socket.disable_monitor()
            self._socket.close()
        finally:
            context.destroy()
            self.output.close()
            self._guard.close()
            self._wakeup.close()
        level = logging.INFO if self._exit.code == 0 else logging.ERROR
        log.log(level, "controller=%s stopped: %s", self._name, self._exit.reason)
        return self._exit.code

    def _turn(self) -> None:
        now = time.monotonic()
        deadline = min(self.agent.deadline, self.output.deadline)
        ready = self._poller.poll(min(max(0.0, deadline - now), self._wait_max_s))
        agent, now = self.agent, time.monotonic()
        self.woke_at = now
        if self._wakeup.fileno() in ready:
            self._on_signals(now)
        if self._monitor in ready:
            self._on_connection(now)
        if self._reconnect_at <= now:
            self._reconnect_at = math.inf
            reconnect(self._socket, self._options.target, self._options.port)
        if self._socket in ready:
            self._receive(now)
        if self._guard.fileno() in ready:
            self._poller.unregister(self._guard.fileno())
            self._guard.renew()
            self._poller.register(self._guard.fileno(), POLLIN)
            log.warning("the guardian process was killed: replaced")
        for fd in ready:
            if isinstance(fd, int) and fd in self._by_fd:
                self._on_worker(fd, bool(ready[fd] & POLLOUT), now)
            elif isinstance(fd, int) and fd in self._by_output:
                self._on_output(self._by_output[fd])
        self._carry_out(agent.advance(time.monotonic(), self._published))
        for answer in self.output.turn(now):
            self._send(answer)
        if reason := self._diagnosis.look(now):
            log.warning("%s", reason)
        if self._meter:
            self._meter.turn(self)
        self._notifier.watchdog(now)
        if now >= self._status_at:
            self._status_at = now + _STATUS_EVERY_S
            link = "connected" if agent.link.session else "no master"
            self._notifier.status(f"{agent.crew.busy} of {agent.options.worker_count} workers busy, {link}")
            reap_orphans({process.pid for process in self._workers.values()} | {self._guard.pid})

    def _on_connection(self, now: float) -> None:
        event = recv_monitor_message(self._monitor)["event"]
        # A retry follows a loss at once, or never: then the other end is no master, or one that has lost its mind.
        self._reconnect_at = now + _RECONNECT_WAIT_S if event == zmq.EVENT_DISCONNECTED else math.inf
        if reason := self._diagnosis.event(event, now):
            log.warning("cannot talk to the master: %s", reason)
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._carry_out(self.agent.connected(now))

    def _on_signals(self, now: float) -> None:
        for number in self._wakeup.take():
            self._stops += 1
            if self._stops > 1:
                for process in self._workers.values():
                    process.kill()
                self._carry_out(self.agent.stop_at_once(now))
                return
            log.info("%s: handing back what has not started, finishing what runs", signal.Signals(number).name)
            self._notifier.stopping("finishing what runs")
            self._carry_out(self.agent.stop(now))

    def _receive(self, now: float) -> None:
        for frames in receive_all(self._socket, _MESSAGES_PER_TURN):
            self.traffic.on_received(frames)
            try:
                message = wire.decode_from_master(frames)
            except ProtocolError as error:
                self.bad_messages += 1
                if self._bad_log.allow("master", now):
                    log.warning("dropped a bad message from the master (%d so far): %s", self.bad_messages, error)
                continue
            self._diagnosis.heard()
            self._carry_out(self.agent.handle(message, now))
            self._on_output_wanted(message, now)

    def _on_worker(self, fd: int, writable: bool, now: float) -> None:
        process = self._by_fd[fd]
        if writable:
            process.channel.write()
        try:
            for report in process.read():
                if isinstance(report, Ready):
                    self._carry_out(self.agent.worker_ready(process.worker, now))
                else:
                    # What a row has printed was there before it was reported; behind that its task is not known.
                    process.output.drain()
                    self.output.changed()
                    if self._meter:
                        self._meter.reported(self.agent, process.worker, report)
                    self._carry_out(self.agent.worker_done(process.worker, report, now))
        except ProtocolError as error:
            log.warning("worker=%d pid=%d wrote rubbish into its pipe, killed: %s", process.worker, process.pid, error)
            process.kill()
        if process.output.discarding:
            seen = process.progress()
            process.output.drain()
            process.output.settle(seen.seq, seen.executing)
        if fd == process.pidfd:
            self._on_worker_end(process, now)
        elif process.channel.closed:
            # It cannot be talked to any more, whatever closed its end; left alone, the end of the stream would spin us.
            self._poller.unregister(fd)
            process.kill()
        elif writable:
            self._poll_worker(process)

    def _on_output(self, process: WorkerProcess) -> None:
        process.output.relay()
        if process.output.closed:
            self._forget_output(process)

    def _close_output(self, process: WorkerProcess) -> None:
        process.output.close()
        self.output.changed()
        self._discarded_bytes += process.output.discarded_bytes

    def _forget_output(self, process: WorkerProcess) -> None:
        if self._by_output.pop(process.output.fileno(), None):
            self._poller.unregister(process.output.fileno())

    def _on_worker_end(self, process: WorkerProcess, now: float) -> None:
        seen = process.progress()
        self._poller.unregister(process.pidfd)
        self._forget_output(process)
        if not process.channel.closed:
            self._poller.unregister(process.channel.fileno())
        del self._by_fd[process.channel.fileno()], self._by_fd[process.pidfd]
        del self._workers[process.worker]
        process.sweep()
        cause = process.reap()
        self._close_output(process)
        log.info("worker=%d pid=%d ended: %s", process.worker, process.pid, cause)
        running_s = now - seen.started_s
        if self._meter:
            self._meter.worker_ended(self.agent, process.worker, process.end_reason(), seen, running_s)
        obituary = (
            Obituary(process.pid, time.time() - running_s, running_s) if seen.executing else Obituary(process.pid)
        )
        self._carry_out(self.agent.worker_exited(process.worker, seen.seq, seen.executing, cause, now, obituary))

    def _poll_worker(self, process: WorkerProcess) -> None:
        flags = POLLIN | (POLLOUT if process.channel.unsent_bytes else 0)
        self._poller.register(process.channel.fileno(), flags)

    def _carry_out(self, wanted: list[actions.Action]) -> None:
        for action in wanted:
            match action:
                case actions.Send(message):
                    self._send(message)
                case actions.Execute(worker, base, piece, jobs, place):
                    process = self._workers[worker]
                    process.execute(base, piece, jobs, place)
                    if process.channel.unsent_bytes:
                        self._poll_worker(process)
                case actions.StartWorker(worker):
                    self._start_worker(worker)
                case actions.Say(level, text):
                    log.log(logging.WARNING if level == "warning" else logging.INFO, "%s", text)
                case actions.Exit():
                    self._exit = action
                case _:
                    self._interfere(action)

    def _send(self, message: AnyFromController) -> None:
        frames = wire.encode(message)
        try:
            send_at_once(self._socket, frames)
            self.traffic.on_sent(frames)
        except zmq.Again:
            log.debug("not connected: %s not sent", type(message).__name__)

    def _on_output_wanted(self, message: AnyFromMaster, now: float) -> None:
        session = self.agent.link.session
        if session and isinstance(message, Welcome | FetchOutput) and message.session == session.session:
            if isinstance(message, Welcome):
                self.output.begin(session.session, session.journal_id)
                return
            for answer in self.output.ask(message, now):
                self._send(answer)

    def _interfere(
        self, action: actions.TakeBack | actions.Flush | actions.EndTask | actions.KillWorker | actions.RetireWorker
    ) -> None:
        process = self._workers[action.worker]
        now = time.monotonic()
        match action:
            case actions.Flush():
                process.nudge()
            case actions.TakeBack(worker):
                self._carry_out(self.agent.taken_back(worker, process.take_back(), now))
            case actions.EndTask(worker, seq, started_s):
                if process.end_task(seq, started_s):
                    log.info("worker=%d pid=%d: its task must end: SIGTERM", worker, process.pid)
                    self._carry_out(self.agent.task_ending(worker, seq, now))
            case actions.KillWorker():
                process.kill()
            case actions.RetireWorker():
                process.retire()

    def _start_worker(self, worker: int) -> None:
        keep = self.output.keep if self._options.output.is_kept else None

        def lease(seq: int) -> TaskRange | None:
            return self.agent.crew.slots[worker].range_at(seq)

        process = WorkerProcess(worker, self._guard, self._options.worker, lease, keep)
        self._workers[worker] = process
        self._by_fd[process.channel.fileno()] = self._by_fd[process.pidfd] = process
        self._poll_worker(process)
        self._poller.register(process.pidfd, POLLIN)
        if not process.output.closed:
            self._by_output[process.output.fileno()] = process
            self._poller.register(process.output.fileno(), POLLIN)

    def _end_workers(self) -> None:
        for process in self._workers.values():
            process.kill()
        for process in self._workers.values():
            process.reap()
            self._close_output(process)
