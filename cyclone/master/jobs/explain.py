"""Why does this not run? What stands between a job, or a task of it, and a worker, in words. PURE.

Only looks. What matters most comes first; each reason has a code for programs and a sentence for people.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from cyclone.master.jobs.listing import running_at
from cyclone.master.jobs.obstacles import BUSY, NAMED_MAX, SENTENCES, names, obstacle, told
from cyclone.master.jobs.registry import JobRecord
from cyclone.master.leases.sessions import Session
from cyclone.master.spans import Holdings, Span
from cyclone.master.state import State
from cyclone.master.waiting.lane import Lane
from cyclone.master.waiting.picks import welcome
from cyclone.moments import rfc3339_second
from cyclone.protocol import limits
from cyclone.protocol.job_spec import GENERATOR_JOB
from cyclone.protocol.messages import TaskRange
from cyclone.protocol.states import EXPIRED

Reason = tuple[str, str]
"""A code and a sentence."""

# So many lanes are looked at for who is in front.
_LANES_MAX = 65536


def explain(
    state: State, kept: Mapping[int, Lane], now: float, rests: bool, job_id: int, index: int | None
) -> list[Reason]:
    """Of an open job, or of one of its tasks.

    ``kept`` are sessions that get nothing but tasks of one lane; ``rests``: the master hands out nothing at all.
    """
    record = state.jobs.records.get(job_id)
    if job_id == GENERATOR_JOB:
        return [("generator", "these are the generator's tasks, which wait and run like those of any job")]
    if record is None:
        return [("no_job", f"job {job_id} has ended, or never was")]
    explainer = _Explainer(state, kept, now, rests, record)
    found = explainer.of_job() if index is None else explainer.of_task(index)
    return [(code, text[: limits.TEXT_CHARS_MAX]) for code, text in found]


class _Explainer:
    def __init__(self, state: State, kept: Mapping[int, Lane], now: float, rests: bool, record: JobRecord) -> None:
        self._state = state
        self._kept = kept
        self._now = now
        self._rests = rests
        self._record = record
        self._lane = state.lanes.lane(record.job_id)

    def of_job(self) -> Iterator[Reason]:
        record, lane = self._record, self._lane
        yield from self._out()
        if record.stopped:
            yield self._stopped()
        if lane.waiting and not record.stopped:
            yield from self._why_waiting()
        elif record.held and not record.stopped:
            yield self._held()
        delayed = record.open - lane.waiting - lane.out
        if delayed:
            first = min((span.until for span in self._state.sessions.delayed.spans if self._is_mine(span)), default=0.0)
            yield "delayed", f"{_tasks(delayed)} delayed, the first until {self._time(first)}"
        if lane.waiting and not record.stopped:
            yield from self._position(lane.head)
        if record.abandoned:
            yield "abandoned", "it gets no more tasks: no client had said anything of it for too long"
        if not record.open and not record.sealed:
            yield (
                "waiting",
                f"its tasks have ended, and it may get more: `cyclone seal {record.job_id}` says that it gets none",
            )

    def of_task(self, index: int) -> Iterator[Reason]:
        record, state = self._record, self._state
        piece = next(record.extents.by_index(index, index + 1), None)
        if piece is None:
            yield "no_task", f"job {record.job_id} has {_tasks(record.added)} so far, and none with index {index}"
            return
        task_id = piece[1]
        span = next((span for span, _, _ in state.index.overlapping(task_id, task_id + 1)), None)
        if span is None and not self._is_fresh(task_id):
            yield "done", f"task {index} has its result"
            return
        if span and not span.open[task_id - span.first]:
            yield "done", f"task {index} has its result"
            return
        if wished := state.cancellations.covering(record.job_id, record.spec.task_class, task_id, task_id + 1):
            yield "cancelled", f"it is to end: {wished[0][2].reason or 'cancelled'}"
        if span and span.holder is not None:
            held = self._held_by(span, task_id)
            yield held
            if held[0] != "delayed" and (tried := self._tried(task_id)):
                yield "tried", tried
            return
        if record.stopped:
            yield self._stopped()
            return
        if tried := self._tried(task_id):
            yield "tried", tried
        yield from self._why_waiting()
        yield from self._position(task_id)

    # Of what is with somebody.

    def _held_by(self, span: Span, task_id: int) -> Reason:
        sessions = self._state.sessions
        if span.holder == sessions.delayed.session_id:
            tried = self._tried(task_id)
            return "delayed", f"{tried + ': ' if tried else ''}delayed until {self._time(span.until)}"
        session = sessions.by_id.get(span.holder or 0)
        if session is None:
            awaited = names(sorted(self._state.awaited)) or "a controller of before"
            return "awaited", f"it may still run from before the restart of the master: waits for {awaited}"
        since = self._time(span.leased_at)
        silent_s = self._now - session.last_seen
        silence = f"; {session.name} has been silent for {silent_s:.0f} s" if silent_s > 2 else ""
        if Holdings(session.running).has(TaskRange(task_id, 1, *span.token)):
            return "running", f"runs at {session.name}, which has had it since {since}{silence}"
        if session.busy < session.slots:
            return "leased", f"was sent to {session.name} at {since}, and nothing was heard yet of its start{silence}"
        rest = f"; {session.resting} of its {session.slots} slots rest after a task" if session.resting else ""
        return "leased", f"waits for a slot at {session.name}, which has had it since {since}{rest}{silence}"

    def _tried(self, task_id: int) -> str:
        """What became of earlier attempts."""
        failures, crashes = self._state.failures.get(task_id, 0), self._state.crashes.get(task_id, 0)
        texts = []
        if failures:
            texts.append(f"failed {failures} of {self._record.spec.retries + 1} times")
        if crashes:
            texts.append(f"killed {crashes} worker{'s' * (crashes != 1)}")
        return ", ".join(texts)

    def _out(self) -> Iterator[Reason]:
        """What somebody has of the job: that which runs, and that which waits there."""
        sessions, job_id = self._state.sessions, self._record.job_id
        running: dict[str, int] = {}
        sent: dict[str, int] = {}
        leased: dict[str, int] = {}
        at_rest: list[str] = []
        for session in sessions.by_id.values():
            if has := self._count(session):
                runs = min(has, running_at(self._state, session)[job_id])
                for counts, count in ((running, runs), (leased if session.busy >= session.slots else sent, has - runs)):
                    if count:
                        counts[session.name] = count
                if has > runs and session.resting:
                    at_rest.append(f"{session.name} ({session.resting} of {session.slots})")
        if count := sum(running.values()):
            yield "running", f"{_tasks(count)} {_verb(count, 'run')} at {names(list(running))}"
        if count := sum(sent.values()):
            what = f"{_tasks(count)} {'was' if count == 1 else 'were'} sent to {names(list(sent))}"
            yield "leased", f"{what}, and nothing was heard yet of {'its' if count == 1 else 'their'} start"
        if count := sum(leased.values()):
            yield "leased", f"{_tasks(count)} {_verb(count, 'wait')} for a slot at {names(list(leased))}"
        if at_rest:
            yield "resting", f"slots that rest after a task: {names(at_rest)}"
        if sessions.former and (count := self._count(sessions.former)):
            yield "awaited", f"{_tasks(count)} may still run from before the restart of the master"

    def _count(self, session: Session) -> int:
        return sum(span.open_count for span in session.spans if self._is_mine(span))

    # Of what waits.

    def _stopped(self) -> Reason:
        wish = self._record.stopped
        assert wish
        code = "expired" if wish.status == EXPIRED else "cancelled"
        return code, f"it is ended: {wish.reason or code}"

    def _held(self) -> Reason:
        return "held", f"job {self._record.job_id} is held: release it"

    def _why_waiting(self) -> Iterator[Reason]:
        record, lane = self._record, self._lane
        spec = record.spec
        if self._rests:
            yield "master_rests", "the master hands out nothing: it stops, or who reads results is far behind"
        if record.held:
            yield self._held()
        if self._state.jobs.namespaces[spec.namespace].paused:
            yield "paused", f"namespace {spec.namespace} is paused: resume it"
        if lane.is_early and spec.not_before is not None:
            yield "not_before", f"not before {rfc3339_second(spec.not_before)}"
        if spec.parallel is not None and lane.room <= 0:
            taken = lane.out + lane.lingering
            yield "parallel", f"{_tasks(taken)} of it out, and it may have {spec.parallel} at once"
        yield from self._limits()
        yield from self._controllers()

    def _limits(self) -> Iterator[Reason]:
        lanes = self._state.lanes
        for name, amount in self._record.spec.limits.items():
            used = lanes.limits.used.get(name, 0)
            if used >= amount:
                users = [str(lane.job_id) for lane in lanes if name in lane.terms.limits and lane.out + lane.lingering]
                yield "limit", f"waits for limit {name}: {used} of {amount} taken, by job {names(users)}"
        if lanes.limits.closed_until and (self._record.spec.limits or self._record.spec.parallel is not None):
            until = self._time(lanes.limits.closed_until)
            yield "limit", f"what ran before the restart of the master may still run: not before {until}"

    def _controllers(self) -> Iterator[Reason]:
        state, kept, lane = self._state, self._kept, self._lane
        sessions = list(state.sessions.by_id.values())
        if not sessions:
            yield "no_controller", "no controller is connected"
            return
        fitting = [session for session in sessions if lane.shelf.suits(session)]
        if not fitting:
            yield from self._unmet(sessions)
            return
        found: dict[str, list[Session]] = {}
        for session in fitting:
            code = obstacle(state, kept, session, lane)
            if code is None:
                # It goes there as soon as its turn has come.
                return
            found.setdefault(code, []).append(session)
        fit = f"{len(fitting)} of {len(sessions)} controllers fit"
        for code, words in SENTENCES.items():
            if those := found.get(code):
                which = "all of these are" if len(those) == len(fitting) else f"of these {_are(len(those))}"
                texts = [told(state, kept, session, lane, code) for session in those[:NAMED_MAX]]
                yield code, f"{fit}, and {which} {words}: {names(texts, len(those))}"
        if not lane.is_bounded and any(one.credit and not welcome(lane, one, 0) for one in found.get(BUSY, ())):
            yield "not_ahead", _not_ahead(lane)

    def _unmet(self, sessions: list[Session]) -> Iterator[Reason]:
        """Nobody fits: what nobody has, or else that nobody has all of it."""
        found = False
        for what, has in self._requirements():
            if not any(has(session) for session in sessions):
                found = True
                yield "no_fit", f"none of {len(sessions)} controllers {what}"
        if not found:
            wanted = ", ".join(what for what, _ in self._requirements())
            yield "no_fit", f"none of {len(sessions)} controllers meets all at once: it {wanted}"

    def _requirements(self) -> Iterator[tuple[str, Callable[[Session], bool]]]:
        """Each with its words behind "none of ... controllers"."""
        spec = self._record.spec
        yield (
            f"serves namespace {spec.namespace}",
            lambda session: not session.offer.namespaces or spec.namespace in session.offer.namespaces,
        )
        if spec.nodes:
            nodes = frozenset(spec.nodes)
            yield f"is among nodes {names(spec.nodes)}", lambda session: not session.names.isdisjoint(nodes)
        if spec.exclude:
            excluded = frozenset(spec.exclude)
            yield f"is outside of exclude {names(spec.exclude)}", lambda session: session.names.isdisjoint(excluded)
        for label in spec.labels:
            yield f"has label {label}", lambda session, label=label: label in session.offer.labels  # type: ignore[misc]
        if spec.cpus > 1:
            yield f"has {spec.cpus} slots", lambda session: session.slots >= spec.cpus
        if spec.mem_bytes:
            yield (
                f"has {spec.mem_bytes >> 20} MiB of memory",
                lambda session: not session.offer.mem_bytes or session.offer.mem_bytes >= spec.mem_bytes,
            )
        for name, amount in spec.resources.items():
            yield (
                f"has {amount} of {name}",
                lambda session, name=name, amount=amount: session.offer.resources.get(name, 0) >= amount,  # type: ignore[misc]
            )
        if spec.by_value:
            yield "permits functions by value", lambda session: session.offer.by_value

    def _position(self, task_id: int) -> Iterator[Reason]:
        """How much waits in front, in its own namespace: between namespaces the shares decide."""
        own = (-self._lane.terms.priority, task_id)
        before: dict[int, int] = {}
        for lane in islice(self._lane.share.lanes.values(), _LANES_MAX):
            if lane.waiting and lane.may_go and lane is not self._lane and (-lane.terms.priority, lane.head) < own:
                before[lane.terms.priority] = before.get(lane.terms.priority, 0) + lane.waiting
        mine = self._before_in_lane(task_id)
        if mine:
            before[self._lane.terms.priority] = before.get(self._lane.terms.priority, 0) + mine
        if before:
            texts = [f"{_tasks(before[priority])} of priority {priority}" for priority in sorted(before, reverse=True)]
            yield "position", f"before it in namespace {self._record.spec.namespace} wait {', '.join(texts)}"
        else:
            yield "position", f"it is next in namespace {self._record.spec.namespace}"

    def _before_in_lane(self, task_id: int) -> int:
        lane: Lane = self._lane
        pieces = self._record.extents.by_id(lane.head, task_id)
        return min(lane.waiting, sum(count for _, _, count in pieces))

    def _is_fresh(self, task_id: int) -> bool:
        return self._lane.holds_up_to(task_id)

    def _is_mine(self, span: Span) -> bool:
        return span.job_id == self._record.job_id

    def _time(self, moment: float) -> str:
        return rfc3339_second(moment + self._state.jobs.wall_offset_s)


def _not_ahead(lane: Lane) -> str:
    """Why so few tasks wait at controllers that would have more of them."""
    if not lane.mean_s:
        return "none is sent to wait at a controller before it is known how long tasks of this job take"
    return "no more are sent to wait at a controller than it begins within about a second"


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def _are(count: int) -> str:
    return "1 is" if count == 1 else f"{count} are"


def _verb(count: int, verb: str) -> str:
    return f"{verb}s" if count == 1 else verb
