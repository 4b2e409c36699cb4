"""A sink's body: takes recorded blocks from masters into the spool, and says how far it has come. Decides nothing.

One loop, one thread, as the master's. A turn reads what masters have sent (bounded), spools it, and only then answers.
What becomes of the blocks is the consumer's, in a thread of its own, so that a slow database never keeps the socket
from being served. The caller owes: the main thread, one call of ``run``, and ``close`` of the spool after it.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import zmq

from cyclone.logs import RateLimit
from cyclone.notify import Notifier
from cyclone.processes import SignalWakeup, raise_descriptor_limit, spare_the_collector
from cyclone.protocol import limits, wire
from cyclone.protocol.messages import Refused
from cyclone.protocol.sink_messages import AnyFromSink, AnyToSink, Attach, Attached, Blocks, Stored
from cyclone.protocol.sockets import POLLIN, master_socket, send_at_once
from cyclone.protocol.traffic import Traffic
from cyclone.security.gate import GateOptions, PeerGate
from cyclone.sinks.spool import Spool, SpoolFull, SpoolGap

log = logging.getLogger("cyclone.sink")

_MESSAGES_PER_TURN = 256
# Blocks that are spooled in one transaction: a disk is waited for once for all of them.
_BATCH_BYTES_MAX = 8 << 20
_STATUS_EVERY_S = 5.0
# A master that says nothing for so long is not counted any more; one that has nothing to send attaches every minute.
_HEARD_WITHIN_S = 180.0


class Consumer(Protocol):
    """Who takes the blocks out of the spool, in a thread of its own. All of this is called from the main thread."""

    def start(self, wake: Callable[[], None]) -> None:
        """Begin. ``wake`` has the main loop look at ``state`` at once; any thread may call it."""

    def stored(self, now: float) -> None:
        """Something was spooled, at this monotonic time. Must return at once."""

    def state(self) -> str:
        """How it goes, in a few words for people. Raises CycloneError where it has ended and will not go on."""

    def stop(self, wait_s: float) -> None:
        """Store what waits as far as that goes within the time, and end the thread; what is left stays spooled.

        Called in any case once it was started, also where it has ended by itself.
        """


class Meter(Protocol):
    """Who counts, for metrics. Must be quick; raising ends the sink."""

    def turn(self, receiver: "Receiver") -> None:
        """A turn of the loop has ended."""


@dataclass(frozen=True, slots=True)
class ReceiverOptions:
    """Where to bind, and what concerns only the body. ``name`` is what the log calls it. Durations in seconds."""

    name: str
    target: str
    port: int
    poll_timeout_s: float
    stop_timeout_s: float
    gate: GateOptions = GateOptions()


class ReceiverStatus(NamedTuple):
    """What there is to count. ``full`` is why nothing is taken for now, '' where it is; ``gaps`` counts lost blocks."""

    masters: int
    blocks: int
    gaps: int
    full: str
    bad_messages: int
    refused_connections: int
    traffic: Traffic


class _Gathered:
    """Blocks of one journal, one after the other, and who waits for the answer."""

    def __init__(self, peer: bytes, message: Blocks) -> None:
        self.journal_id = message.journal_id
        self.first = message.first
        self.blocks = list(message.blocks)
        self.bytes = sum(map(len, message.blocks))
        self.peers = {peer}

    def add(self, peer: bytes, message: Blocks) -> bool:
        """Whether these go on where those end, and there is room."""
        size = sum(map(len, message.blocks))
        goes_on = message.journal_id == self.journal_id and message.first == self.first + len(self.blocks)
        if not goes_on or self.bytes + size > _BATCH_BYTES_MAX:
            return False
        self.blocks += message.blocks
        self.bytes += size
        self.peers.add(peer)
        return True


class Receiver:
    """See the module. The socket is bound by the constructor, so that ``port`` is known before anything is started.

    Raises AlreadyRunning when the port is taken, ConfigError when the address or the keys cannot be used.
    """

    def __init__(self, options: ReceiverOptions, spool: Spool, consumer: Consumer, meter: Meter | None = None) -> None:
        self._options = options
        self._meter = meter
        # When the wait of this turn was over, in monotonic seconds.
        self.woke_at = 0.0
        self._spool = spool
        self._consumer = consumer
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        raise_descriptor_limit()
        try:
            self._gate: PeerGate[AnyToSink] = PeerGate(self._context, options.gate, wire.decode_for_sink)
            self._socket, self.port = master_socket(self._context, options.target, options.port, self._gate.keys)
        except BaseException:
            self._context.destroy()
            raise
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._log_limit = RateLimit()
        # Of each journal when it was heard of last, and what its master calls itself.
        self._heard: dict[str, tuple[float, str]] = {}
        self._blocks = self._gaps = 0
        self._full = ""
        self._full_said = False
        self._gathered: _Gathered | None = None
        self._status_at = 0.0
        self._done = False

    def status(self) -> ReceiverStatus:
        """Counters since the start; any thread may ask."""
        gate = self._gate
        return ReceiverStatus(
            masters=len(self._heard),
            blocks=self._blocks,
            gaps=self._gaps,
            full=self._full,
            bad_messages=gate.bad_messages,
            refused_connections=gate.refused_connections,
            traffic=gate.traffic,
        )

    def run(self) -> int:
        """Until a signal stops it; the exit code. Raises SpoolBroken, and what the consumer's ``state`` raises."""
        wakeup = SignalWakeup(signal.SIGTERM, signal.SIGINT)
        notifier = Notifier.from_environment()
        poller = zmq.Poller()
        for readable in (self._socket, *self._gate.readable, wakeup.fileno(), self._wake):
            poller.register(readable, POLLIN)
        try:
            options = self._options
            log.info("%s at %s port %d, spool %s", options.name, options.target, self.port, self._spool.path)
            self._consumer.start(self.wake)
            wait_ms = int(notifier.longest_wait_s(options.poll_timeout_s) * 1000)
            notifier.ready("waiting for masters")
            spare_the_collector()
            while not self._done:
                self._turn(dict(poller.poll(wait_ms)), wakeup, notifier)
            notifier.stopping("storing what waits")
            notifier.extend_timeout(options.stop_timeout_s)
        finally:
            self._socket.close()
            self._gate.close()
            self._context.destroy()
            # From here on a second signal ends the process as it would any: what was acknowledged is on the disk.
            wakeup.close()
            self._consumer.stop(self._options.stop_timeout_s if self._done else 0.0)
        log.info("%s ends: %d blocks stay spooled", options.name, self._spool.waiting_blocks)
        return 0

    def wake(self) -> None:
        """Have the loop take a turn now; any thread may call it."""
        os.eventfd_write(self._wake, 1)

    def _turn(self, ready: dict[object, int], wakeup: SignalWakeup, notifier: Notifier) -> None:
        self.woke_at = now = time.monotonic()
        if wakeup.fileno() in ready:
            for number in wakeup.take():
                log.info("%s: nothing more is taken, storing what waits", signal.Signals(number).name)
                self._done = True
        if self._wake in ready:
            os.eventfd_read(self._wake)
        self._gate.serve(now)
        if self._socket in ready:
            self._receive(now)
        state = self._consumer.state()
        if self._meter:
            self._meter.turn(self)
        notifier.watchdog(now)
        if now >= self._status_at:
            self._status_at = now + _STATUS_EVERY_S
            self._forget_silent(now)
            waiting = f"{self._spool.waiting_blocks} blocks wait" + (", full" if self._full else "")
            notifier.status(f"{len(self._heard)} masters, {waiting}, {state}")

    def _receive(self, now: float) -> None:
        for peer, message, _ in self._gate.receive(self._socket, _MESSAGES_PER_TURN, now):
            match message:
                case Refused():
                    self._send(peer, message)
                case Attach():
                    self._flush(now)
                    self._on_attach(peer, message, now)
                case Blocks():
                    if not (self._gathered and self._gathered.add(peer, message)):
                        self._flush(now)
                        self._gathered = _Gathered(peer, message)
        self._flush(now)

    def _on_attach(self, peer: bytes, message: Attach, now: float) -> None:
        position = self._spool.position(message.journal_id)
        if message.journal_id not in self._heard:
            kind = "" if message.durable else ", which keeps no journal"
            log.info("master on %s attached, journal %s at %d%s", message.name, message.journal_id, position, kind)
        self._heard[message.journal_id] = now, message.name
        self._send(peer, Attached(message.journal_id, position))

    def _flush(self, now: float) -> None:
        """Spool what was gathered, and answer."""
        gathered, self._gathered = self._gathered, None
        if gathered is None:
            return
        journal_id, before = gathered.journal_id, self._spool.position(gathered.journal_id)
        _, name = self._heard.get(journal_id, (now, "an unnamed host"))
        self._heard[journal_id] = now, name
        try:
            self._spool.put(journal_id, gathered.first, gathered.blocks)
            self._note_full("", now)
        except SpoolFull as error:
            self._note_full(str(error), now)
        except SpoolGap as error:
            # Behind what there was no room for there is always one.
            if not self._full and self._log_limit.allow(("gap", journal_id), now):
                log.warning("refused from the master on %s: %s; it is told so", name, error)
        number = self._spool.position(journal_id)
        if number > before:
            self._count(gathered, before, name)
            self._consumer.stored(now)
        for peer in gathered.peers:
            self._send(peer, Stored(journal_id, number, self._full[: limits.TEXT_CHARS_MAX]))

    def _count(self, gathered: _Gathered, before: int, name: str) -> None:
        new = gathered.blocks[before + 1 - gathered.first :]
        lost = new.count(b"")
        self._blocks += len(new) - lost
        self._gaps += lost
        if lost:
            first = before + 1 + new.index(b"")
            log.error(
                "%d result blocks of journal %s, from %d on, are lost here: the master on %s has them no more",
                lost,
                gathered.journal_id,
                first,
                name,
            )

    def _note_full(self, full: str, now: float) -> None:
        if full and not self._full and self._log_limit.allow("full", now):
            self._full_said = True
            log.error("nothing more is taken until there is room, and masters wait: %s", full)
        elif self._full_said and not full:
            self._full_said = False
            log.info("there is room again: blocks are taken")
        self._full = full

    def _forget_silent(self, now: float) -> None:
        self._heard = {
            journal_id: heard for journal_id, heard in self._heard.items() if now - heard[0] < _HEARD_WITHIN_S
        }

    def _send(self, peer: bytes, message: AnyFromSink | Refused) -> None:
        frames = wire.encode(message)
        try:
            send_at_once(self._socket, frames=[peer, *frames])
        except (zmq.Again, zmq.ZMQError) as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            # It is gone, or does not read: it asks again.
            return
        self._gate.traffic.on_sent(frames)
