"""The controller's side of the session with its master: greeting, retrying, credit, heartbeat. PURE.

Owns what is counted per session and when to say hello again. Decides nothing about tasks; the agent does.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cyclone.protocol import limits, messages
from cyclone.protocol.messages import Hello, Offer, Pong, Refused, State, TaskRange, Tasks, Welcome

RETRY_WAIT_MAX_S = 30.0
# After a loss not every controller of a cluster may greet in the same instant.
RECONNECT_SPREAD_S = 0.2
# A State without an answer is said again after this share of the time-out: the slowest heartbeat, 0.6 of it, has room
# for two that are lost, and a master that is behind is not asked all the time.
REPEAT_SHARE = 1 / 8


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this controller is: a name that stays, an incarnation (32 hexadecimal digits) for each start; what it has."""

    name: str
    incarnation: str
    host: str
    pid: int
    version: str
    python: str
    offer: Offer = Offer()


class Link:
    """``retry_wait_s`` is the first wait between two hellos, doubled up to a bound; ``retries_max`` 0 is for ever."""

    def __init__(self, identity: Identity, retry_wait_s: float, retries_max: int, jitter: Callable[[], float]) -> None:
        self.identity = identity
        self.session: Welcome | None = None
        self.journal_id, self.epoch = "", 1
        self.granted = 0
        self._retry_wait_s = retry_wait_s
        self._retries_max = retries_max
        self._jitter = jitter
        self._connected = self._greeted = False
        self._hello_at = 0.0
        self._hellos = 0
        self._heard_at = 0.0
        self._state_at = self._heartbeat_s = 0.0
        self._state_seq = self._tasks_seq = self._received = self._granted_told = self._slots_told = 0
        self._hello_sent = self._lease_from = self._lease_s = 0.0
        self._probe: tuple[int, float] | None = None
        self._said_at = 0.0

    @property
    def deadline(self) -> float:
        """When there is something to say, whatever else happens."""
        return self._state_at if self.session else self._hello_at

    @property
    def given_up(self) -> bool:
        """Whether the allowed retries are used up."""
        return self.session is None and 0 < self._retries_max < self._hellos

    def connected(self, now: float) -> None:
        """A connection stands; the master knows nothing of who is at our end of it."""
        self.session, self._connected = None, True
        self._hello_at = now + (RECONNECT_SPREAD_S * self._jitter() if self._greeted else 0.0)

    def greet_again(self, now: float) -> None:
        """The session is of no use any more."""
        self.session, self._hello_at = None, now

    def greet_later(self, now: float) -> None:
        """The master does not want us yet."""
        self.session, self._hello_at = None, now + self._wait_s()

    def concerns(self, message: Welcome | Refused) -> bool:
        """Whether this is about us and not about an earlier owner of the connection."""
        return message.incarnation in ("", self.identity.incarnation)

    def open(self, welcome: Welcome, now: float) -> None:
        """A session begins; everything is counted from zero."""
        self.session = welcome
        self.journal_id, self.epoch = welcome.journal_id, welcome.epoch
        self._hellos = 0
        self._heartbeat_s = welcome.heartbeat_s
        self._lease_from, self._lease_s = self._hello_sent, welcome.controller_timeout_s
        self._probe = None
        self._greeted = True
        self._heard_at = self._state_at = now
        self._state_seq = self._tasks_seq = self._received = self.granted = self._granted_told = 0

    def heard(self, now: float) -> None:
        """Any message of the session is a sign of life."""
        self._heard_at = now

    def silent_s(self, now: float) -> float:
        """How long the master of the open session has been silent beyond its time-out, 0 if it has not."""
        if not self.session or now - self._heard_at <= self.session.controller_timeout_s:
            return 0.0
        return now - self._heard_at

    def take_tasks(self, tasks: Tasks) -> bool:
        """Whether these leases may be taken: in order, and within the credit. Others count as lost on the way."""
        if tasks.seq <= self._tasks_seq:
            return False
        self._tasks_seq, self._received = tasks.seq, tasks.sent
        return tasks.sent <= self.granted

    def lease_ended(self, now: float) -> bool:
        """Whether the master may have given us up, counted from when we said what it has answered since.

        Never later than the master itself comes to think so, because it counts from when it heard us.
        """
        return now > self._lease_from + self._lease_s

    def take_pong(self, pong: Pong) -> None:
        """What was sent before this answer has arrived, or never will."""
        self._heartbeat_s = pong.heartbeat_s or self._heartbeat_s
        if pong.seq == self._state_seq:
            self._state_at = self._said_at + self._heartbeat_s
        if self._probe and pong.seq >= self._probe[0]:
            self._lease_from = self._said_at if pong.seq == self._state_seq else self._probe[1]
            self._probe = None
        self._tasks_seq = max(self._tasks_seq, pong.tasks_seq)
        self._received = max(self._received, pong.sent)

    def grant(self, room: int) -> None:
        """The master may have this many more tasks on the way to us in all."""
        self.granted = max(self.granted, min(self._received + max(0, room), limits.ID_MAX))

    def hello(self, now: float, slots: int, held: Callable[[], list[TaskRange]]) -> Hello | None:
        """A greeting when it is time for one. Without a connection the attempt counts all the same."""
        if self.session or self._hello_at > now:
            return None
        self._hello_at = now + self._wait_s()
        self._hellos += 1
        if not self._connected:
            return None
        self._hello_sent = now
        who = self.identity
        return Hello(
            limits.PROTOCOL_VERSION,
            who.name,
            who.incarnation,
            self.journal_id,
            self.epoch,
            who.host,
            who.pid,
            who.version,
            who.python,
            slots,
            held(),
            who.offer,
        )

    def state(
        self,
        now: float,
        slots: int,
        busy: int,
        held: Callable[[], list[TaskRange]],
        results_soon: bool,
        running: Callable[[], list[TaskRange]] = list,
        resting: int = 0,
    ) -> State | None:
        """A heartbeat when it is time, when other slots are live, or for credit that no results will soon carry."""
        if not self.session:
            return None
        news = slots != self._slots_told or (self.granted > self._granted_told and not results_soon)
        if self._state_at > now and not news:
            return None
        self._slots_told = slots
        self._state_seq += 1
        if self._probe is None:
            self._probe = (self._state_seq, now)
        self._said_at = now
        self._state_at = now + min(self._heartbeat_s, self.session.controller_timeout_s * REPEAT_SHARE)
        session = self.session.session
        return State(session, self._state_seq, self._tasks_seq, self.told(), slots, busy, held(), running(), resting)

    def told(self) -> int:
        """The credit, to be put into a message."""
        self._granted_told = self.granted
        return self.granted

    def _wait_s(self) -> float:
        wait_s = min(self._retry_wait_s * float(1 << min(self._hellos, 16)), RETRY_WAIT_MAX_S)
        return wait_s * (0.5 + self._jitter() / 2)


FATAL = (messages.SUPERSEDED, messages.VERSION, messages.FORBIDDEN)
