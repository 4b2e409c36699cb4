"""Every job's lane: what waits, who may lease it, how much of it is out. PURE.

A *lane* holds the waiting tasks of one job (``lane.py``), GENERATOR_JOB's those of the generator, whatever class they
are of. Owns the lanes, their places on the shelves, the sums over all of them and the counts of what is out. The caller
owes ``rank`` after each change of what waits in a lane, and ``occupy`` for each task that comes to a session or leaves
it. Who is next is asked of a ``Picker``.
"""

import heapq
from collections.abc import Callable, Iterator

from cyclone.master.leases.sessions import Ghost, Session
from cyclone.master.waiting.lane import TASK_S_MIN
from cyclone.master.waiting.lane import Lane as Lane
from cyclone.master.waiting.lane import LaneTerms as LaneTerms
from cyclone.master.waiting.limits import Limits
from cyclone.master.waiting.queue import Window
from cyclone.master.waiting.shares import Shares
from cyclone.master.waiting.shelves import Needs, Shelf
from cyclone.protocol.job_spec import GENERATOR_JOB, Namespace
from cyclone.protocol.messages import TaskRange


class Lanes:
    """See the module. ``version`` rises whenever somebody for whom there was nothing may find something.

    ``ready_count`` are the tasks in memory that may be leased at this moment, if there is a controller for them.
    ``is_alone`` says that there is the generator's lane and no other: it shares with nobody, and that is not reckoned.
    """

    def __init__(self) -> None:
        self.window = Window()
        self.limits = Limits()
        self.shares = Shares()
        self.version = 0
        self.ready_count = 0
        self._lanes: dict[int, Lane] = {}
        # That of a job which is open. Asked for every batch: so without a call between.
        self.lane: Callable[[int], Lane] = self._lanes.__getitem__
        self.find: Callable[[int], Lane | None] = self._lanes.get
        self._shelves: dict[Needs, Shelf] = {}
        self._starts: list[tuple[float, int]] = []
        self.is_alone = True
        self.generator = self.open(GENERATOR_JOB, LaneTerms())

    # The lanes.

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._lanes

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def waiting(self) -> int:
        """All tasks that have no lease and do not wait for their time."""
        return self.window.waiting

    @property
    def bytes_in_memory(self) -> int:
        """About how large the arguments are that wait in memory."""
        return self.window.bytes_in_memory

    @property
    def mean_bytes(self) -> int:
        """How large the arguments of a task are, on average."""
        return self.window.mean_bytes

    @property
    def has_room(self) -> bool:
        """Whether anything may be leased, also what is only stored, to whoever has what it needs."""
        shelves = (shelf for share in self.shares.active.values() for shelf in share.active)
        return any(not shelf.is_bounded or ((lane := shelf.first()) and self.room(lane)) for shelf in shelves)

    def open(self, job_id: int, terms: LaneTerms) -> Lane:
        """A lane for a new job."""
        needs = Needs.of(terms)
        shelf = self._shelves.get(needs) or self._shelves.setdefault(needs, Shelf(needs))
        shelf.lanes_open += 1
        share = self.shares.of(terms.namespace)
        lane = self._lanes[job_id] = share.lanes[job_id] = Lane(job_id, terms, share, shelf, self.window)
        if lane.is_early:
            heapq.heappush(self._starts, (terms.not_before, job_id))
        self.is_alone = len(self._lanes) == 1
        return lane

    def close(self, job_id: int) -> None:
        """The job has ended: nothing of it waits or is out."""
        lane = self._lanes.pop(job_id)
        self.is_alone = len(self._lanes) == 1
        assert not lane.waiting and not lane.out, f"job {job_id} ends with {lane.waiting} waiting and {lane.out} out"
        self._place(lane, is_ready=False)
        del lane.share.lanes[job_id]
        lane.shelf.lanes_open -= 1
        if not lane.shelf.lanes_open:
            del self._shelves[lane.shelf.needs]

    def hold(self, job_id: int, held: bool) -> None:
        """Lease nothing more of it, or again."""
        lane = self._lanes[job_id]
        lane.held = held
        self._look_whether_it_rests(lane)

    def set_namespace(self, namespace: Namespace) -> None:
        """These are its properties from now on; the weights of its lanes change in proportion."""
        share = self.shares.of(namespace.name)
        for lane in share.lanes.values():
            lane.weight *= namespace.weight / share.weight
        self.shares.reweigh(share, namespace.weight)
        share.paused = namespace.paused
        for lane in share.lanes.values():
            self._look_whether_it_rests(lane)

    def delete_namespace(self, name: str) -> None:
        """Nobody asks for it any more; what is open in it goes on by its own terms."""
        self.set_namespace(Namespace(name=name))
        if not self.shares.by_name[name].lanes:
            del self.shares.by_name[name]

    def unseen(self, first: int, last: int, job_id: int | None = None) -> list[Lane]:
        """Lanes, or that of the job, that may hold a task from ``first`` to ``last`` which was never leased."""
        if job_id is not None:
            lanes = [self._lanes[job_id]] if job_id in self._lanes else []
        else:
            lanes = list(self._lanes.values())
        return [lane for lane in lanes if lane.last_id >= first and lane.holds_up_to(last)]

    # What changes in them.

    def rank(self, lane: Lane) -> None:
        """Owed after each change of what waits in a lane, or of whether it may be leased."""
        may_go = lane.may_go
        counted = lane.fresh_count + lane.returned_count if may_go else 0
        self.ready_count += counted - lane.counted
        lane.counted = counted
        is_ready = may_go and (counted > 0 or lane.stored_count > 0)
        # Only what came back can be in front of what was first before.
        if lane.key is None:
            is_in_place = not is_ready
        else:
            is_in_place = is_ready and (not lane.returned_count or lane.key[1] <= lane.head)
        if not is_in_place:
            self._place(lane, is_ready)

    def occupy(self, session: Session, lane: Lane, count: int) -> None:
        """So many tasks of a lane are with this session from now on, or with a negative count no longer are."""
        if session.is_delayed:
            lane.delayed += count
            self.rank(lane)
            return
        if count < 0 and lane.pending_s:
            # Charged for nothing, unless ``spent`` says something else.
            self.shares.owe(lane, lane.pending_s * count / lane.out)
        lane.out += count
        lane.share.out += count
        if not lane.is_bounded:
            session.taken += count
            return
        self._load(session, lane.terms, count)
        if lane.terms.limits:
            self.limits.take(lane.terms.limits, count)
            self.version += count < 0
        if lane.terms.parallel is not None:
            self.rank(lane)

    def spent(self, lane: Lane, count: int, seconds: float) -> None:
        """So many tasks of a job have kept a worker busy for so long. Not owed while ``is_alone``."""
        lane.learn(count, seconds)
        self.shares.learn(count, seconds)
        self.shares.pay(lane, lane.terms.cpus * max(seconds, count * TASK_S_MIN))

    def linger(self, lane: Lane, count: int, until: float) -> None:
        """So many leases of a limited lane may go on until then, whatever becomes of their tasks."""
        lane.lingering += count
        self.limits.take(lane.terms.limits, count)
        self.limits.linger(until, lane.job_id, lane.terms.limits, count)

    def haunt(self, session: Session, lane: Lane, part: TaskRange, count: int, seq: int) -> None:
        """So many tasks of this lease have their result from elsewhere, but the session goes on with them."""
        lane.lingering += count
        self.limits.take(lane.terms.limits, count)
        self._load(session, lane.terms, count)
        session.ghosts.append(Ghost(lane.job_id, lane.terms, part, count, seq))

    def lay(self, session: Session, ghost: Ghost, over_at: float = 0.0) -> None:
        """Such a lease is over, or will be."""
        session.ghosts.remove(ghost)
        self._load(session, ghost.terms, -ghost.tasks)
        self.limits.linger(over_at, ghost.job_id, ghost.terms.limits, ghost.tasks)

    def move_ghosts(self, old: Session, session: Session) -> None:
        """The same controller on another connection: each State of it tells whether they go on."""
        for ghost in old.ghosts:
            self._load(old, ghost.terms, -ghost.tasks)
            self._load(session, ghost.terms, ghost.tasks)
        session.ghosts += [ghost._replace(seq=0) for ghost in old.ghosts]
        old.ghosts = []

    def room(self, lane: Lane) -> int:
        """How many more tasks of a lane may be out, wherever."""
        room = min(lane.waiting, lane.room)
        limits = lane.terms.limits
        if lane.terms.is_limited:
            if self.limits.closed_until:
                return 0
            room = min(room, self.limits.room(limits)) if limits else room
        return max(0, int(room))

    def taken(self, lane: Lane, count: int) -> None:
        """So many tasks were taken out of a lane, to be leased at once."""
        if not self.is_alone:
            self.shares.owe(lane, self.shares.cost_s(lane, count))
        self.rank(lane)

    # What time brings.

    @property
    def deadline(self) -> float:
        """When ``due`` may have something to do."""
        limits = self.limits.deadline
        return min(self._starts[0][0], limits) if self._starts else limits

    def due(self, now: float) -> None:
        """Let those be leased whose time has come, and what was held back by leases that are over by now."""
        while self._starts and self._starts[0][0] <= now:
            lane = self._lanes.get(heapq.heappop(self._starts)[1])
            if lane:
                lane.is_early = False
                self._look_whether_it_rests(lane)
        if self.limits.deadline <= now:
            for job_id, count in self.limits.due(now):
                if lane := self._lanes.get(job_id):
                    lane.lingering -= count
                    self.rank(lane)
            self.version += 1

    def watch(self, now: float) -> None:
        """Owed about twice a second: tasks that take longer than anybody knew are charged for before they end.

        Else a namespace of very long tasks would have taken every slot by the time that the first of them ends.
        """
        for lane in self._lanes.values() if not self.is_alone else ():
            if not lane.out or lane.has_news:
                lane.quiet_since, lane.quiet_s, lane.has_news = now, 0.0, False
                continue
            lane.quiet_s = now - lane.quiet_since
            missing_s = lane.out * lane.terms.cpus * lane.quiet_s - lane.pending_s
            if missing_s > 0 and lane.quiet_s > lane.mean_s:
                self.shares.owe(lane, missing_s)

    def _look_whether_it_rests(self, lane: Lane) -> None:
        lane.rests = lane.held or lane.is_early or lane.share.paused
        self.rank(lane)

    @staticmethod
    def _load(session: Session, terms: LaneTerms, count: int) -> None:
        """What tasks of a bounded lane take of their controller."""
        session.taken += count * terms.cpus
        session.mem_taken += count * terms.mem_bytes
        for name, amount in terms.resources.items():
            session.resources_taken[name] = session.resources_taken.get(name, 0) + count * amount

    def _place(self, lane: Lane, is_ready: bool) -> None:
        shelf, share = lane.shelf, lane.share
        was_ready = shelf.ready
        shelf.rank(lane, is_ready)
        if bool(was_ready) == bool(shelf.ready):
            return
        if shelf.ready:
            self.shares.put_up(shelf, share)
            self.version += 1
        else:
            self.shares.put_away(shelf, share, is_barred=lane.waiting > 0)
