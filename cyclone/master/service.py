"""The master's body: moves bytes, time and processes between controllers, the scheduler and the generator. Decides
nothing.

One loop, one thread. A turn drains the inbox (bounded), lets the scheduler decide, records, and only then sends: never
is anything answered before it is recorded. The caller owes: the main thread, a ``with`` block around its life, and one
call of ``run`` in it.
"""

import itertools
import logging
import math
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import zmq

from cyclone.errors import CycloneError
from cyclone.master import actions
from cyclone.master.acknowledgements import Acknowledgements
from cyclone.master.clients.client_desk import ClientDesk, ClientOptions
from cyclone.master.ending import Ending, Outcome
from cyclone.master.generator.feed import FeedOptions
from cyclone.master.generator.source import Source
from cyclone.master.journal import Journal
from cyclone.master.listener import Listener, Meter
from cyclone.master.place import alone_at
from cyclone.master.recorder import Recorder
from cyclone.master.scheduler import Scheduler, SchedulerOptions
from cyclone.master.sinks.sink_feed import SinkOptions
from cyclone.master.sinks.sink_feeds import SinkFeeds
from cyclone.master.waiting_room import WaitingRoom
from cyclone.notify import Notifier
from cyclone.processes import Guard, SignalWakeup, raise_descriptor_limit, spare_the_collector
from cyclone.protocol import endpoints, wire
from cyclone.protocol.client_messages import FromClient, ToClient
from cyclone.protocol.job_messages import AnyToClient
from cyclone.protocol.messages import AnyFromMaster, Output, Recorded, Refused, Tasks
from cyclone.protocol.sockets import POLLIN, Poller, master_socket, send_at_once
from cyclone.ranges import fold_nodes
from cyclone.security.gate import GateOptions, PeerGate

log = logging.getLogger("cyclone.master")

_MESSAGES_PER_TURN = 1000
_STATUS_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class MasterOptions:
    """Where to bind, and what concerns only the body. ``port`` 0 takes a free one. Durations in seconds.

    ``target`` '' is a socket file in the service's own folder, which nobody else can enter. ``feed`` is None where all
    tasks come from clients.
    """

    target: str
    port: int
    poll_timeout_s: float
    stop_timeout_s: float
    scheduler: SchedulerOptions
    feed: FeedOptions | None
    gate: GateOptions = GateOptions()
    sinks: SinkOptions = SinkOptions()
    clients: ClientOptions = ClientOptions()


