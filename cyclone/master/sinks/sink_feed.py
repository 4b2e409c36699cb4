"""A sink as the master sees it: a connection, how far it has come, and recorded blocks in order until it has them all.

Owns one DEALER and what is under way on it. The sink remembers how far it has come, so that nothing is written down
here: what it lacks is read again, from the journal. Nothing that a sink does, or fails to do, blocks or ends the
master: what it says is checked, what it does not take waits where it is, and each call does a bounded piece of work.
The caller owes: both sockets polled, ``recorded`` for each block that is, ``turn`` once per turn.
"""

import logging
import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import zmq
from zmq.utils.monitor import recv_monitor_message

from cyclone.errors import ConfigError, ProtocolError
from cyclone.logs import RateLimit
from cyclone.master.follower import Earlier, Follower
from cyclone.master.sinks.sink_window import Window
from cyclone.protocol import wire
from cyclone.protocol.messages import Refused
from cyclone.protocol.sink_messages import AnyToSink, Attach, Attached, Blocks, Stored
from cyclone.protocol.sockets import (
    ClientKeys,
    controller_socket,
    handshake_fault,
    receive_all,
    reconnect,
    send_at_once,
)

log = logging.getLogger("cyclone.master")

_MESSAGES_PER_TURN = 64
_ATTACH_EVERY_S = 2.0
# How long a sink may take to spool what it got, and so long a silence is one.
ANSWER_S = 10.0
# An attached sink that is sent nothing is asked how far it is, so that each knows that the other is there.
_IDLE_S = 60.0
# A sink whose spool is full is tried with one message.
_FULL_RETRY_S = 1.0
# One that does not want us, or cannot be right, will hardly think better of it soon.
_REFUSED_RETRY_S = 30.0
# How long ZeroMQ gets to say that it tries a lost connection again.
_RECONNECT_WAIT_S = 1.0
# A sink that lacks what the master had so long ago is behind. It is said once, and again so seldom.
_BEHIND_S = 30.0
_BEHIND_AGAIN_S = 600.0


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """``targets`` are host:port; ``host`` is what the master calls itself to them."""

    targets: tuple[str, ...] = ()
    keys: ClientKeys | None = None
    host: str = "master"


class SinkStatus(NamedTuple):
    """One sink. ``position`` is the last result block that is on its disk, ``lag`` how many follow.

    ``gone`` counts those that it lacked and that were not to be had any more, ``full`` is why it takes nothing for now.
    """

    name: str
    attached: bool
    position: int
    lag: int
    sent_bytes: int
    gone: int
    bad_messages: int
    full: str


