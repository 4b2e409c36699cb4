"""Clients of the virtual world: they submit, add, hold, release, cancel and follow over a network that loses messages.

A client knows nothing but the answers that reached it. What is not answered it says again; a client that is killed
comes back with its plans and without any memory, as a script does that its user starts once more.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cyclone.protocol import wire
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import (
    AddRequest,
    AnyFromClient,
    AnyToClient,
    CancelJobsRequest,
    ControlRequest,
    FollowRequest,
    JobResults,
    NamespaceRequest,
    RequeueRequest,
    SubmitRequest,
    Submitted,
)
from cyclone.protocol.job_spec import JobSelection, TaskBlock
from cyclone.protocol.messages import AnyFromMaster
from tests.simulation.job_plans import JobPlan, draw_plans, namespace_of
from tests.simulation.long_waits import draw_long_wait

if TYPE_CHECKING:
    from tests.simulation.world import World

_LOOK_S = 0.15
# How long a client waits for a job when everything is well.
_PATIENCE_S = 45.0
_WINDOW_BYTES = 4096


@dataclass(slots=True, eq=False)
class _Progress:
    """What a client knows of one of its jobs. ``wanted`` is what it has asked for and was not granted yet."""

    plan: JobPlan
    job_id: int = 0
    count: int = 0
    sealed: bool = False
    done: set[str] = field(default_factory=set)
    position: int = 0
    start: int = 0
    gap: bool = False
    finished: bool = False
    next_block_at: float = 0.0
    got: dict[int, int] = field(default_factory=dict)


class VirtualClient:
    """One client: ``peer`` is the routing id that a ROUTER would give it."""

    def __init__(self, world: "World", number: int, plans: list[JobPlan]) -> None:
        self._world = world
        self.peer = b"client-%d" % number
        self._plans = plans
        self._request = 0
        self._asked: dict[int, tuple[_Progress, str]] = {}
        self._jobs: list[_Progress] = []
        self._lives = 0

    def start(self) -> None:
        """Begin, or begin once more."""
        self._lives += 1
        self._jobs = [_Progress(plan) for plan in self._plans]
        self._asked.clear()
        self._world.after(_LOOK_S, self._look, self._lives)

    @property
    def has_submitted(self) -> bool:
        """Whether it was told that all its jobs are sealed, and all that it wants of them is granted."""
        return all(job.sealed and not self._wishes(job, due=False) for job in self._jobs)

    def die(self) -> None:
        """All that it knew is gone; its plans are not."""
        self._lives += 1
        self._world.count("client killed")
        self._world.after(self._world.rng.choice([0.01, 0.3, 1.0]), self.start)

    def hear(self, life: int, frames: list[bytes]) -> None:
        """An answer arrives, if it is for this life."""
        if life != self._lives:
            return
        message = wire.decode_for_client(frames)
        match message:
            case Submitted():
                self._on_submitted(message)
            case Answer():
                job, what = self._asked.pop(message.request, (None, ""))
                if job:
                    # Granted, or there is nothing left that it could be about.
                    job.done.add(what)
            case JobResults():
                self._on_results(message)

    @property
    def life(self) -> int:
        """Which one it is living."""
        return self._lives

    def _look(self, life: int) -> None:
        world = self._world
        if life != self._lives or world.master.finished_at is not None:
            return
        for job in self._jobs:
            if world.now >= job.plan.submitted_at:
                self._drive(job)
        world.after(_LOOK_S, self._look, life)

    def _drive(self, job: _Progress) -> None:
        """Say once more what is not answered yet."""
        plan, now = job.plan, self._world.now
        if not job.job_id:
            request = SubmitRequest(self._next(job, "submit"), plan.key, plan.spec, self._block(job), self._seals(job))
            self._ask(request)
            return
        if not job.sealed and now >= job.next_block_at:
            self._ask(AddRequest(self._next(job, "add"), job.job_id, self._block(job), self._seals(job)))
        for what in self._wishes(job, due=True):
            self._wish(job, what)
        if not job.finished:
            number = self._next(job, "follow")
            self._ask(FollowRequest(number, job.job_id, job.position, _WINDOW_BYTES, job.gap))
            job.gap = False

    def _wishes(self, job: _Progress, *, due: bool) -> list[str]:
        plan = job.plan
        moments = {
            "hold": plan.held_at,
            "release": plan.released_at,
            "cancel": plan.cancelled_at,
            "requeue": plan.requeued_at,
            "pause": plan.paused_at,
            "resume": plan.resumed_at,
        }
        healed = self._world.faults.healed
        if due and healed and self._world.now > self._world.healed_at + _PATIENCE_S and not job.finished:
            # Nobody may ever be able to run it.
            moments["give up"] = self._world.now
        open_ = [what for what, at in moments.items() if at is not None and what not in job.done]
        return [what for what in open_ if not due or self._world.now >= (moments[what] or 0.0)]

    def _wish(self, job: _Progress, what: str) -> None:
        number, selection = self._next(job, what), JobSelection(ids=[(job.job_id, job.job_id)])
        if what in ("give up", "cancel"):
            self._world.ledger.jobs.asked_to_end(job.job_id)
        if what == "give up":
            self._world.ledger.jobs.given_up(job.plan)
            self._ask(CancelJobsRequest(number, selection))
        elif what == "requeue":
            self._world.ledger.jobs.requeued(job.plan)
            self._ask(RequeueRequest(number, job.job_id))
        elif what == "resume" and "pause" not in job.done:
            return
        elif what in ("pause", "resume"):
            self._ask(NamespaceRequest(number, "set", namespace_of(job.plan.spec.namespace, paused=what == "pause")))
        elif what == "cancel":
            indexes = [job.plan.cancel_indexes] if job.plan.cancel_indexes else []
            self._ask(CancelJobsRequest(number, selection, indexes))
        elif what == "release" and job.plan.held_at is not None and "hold" not in job.done:
            return
        else:
            self._ask(ControlRequest(number, selection, "hold" if what == "hold" else "release"))

    def _block(self, job: _Progress) -> TaskBlock | None:
        plan = job.plan
        for offset, args in zip(plan.offsets, plan.blocks, strict=True):
            if offset >= job.count:
                return TaskBlock(offset, args, plan.options_of(offset, len(args)))
        return None

    def _seals(self, job: _Progress) -> bool:
        plan = job.plan
        return not plan.blocks or job.count >= plan.offsets[-1]

    def _on_submitted(self, answer: Submitted) -> None:
        job, _ = self._asked.pop(answer.request, (None, ""))
        if job is None:
            return
        if answer.code:
            # A job that has ended takes no more, and whatever was wanted of it is as good as granted.
            ended = answer.code in ("no_job", "sealed") and job.job_id
            job.sealed = job.sealed or bool(ended)
            return
        job.job_id = answer.job_id
        if answer.count > job.count:
            job.count = answer.count
            job.next_block_at = self._world.now + job.plan.pace_s
        job.sealed = job.sealed or answer.sealed
        if not job.position:
            job.position = answer.number
        self._world.ledger.jobs.told(answer, job.plan)

    def _on_results(self, message: JobResults) -> None:
        job = next((job for job in self._jobs if job.job_id == message.job_id), None)
        if job is None or job.finished:
            return
        if message.after != job.position:
            # Something is missing; or it is old, or goes on from where this client was before.
            job.gap = job.gap or message.after > job.position
            return
        for block in message.blocks:
            for row, status in enumerate(block.statuses):
                if block.accepted is None or block.accepted[row]:
                    self._world.ledger.jobs.followed(job.plan, block.index + row, status, job.got)
        job.position = message.position
        job.finished = message.finished

    def _next(self, job: _Progress, what: str) -> int:
        self._request += 1
        self._asked[self._request] = (job, what)
        return self._request

    def _ask(self, request: AnyFromClient) -> None:
        self._world.clients.up(self, request)


class Clients:
    """All clients, and the network between them and the master."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.plans = draw_plans(world.seed, world.faulty, world.settings.work.retries) if world.has_clients else []
        if world.has_clients and not world.faulty:
            self.plans += draw_long_wait(world.seed, world.settings)
        numbers = sorted({plan.client for plan in self.plans})
        self.all = [
            VirtualClient(world, number, [plan for plan in self.plans if plan.client == number]) for number in numbers
        ]
        self._by_peer = {client.peer: client for client in self.all}
        self._arrives: dict[tuple[bytes, bool], float] = {}

    @property
    def have_submitted(self) -> bool:
        """Whether nobody is about to ask for anything that keeps the master at work."""
        return all(client.has_submitted for client in self.all)

    def start(self) -> None:
        """They come."""
        for client in self.all:
            client.start()

    def up(self, client: VirtualClient, request: AnyFromClient) -> None:
        """A request on its way."""
        frames = wire.encode(request)
        for at in self._ways(client.peer, up=True):
            self._world.at(at, self._arrive, client.peer, frames)

    def down(self, peer: bytes, message: AnyToClient | AnyFromMaster) -> bool:
        """An answer on its way; False where its queue is full."""
        client = self._by_peer.get(peer)
        if client is None:
            return True
        if self._world.network.hostile and self._world.rng.random() < 0.01:
            return False
        frames = wire.encode(message)
        for at in self._ways(peer, up=False):
            self._world.at(at, client.hear, client.life, frames)
        return True

    def _ways(self, peer: bytes, up: bool) -> list[float]:
        """When a message arrives: once as a rule, never or twice where something is wrong, and never out of order."""
        world, rng = self._world, self._world.rng
        at = max(self._arrives.get((peer, up), 0.0), world.now + rng.uniform(*world.settings.latency_s))
        ways = [at]
        fate = rng.random() if world.network.hostile else 1.0
        if fate < 0.05:
            world.count("lost client message")
            return []
        if fate < 0.1:
            world.count("client message came twice")
            ways.append(at + rng.expovariate(4.0))
        self._arrives[peer, up] = ways[-1]
        return ways

    def _arrive(self, peer: bytes, frames: list[bytes]) -> None:
        request: Any = wire.decode_for_master(frames)
        if self._world.may_ask():
            self._world.master.ask(request, peer)
