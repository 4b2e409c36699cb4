"""Clients as the master's body sees them: who asks, what the brain says to it, and what is looked up or followed.

Stands between the gate, the scheduler and the journal. Owns whether a client may submit at all, and that the key of a
submit is its user's alone; all other rights the brain knows. ``log`` is what has happened. The caller owes: ``ask`` for
each request, ``carry_out`` for the actions Consult and Follow, ``recorded`` and ``deliver`` for what is, in its order,
and ``turn`` once per turn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from msgspec import structs

from cyclone.master.actions import Action, Consult, Follow, Send
from cyclone.master.clients.archive_answers import ArchiveAnswers
from cyclone.master.clients.client_feeds import ClientFeeds
from cyclone.master.clients.event_log import EventLog
from cyclone.master.clients.output_relay import OutputRelay
from cyclone.master.events import ControllerLeft, JobEnded, Recorded
from cyclone.master.jobs.rights import ANYBODY, Who
from cyclone.master.journal import Journal
from cyclone.master.scheduler import Scheduler
from cyclone.protocol.event_messages import EventsRequest
from cyclone.protocol.job_messages import (
    NOT_ALLOWED,
    SEALED,
    AnyFromClient,
    AnyToClient,
    OutputRequest,
    ProcessedRequest,
    SubmitRequest,
    Submitted,
)
from cyclone.protocol.messages import AnyFromMaster, Output
from cyclone.results import RecordedBlock
from cyclone.security.key_files import PeerEntry


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """``may_submit`` is False where this master takes no jobs; ``refusal`` says why, and what would help."""

    may_submit: bool = False
    refusal: str = "this master takes no jobs: set [clients] submit = yes"


class ClientDesk:
    """See the module. ``send`` gives a message to a peer; False where its queue is full."""

    def __init__(
        self,
        options: ClientOptions,
        scheduler: Scheduler,
        journal: Journal,
        send: Callable[[bytes, AnyToClient | AnyFromMaster], bool],
    ) -> None:
        self._options = options
        self._scheduler = scheduler
        self._journal = journal
        self._send = send
        self._archive = ArchiveAnswers(scheduler, journal)
        self._feeds = ClientFeeds(journal, send, scheduler.state.number)
        self._outputs = OutputRelay(scheduler, journal, send, send)
        self.log = EventLog(scheduler, journal)

    def ask(self, peer: bytes, request: AnyFromClient, entry: PeerEntry | None, now: float) -> list[Action]:
        """What follows from a request of somebody with this key, None where nobody is asked for one."""
        who = Who(entry.name, entry.role == "admin") if entry else ANYBODY
        if isinstance(request, EventsRequest):
            return [Send(peer, self.log.answer(request))]
        actions = self._asked(peer, request, who, now)
        self.log.asked(request, actions, who.name)
        return actions

    def _asked(self, peer: bytes, request: AnyFromClient, who: Who, now: float) -> list[Action]:
        if isinstance(request, OutputRequest):
            self._outputs.ask(peer, request)
            return []
        if isinstance(request, ProcessedRequest):
            return self._scheduler.answer(peer, request, now, who, self._ended_job(request, who))
        if not isinstance(request, SubmitRequest):
            return self._scheduler.answer(peer, request, now, who)
        request = structs.replace(request, key=_own_key(request.key, who))
        known_job = self._journal.job_of_key(request.key)
        if known_job is None and not self._options.may_submit:
            refused = Submitted(
                request.request, 0, 0, sealed=False, room=0, code=NOT_ALLOWED, text=self._options.refusal
            )
            return [Send(peer, refused)]
        if known_job is not None and (surplus := self._surplus(request, known_job)):
            return [Send(peer, surplus)]
        return self._scheduler.answer(peer, request, now, who, known_job)

    def _surplus(self, request: SubmitRequest, job_id: int) -> Submitted | None:
        """The refusal of tasks that the job of this key did not get before it ended; None where there are none."""
        found, block = self._journal.ended_job(job_id), request.block
        if found is None or block is None:
            return None
        count = sum(found[1].tasks.values())
        if block.offset + len(block.args) <= count:
            return None
        text = f"job {job_id} takes no more tasks: it has ended with {count} of them"
        return Submitted(request.request, job_id, count, sealed=True, room=0, code=SEALED, text=text)

    def _ended_job(self, request: ProcessedRequest, who: Who) -> int | None:
        """The job that is meant, where it has ended, has these tasks, and may be steered by who asks."""
        if request.job_id in self._scheduler.state.jobs.records:
            return None
        if (found := self._journal.ended_job(request.job_id)) is None:
            return None
        submitted, summary, _ = found
        has_them = all(high < sum(summary.tasks.values()) for _, high in request.indexes)
        return request.job_id if has_them and who.may_steer(submitted.owner) else None

    def carry_out(self, action: Consult | Follow, now: float) -> None:
        """Answer from what is recorded."""
        if isinstance(action, Follow):
            # It may have ended since, in the same turn.
            is_open = action.request.job_id in self._scheduler.state.jobs.records
            self._feeds.follow(replace(action, is_open=action.is_open and is_open), now)
        else:
            self._send(action.peer, self._archive.answer(action.request))

    def recorded(self, events: Sequence[Recorded]) -> None:
        """These are in the journal."""
        self.log.recorded(events)
        for event in events:
            if isinstance(event, JobEnded):
                self._feeds.ended(event.job_id)
            elif isinstance(event, ControllerLeft):
                self._outputs.left(event.name)

    def deliver(self, number: int, block: RecordedBlock, parts: tuple[tuple[int, int, int, int], ...]) -> None:
        """Results that are recorded just now."""
        self.log.deliver(block, parts)
        self._feeds.deliver(number, block, parts)

    def told(self, peer: bytes, output: Output) -> None:
        """A controller says what a task has printed."""
        self._outputs.told(peer, output)

    def turn(self, now: float, idle: bool) -> bool:
        """Send what is due to those that follow; whether there is more to be done at once."""
        self.log.turn(now)
        self._outputs.turn(now)
        return self._feeds.turn(now, idle)

    def gone(self, peer: bytes) -> None:
        """This client cannot be reached."""
        self._feeds.gone(peer)
        self._outputs.gone(peer)


def _own_key(key: bytes, who: Who) -> bytes:
    """The 16 bytes by which a submit of this user is known again: by the same key another one makes another job."""
    return blake2b(who.name.encode() + b"\0" + key, digest_size=16).digest() if who.name else key