class SinkFeed:
    """See the module. ``last`` is the number of the latest results that are recorded."""

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        target: str,
        keys: ClientKeys | None,
        greeting: Attach,
        earlier: Earlier[bytes],
        last: int,
    ) -> None:
        self.name = target
        host, _, port = target.rpartition(":")
        self._host, self._port, self._with_keys = host.strip("[]"), int(port), keys is not None
        try:
            self.socket, self.monitor = controller_socket(context, self._host, self._port, keys)
        except ConfigError:
            raise ConfigError(f"[sink] targets: {target!r} is no host and port to connect to") from None
        self._greeting = greeting
        self._follower = Follower(earlier, 0)
        self._window = Window(0)
        self._last = last
        self.attached = False
        self._sent_bytes = self._bad_messages = self._gone = 0
        self._full = ""
        self._full_said = False
        self._ahead_of: int | None = None
        self._log_limit = RateLimit()
        self._attach_at = self._full_until = -math.inf
        self._answer_by = self._reconnect_at = math.inf
        self._look_at, self._looked_last = time.monotonic() + ANSWER_S, last
        self._said_behind_at = -math.inf
        # How many are gone that nobody was told of, and up to where they were counted: they may have to be sent again.
        self._unsaid = self._gone_up_to = 0

    @property
    def stored(self) -> int:
        """All results up to this number are on its disk, as far as it has told; 0 until it has."""
        return self._window.stored

    def status(self) -> SinkStatus:
        """For people and metrics."""
        position = self.stored
        return SinkStatus(
            self.name,
            self.attached,
            position,
            self._last - position,
            self._sent_bytes,
            self._gone,
            self._bad_messages,
            self._full,
        )

    def recorded(self, number: int) -> bool:
        """Results are recorded just now; whether they can be sent from memory: then ``take`` is owed."""
        self._last = number
        return self.attached and not self._full and self._window.has_room and self._follower.follows(number)

    def take(self, sealed: bytes) -> None:
        """What ``recorded`` has said yes to."""
        self._window.add(sealed)

    def receive(self, ready: dict[object, int], now: float) -> None:
        """What the sink and its connection say."""
        if self.monitor in ready:
            self._on_connection(now)
        if self.socket in ready:
            for frames in receive_all(self.socket, _MESSAGES_PER_TURN):
                try:
                    message = wire.decode_from_sink(frames)
                except ProtocolError as error:
                    self._on_rubbish(str(error), now)
                    continue
                self._handle(message, now)

    def turn(self, now: float, until: float) -> bool:
        """Send what is due, reading what it lacks up to the monotonic time ``until``; whether there is more at once."""
        if self._reconnect_at <= now:
            self._reconnect_at = math.inf
            reconnect(self.socket, self._host, self._port)
        if self._answer_by <= now:
            self._detach(now, f"no answer for {ANSWER_S:g} s")
        if self._attach_at <= now:
            self._attach(now)
        more = False
        if self.attached and now >= self._full_until:
            more = self._catch_up(until)
            self._send_due(now)
        self._say_what_is_gone(now)
        if self._look_at <= now:
            self._say_how_far(now)
        return more

    def close(self) -> None:
        """What is under way is not waited for."""
        self._say_what_is_gone(math.inf)
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close(linger=0)

    # The connection.

    def _on_connection(self, now: float) -> None:
        event = recv_monitor_message(self.monitor)["event"]
        # A retry follows a loss at once, or never: then the other end is no sink, or one that has lost its mind.
        self._reconnect_at = now + _RECONNECT_WAIT_S if event == zmq.EVENT_DISCONNECTED else math.inf
        if reason := handshake_fault(event, self._with_keys, "sink"):
            self._warn(reason, now)
        if event == zmq.EVENT_DISCONNECTED:
            self._detach(now, "the connection is lost")
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._attach_at = now

    def _attach(self, now: float) -> None:
        self._attach_at = now + _ATTACH_EVERY_S
        if self._send(self._greeting) and self.attached:
            self._answer_by = min(self._answer_by, now + ANSWER_S)

    def _detach(self, now: float, reason: str, retry_s: float = 0.0) -> None:
        if self.attached:
            self._warn(f"{reason}; what it lacks is kept, and sent when it answers", now)
        self.attached, self._full = False, ""
        self._answer_by = math.inf
        self._attach_at = now + retry_s
        self._look_at = min(self._look_at, now + ANSWER_S)

    # What the sink says.

    def _handle(self, message: Attached | Stored | Refused, now: float) -> None:
        match message:
            case Refused():
                self._warn(f"we are refused: {message.text}", now, key="refused")
                self._detach(now, "we are refused", _REFUSED_RETRY_S)
            case _ if message.journal_id != self._greeting.journal_id:
                self._on_rubbish(f"an answer about another journal, {message.journal_id}", now)
            case Attached(_, number):
                self._on_attached(number, now)
            case Stored(_, number, full):
                # Of a former connection it says nothing about this one.
                if self.attached:
                    self._on_stored(number, full, now)

    def _on_attached(self, number: int, now: float) -> None:
        if number > self._last:
            # For good, for what comes under those numbers now is not what it has.
            self._ahead_of = self._last if self._ahead_of is None else self._ahead_of
        if self._ahead_of is not None:
            self._warn(
                f"it has {number} result blocks of a journal that had {self._ahead_of}: that is an older copy of the "
                "journal; nothing is sent, for the sink would take it for what it has",
                now,
                logging.ERROR,
                key="ahead",
            )
            self._detach(now, "it is ahead", _REFUSED_RETRY_S)
            return
        if self.attached and self._window.acknowledged(number) and number == self._window.stored:
            self._on_progress(now)
            return
        if number < self._window.stored:
            self._warn(
                f"has {number} result blocks where it had {self._window.stored}: its spool was lost; what is still "
                "there is sent again",
                now,
                logging.ERROR,
                key="lost",
            )
            self._gone_up_to = number
        elif not self.attached:
            log.info("sink %s: attached, it has %d of %d result blocks", self.name, number, self._last)
        self.attached = True
        self._full, self._full_until = "", -math.inf
        self._begin_behind(number)
        self._on_progress(now)

    def _on_stored(self, number: int, full: str, now: float) -> None:
        before = self._window.stored
        if not self._window.acknowledged(number):
            self._on_rubbish(f"it claims to have {number}, which it was not sent", now)
            return
        if full:
            if not self._full and self._log_limit.allow("full", now):
                self._full_said = True
                log.warning("sink %s: takes nothing more, results wait in the journal: %s", self.name, full)
            is_answer, self._full = not self._full or now >= self._full_until, full
            if is_answer:
                self._full_until = now + _FULL_RETRY_S
                self._begin_behind(self._window.stored)
            self._on_progress(now)
        elif number > before:
            self._full, self._window.probing = "", False
            if self._full_said:
                self._full_said = False
                log.info("sink %s: takes results again", self.name)
            self._on_progress(now)

    def _on_progress(self, now: float) -> None:
        """It lives. When it is to say something again."""
        waits = self._window.waits
        self._answer_by = now + ANSWER_S if waits else math.inf
        self._attach_at = math.inf if waits else now + _IDLE_S

    def _on_rubbish(self, reason: str, now: float) -> None:
        self._bad_messages += 1
        self._warn(f"dropped a bad message ({self._bad_messages} in all): {reason}", now, key="rubbish")

    # What it gets.

    def _begin_behind(self, number: int) -> None:
        """What was under way is sent again, from what the sink has."""
        self._window = Window(number)
        self._window.probing = bool(self._full)
        self._follower.go_to(number)

    def _catch_up(self, until: float) -> bool:
        """Read what was recorded before the sink could take it; whether there is more that it could take at once."""
        while self._window.has_room and self._follower.position < self._last:
            found = self._follower.next(self._last)
            if found is None:
                # The journal has nothing more up to here.
                self._follower.go_to(self._last)
            self._skip_to(found[0] - 1 if found else self._last)
            if found:
                self._window.add(found[1])
            if time.monotonic() >= until:
                break
        return self._window.has_room and self._follower.position < self._last

    def _skip_to(self, number: int) -> None:
        """What is between is gone, if anything is."""
        counted = max(self._window.taken, self._gone_up_to)
        if self._window.skip(number) and number > counted:
            self._gone += number - counted
            self._unsaid += number - counted
            self._gone_up_to = number

    def _send_due(self, now: float) -> None:
        waited = self._window.waits
        while due := self._window.due():
            first, blocks = due
            if not self._send(Blocks(self._greeting.journal_id, first, blocks)):
                self._detach(now, "it does not read what it is sent", _ATTACH_EVERY_S)
                return
        if self._window.waits and not waited:
            self._on_progress(now)

    def _send(self, message: AnyToSink) -> bool:
        """Whether it has left: there is a connection, and room in its queue."""
        frames = wire.encode(message)
        try:
            send_at_once(self.socket, frames)
        except zmq.Again:
            return False
        self._sent_bytes += sum(map(len, frames))
        return True

    # What people hear of it.

    def _say_how_far(self, now: float) -> None:
        """Once and then seldom while it is behind, and when it is not any more."""
        is_behind = not self.attached or self.stored < self._looked_last
        self._look_at, self._looked_last = now + _BEHIND_S, self._last
        if is_behind and now - self._said_behind_at >= _BEHIND_AGAIN_S:
            self._said_behind_at = now
            away = "no answer" if self._ahead_of is None else "this journal is an older copy"
            why = self._full or ("it is slower than they come" if self.attached else away)
            lag = self._last - self.stored
            log.warning("sink %s: is behind by %d result blocks, after %d: %s", self.name, lag, self.stored, why)
        elif self._said_behind_at > -math.inf and not is_behind:
            self._said_behind_at = -math.inf
            log.info("sink %s: is not behind any more", self.name)

    def _say_what_is_gone(self, now: float) -> None:
        if self._unsaid and self._log_limit.allow("gone", now):
            log.error(
                "sink %s: lacks %d result blocks, the last of them %d, that are not to be had any more: they are lost "
                "to it",
                self.name,
                self._unsaid,
                self._gone_up_to,
            )
            self._unsaid = 0

    def _warn(self, text: str, now: float, level: int = logging.WARNING, key: str = "") -> None:
        if self._log_limit.allow(key or text, now):
            log.log(level, "sink %s: %s", self.name, text)