class MasterService:
    """See the module. The socket is bound by the constructor, so that ``target`` and ``port`` are known before anything
    is started.

    The journal belongs to the service from here on, which closes it.
    """

    def __init__(
        self,
        options: MasterOptions,
        journal: Journal,
        listeners: Sequence[Listener] = (),
        meter: Meter | None = None,
    ) -> None:
        self._options = options
        self._journal = journal
        self._meter = meter
        self._onlookers = listeners
        self._listeners = [*listeners, meter] if meter else listeners
        self.scheduler = Scheduler(
            options.scheduler, journal.journal_id, journal.epoch, journal.replays, journal.description
        )
        self.scheduler.wall_offset_s = time.time() - time.monotonic()
        self.scheduler.recover(journal.recover(), time.monotonic())
        self.source: Source | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        raise_descriptor_limit()
        self._context.setsockopt(zmq.MAX_SOCKETS, self._context.get(zmq.SOCKET_LIMIT))
        self._gate = PeerGate(self._context, options.gate, wire.decode_for_master)
        self.traffic = self._gate.traffic
        self._guard = Guard()
        self._place = ExitStack()
        try:
            self._place.enter_context(alone_at(options.target))
            self.target = options.target or endpoints.in_folder(self._guard.folder, "master")
            self._socket, self.port = master_socket(self._context, self.target, options.port, self._gate.keys)
        except CycloneError:
            self._place.close()
            self._guard.close()
            raise
        self._room = WaitingRoom(self._gate, self._socket, self._send)
        self._poller = Poller()
        self.sinks = SinkFeeds(self._poller, options.sinks, journal, self.scheduler.state.number)
        self._clients = ClientDesk(options.clients, self.scheduler, journal, self._send)
        self._out: list[actions.Action] = []
        self._acknowledgements = Acknowledgements(lambda action: self._send(action.peer, action.message))
        self._stops = 0
        self._signal = 0
        self._ending = Ending(self.scheduler, self.sinks, options.stop_timeout_s)
        self._done = False
        self._status_at = 0.0
        self._more_to_tend = self._more_to_send = False
        self._has_loaded = False
        # When the wait of this turn was over, in monotonic seconds.
        self.woke_at = 0.0

    @property
    def bad_messages(self) -> int:
        """Messages of peers that were dropped."""
        return self._gate.bad_messages

    @property
    def refused_connections(self) -> int:
        """Connections whose key is not known."""
        return self._gate.refused_connections

    @property
    def guard(self) -> Guard:
        """For children that are started on the master's behalf."""
        return self._guard

    def start_generator(self) -> None:
        """From now on tasks are pulled, where the options name a generator."""
        if self._options.feed:
            self.source = Source(self.scheduler, self._journal, self._guard, self._options.feed, self._poller)

    def leave(self) -> None:
        """End with this turn, and tell no controller: they wait for the next master."""
        self._done = True

    def run(self, generator_at_once: bool = True) -> Outcome:
        """Until everything is done (where the options say so), the generator fails, or a signal stops it."""
        self._wakeup = SignalWakeup(signal.SIGTERM, signal.SIGINT)
        for socket in (self._socket, *self._gate.readable):
            self._poller.register(socket, POLLIN)
        for descriptor in (self._wakeup.fileno(), self._guard.fileno()):
            self._poller.register(descriptor, POLLIN)
        self._notifier = Notifier.from_environment()
        self._recorder = Recorder(self._journal, self._room, self._notifier, self._wakeup.fileno(), self._meter_failing)
        try:
            log.info("master at %s, journal %s", endpoints.shown(self.target, self.port), self._journal.description)
            self._say_what_was_recovered()
            self._wait_max_s = self._notifier.longest_wait_s(self._options.poll_timeout_s)
            self._notifier.ready("waiting for controllers")
            if generator_at_once and not self.scheduler.all_done:
                self.start_generator()
            spare_the_collector()
            # Those of before can reach us only from now on: what was replayed may have taken its time.
            self._heard_until = time.monotonic()
            self.scheduler.begin(self._heard_until)
            while not self._done:
                self._turn()
            self._notifier.stopping("done")
            return self._outcome()
        finally:
            self._wakeup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the generator, let the last messages out, and leave no child behind."""
        if self.source:
            self.source.close()
        self._journal.close()
        self.sinks.close()
        self._poller.close()
        self._socket.close()
        self._gate.close()
        self._context.term()
        self._place.close()
        self._guard.close()

    def _turn(self) -> None:
        now = time.monotonic()
        at_once = self._more_to_tend or self._more_to_send or self._has_loaded or len(self._room) > 0
        wait_max_s = min(self._wait_max_s, self._acknowledgements.wait_s)
        wait_s = 0.0 if at_once else min(max(0.0, self.scheduler.deadline - now), wait_max_s)
        self._has_loaded = False
        ready = self._poller.poll(wait_s)
        self.woke_at = now = time.monotonic()
        self.scheduler.wall_offset_s = time.time() - now
        if self._wakeup.fileno() in ready:
            self._on_signals(now)
        self._gate.serve(now)
        if not (self._socket in ready or self._room) or self._receive(now):
            self._heard_until = now
        if self.source:
            self._out += self.source.take_in(ready, now)
            self._on_generator_failure(now)
        if self._guard.fileno() in ready:
            self._poller.unregister(self._guard.fileno())
            self._guard.renew()
            self._poller.register(self._guard.fileno(), POLLIN)
            log.warning("the guardian process was killed: replaced")
        self._out += self.scheduler.advance(now, self._heard_until)
        self._carry_out(now)
        # What the generator hears of, a results file has.
        for onlooker in self._onlookers:
            onlooker.turn(self)
        if self.source:
            self.source.turn()
        self._more_to_send = self.sinks.turn(ready, now)
        self._more_to_send |= self._clients.turn(now, idle=not ready)
        self._more_to_tend = self._journal.tend(self.sinks.consumed(self._consumed), idle=not ready)
        if self._meter:
            self._meter.turn(self)
        self._done = self._done or self._ending.is_over(self.source.feed if self.source else None, now)
        self._acknowledgements.turn(math.inf if self._done else now)
        self._notifier.watchdog(now)
        if now >= self._status_at:
            self._status_at = now + _STATUS_EVERY_S
            self._notifier.status(self._status())

    @property
    def _consumed(self) -> int:
        """Results up to this number are of no use to the generator any more."""
        if self.source:
            return self.source.consumed
        progress = self.scheduler.state.progress
        return progress.cursor_consumed if self._options.feed else self.scheduler.state.number

    def _say_what_was_recovered(self) -> None:
        state = self.scheduler.state
        if state.last_id:
            log.info(
                "epoch=%d: %d tasks are done, %d open, %d of them may run on %d controllers",
                state.epoch,
                self.scheduler.done_tasks,
                state.open_tasks,
                self.scheduler.leased_tasks,
                len(state.awaited),
            )

    def _receive(self, now: float) -> bool:
        """Whether nothing was left unread: only then is it known who is silent."""
        before = self.traffic.received
        come = self._gate.receive(self._socket, _MESSAGES_PER_TURN, now)
        for peer, message, entry in itertools.chain(self._room.leave(), come):
            if isinstance(message, Refused):
                self._out += self.scheduler.shut_out(peer, message.text, now)
                self._out.append(actions.Send(peer, message))
            elif isinstance(message, FromClient):
                self._out += self._clients.ask(peer, message, entry, now)
            else:
                self._out += self.scheduler.handle(peer, message, now)
                if isinstance(message, Output):
                    self._clients.told(peer, message)
        return self.traffic.received - before < _MESSAGES_PER_TURN

    def _on_generator_failure(self, now: float) -> None:
        failure = self.source.failure if self.source else None
        if failure and not self.scheduler.stopping:
            log.error("the generator failed: %s: %s", failure.type, failure.message)
            for line in failure.traceback.splitlines():
                log.error("    %s", line)
            self._stop(now, f"the generator failed: {failure.type}: {failure.message}")

    def _carry_out(self, now: float) -> None:
        """The order is the promise: record, make it durable, and only then let anybody know."""
        wanted, self._out = self._out, []
        events = [action.event for action in wanted if isinstance(action, actions.Record)]
        if events:
            self._recorder.append(events)
            if self._meter:
                self._meter.appended(events)
            self._clients.recorded(events)
        for action in wanted:
            match action:
                case actions.Send(_, Recorded()):
                    self._acknowledgements.add(action, now)
                case actions.Send(peer, message):
                    if isinstance(message, Tasks):
                        self._acknowledgements.flush()
                    self._send(peer, message)
                case actions.Deliver():
                    self._deliver(action)
                case actions.Consult() | actions.Follow():
                    self._clients.carry_out(action, now)
                case actions.Say(level, text, nodes):
                    text += f" {fold_nodes(nodes)}" if nodes else ""
                    log.log(logging.WARNING if level == "warning" else logging.INFO, "%s", text)
                case actions.Load(firsts):
                    self._out += self.scheduler.loaded(map(self._journal.load, firsts), now)
                    # The next turn hands them out, and there may be nothing else that it could wait for.
                    self._has_loaded = True
                case actions.Finish():
                    self._ending.finish(time.monotonic())
                    if self.source:
                        self.source.finish()

    def _meter_failing(self) -> None:
        if self._meter:
            self._meter.failing(self)

    def _send(self, peer: bytes, message: AnyFromMaster | AnyToClient) -> bool:
        """False where its queue is full: as if lost, and healed like any loss."""
        frames = wire.encode(message)
        try:
            send_at_once(self._socket, [peer, *frames])
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self.scheduler.unreachable(peer)
            self._clients.gone(peer)
            return True
        if not isinstance(message, ToClient):
            for listener in self._listeners:
                listener.sent(message)
        self.traffic.on_sent(frames)
        return True

    def _deliver(self, results: actions.Deliver) -> None:
        number, block = results.number, results.block
        for listener in self._listeners:
            listener.recorded(block)
        if self._meter and results.leased_at:
            self._meter.delivered(block, results.leased_at)
        self.sinks.deliver(number, block)
        self._clients.deliver(number, block, results.parts)
        if self.source:
            self.source.deliver(number, block, results.parts)
        elif not self._options.feed:
            self.scheduler.consume(number)

    def _on_signals(self, now: float) -> None:
        for number in self._wakeup.take():
            self._stops += 1
            self._signal = number
            if self._stops > 1:
                log.warning("stopped at once by a second %s", signal.Signals(number).name)
                self._done = True
            else:
                log.info("%s: no more dispatch, waiting for what runs", signal.Signals(number).name)
                self._stop(now, signal.Signals(number).name)

    def _stop(self, now: float, reason: str) -> None:
        self._clients.log.stopping(reason)
        self._notifier.stopping("waiting for what runs")
        self._out += self.scheduler.stop(now)
        self._ending.stop(now)

    def _status(self) -> str:
        if self._ending.is_draining:
            return "waiting for sinks"
        state = self.scheduler.state
        return (
            f"{len(state.sessions)} controllers, {self.scheduler.leased_tasks} tasks out, "
            f"{state.lanes.waiting} waiting, {self.scheduler.done_tasks} done"
        )

    def _outcome(self) -> Outcome:
        state, feed = self.scheduler.state, self.source.feed if self.source else None
        behind = self.sinks.lacking(is_patient=True)
        outcome = Outcome(dict(state.ended), state.open_tasks, signal=self._signal, behind=behind)
        rest = "the next master on this journal sends them" if self._journal.replays else "they are lost to it"
        for sink in behind:
            log.warning("sink %s lacks %d result blocks, from %d on: %s", sink.name, sink.lag, sink.position + 1, rest)
        if feed:
            outcome.failure = feed.failure
            outcome.summary = dict(feed.summary or {})
        log.info(
            "master ends: %s, %d unfinished",
            ", ".join(f"{n} {s}" for s, n in state.ended.items() if n) or "no results",
            state.open_tasks,
        )
        return outcome
