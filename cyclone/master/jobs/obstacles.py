"""What keeps a controller that fits from taking a task of a job at this moment, in words. PURE.

Only looks. Owns the reasons that lie with one controller; those that lie with the job are ``explain``'s.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from cyclone.master.jobs.listing import running_at
from cyclone.master.leases.sessions import Session
from cyclone.master.state import State
from cyclone.master.waiting.lane import Lane, LaneTerms

DRAINED, SUSPECTED, UNREACHABLE, LEAVING = "drained", "suspected", "unreachable", "leaving"
KEPT, BUSY, RESTING, NO_CREDIT = "kept", "busy", "resting", "no_credit"
SENTENCES = {
    DRAINED: "drained",
    SUSPECTED: "suspected",
    UNREACHABLE: "out of reach",
    LEAVING: "leaving, and finishing what they run",
    KEPT: "kept for jobs that came before: nothing overtakes there",
    BUSY: "busy",
    RESTING: "resting after a task, as its job wants it",
    NO_CREDIT: "taking no tasks now",
}
"""Each behind "all of these are": by its code, what matters most first."""

# So many names, or jobs, are told; of the others only how many they are.
NAMED_MAX = 8


def obstacle(state: State, kept: Mapping[int, Lane], session: Session, lane: Lane) -> str | None:
    """The code of the first that there is, None where there is none. ``kept``: for which lane which sessions are."""
    if session.drained:
        return DRAINED
    if session.is_leaving:
        return LEAVING
    if not session.reachable:
        return UNREACHABLE
    if kept.get(session.session_id, lane) is not lane:
        return KEPT
    if not lane.shelf.fitting(session):
        return BUSY
    if session.credit:
        return None
    if session.suspected:
        return SUSPECTED
    return RESTING if session.resting else NO_CREDIT


def told(state: State, kept: Mapping[int, Lane], session: Session, lane: Lane, code: str) -> str:
    """The controller, and of an obstacle what people would ask next."""
    details: list[str] = []
    if code == KEPT:
        details = [f"job {kept[session.session_id].job_id}"]
    elif code == BUSY:
        details = list(_taken(state, session, lane.terms))
    elif code == RESTING:
        details = [f"{session.resting} of {session.slots} slots"]
    elif code == NO_CREDIT and (slots := _taken_by_nothing(state, session)):
        details = [f"{slots} of {session.slots} slots end a task"]
    return f"{session.name} ({', '.join(details)})" if details else session.name


def _taken(state: State, session: Session, terms: LaneTerms) -> Iterator[str]:
    """What is short for one more such task, and who has it."""
    slots = min(session.taken, session.slots)
    if session.slots - slots < terms.cpus:
        yield f"{slots} of {session.slots} slots taken by {_users(state, session, lambda _: True)}"
    offer, mem_bytes = session.offer, session.mem_taken
    if terms.mem_bytes and offer.mem_bytes and offer.mem_bytes - mem_bytes < terms.mem_bytes:
        users = _users(state, session, lambda other: other.mem_bytes > 0)
        yield f"{mem_bytes >> 20} of {offer.mem_bytes >> 20} MiB of memory taken by {users}"
    for name, amount in terms.resources.items():
        has, taken = offer.resources.get(name, 0), session.resources_taken.get(name, 0)
        if has - taken < amount:
            users = _users(state, session, lambda other, name=name: name in other.resources)  # type: ignore[misc]
            yield f"{name}: {taken} of {has} taken by {users}"


def _users(state: State, session: Session, takes: Callable[[LaneTerms], bool]) -> str:
    """The jobs that have such tasks there."""
    found = {span.job_id: state.lanes.lane(span.job_id).terms for span in session.spans}
    found |= {ghost.job_id: ghost.terms for ghost in session.ghosts}
    jobs = [str(job_id) for job_id, terms in sorted(found.items()) if takes(terms)]
    return f"job{'s' * (len(jobs) != 1)} {names(jobs)}"


def _taken_by_nothing(state: State, session: Session) -> int:
    running = running_at(state, session)
    slots = sum(state.lanes.lane(job_id).terms.cpus * running[job_id] for job_id in running)
    return max(0, session.busy - session.resting - slots)


def names(some: Sequence[str], count: int = 0) -> str:
    """The first of them, and how many more there are: of ``count``, where ``some`` are not all."""
    rest = max(count, len(some)) - NAMED_MAX
    return ", ".join(some[:NAMED_MAX]) + (f" and {rest} more" if rest > 0 else "")
