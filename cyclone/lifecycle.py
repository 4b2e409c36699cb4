"""The life of a task and of a job: every state, every way from one to another, and by what. One table, in one place.

Owns the table that docs/task-states.md shows and that the simulation holds the master to. Knows nothing of how a state
is kept. Which transition happens is decided by the master's brain; whatever is not in the table happens nowhere.
"""

from collections.abc import Mapping
from typing import NamedTuple

from cyclone.protocol.job_lists import ended_state
from cyclone.protocol.states import FINAL_STATES

OPEN_STATES = ("held", "blocked", "delayed", "queued", "leased", "running")
"""A task without a result; ``blocked`` is kept for dependencies, which nothing makes so far."""

PROCESSED = "processed"
ALL_STATES = (*OPEN_STATES, "completed", PROCESSED, *FINAL_STATES[1:])

# Ends that count against ``max_fails``, and that make a job a failed one.
BAD_ENDS = ("failed", "timed_out", "setup_failed", "quarantined", "refused")

_WAITING = ("held", "delayed", "queued")
_OUT = ("leased", "running")
_NEW = ""


class Transition(NamedTuple):
    """From each of some states to one: by what. A task that was not there before comes from "" alone."""

    sources: tuple[str, ...]
    target: str
    by: str


TRANSITIONS = (
    Transition((_NEW,), "queued", "added: by a generator, or by a client to a job that may run"),
    Transition((_NEW,), "held", "added to a job that is held"),
    Transition((_NEW,), "delayed", "added to a job whose moment has not come"),
    Transition(("queued",), "delayed", "its turn has come, and a moment of its own has not"),
    Transition(("queued", "delayed"), "held", "its job is held"),
    Transition(("held",), "queued", "its job is released"),
    Transition(("held",), "delayed", "its job is released before its moment has come"),
    Transition(("delayed",), "queued", "its moment has come, or it is requeued and has no moment of its own"),
    Transition(("queued",), "leased", "sent to a controller that has credit, and all that its job asks for"),
    Transition(("leased",), "running", "its controller says that a worker executes it"),
    Transition(("running",), "leased", "its controller says that no worker executes it any more"),
    Transition(_OUT, "queued", "handed back, not among what its controller holds, requeued, or its controller is gone"),
    Transition(_OUT, "held", "the same, and its job is held"),
    Transition(
        _OUT, "delayed", "failed, timed out or not set up, with a retry left; exclusive, and its lease may not be over"
    ),
    Transition(_OUT, "queued", "its worker died in it, for less than the crash_limit-th time"),
    Transition(_WAITING, "leased", "the controller that had it says that it still holds it"),
    Transition((*_WAITING, *_OUT), "completed", "the first success of any attempt"),
    Transition((*_WAITING, *_OUT), "failed", "its latest attempt failed, with no retry left that covers it"),
    Transition((*_WAITING, *_OUT), "timed_out", "its latest attempt exceeded the time limit, with no retry left"),
    Transition((*_WAITING, *_OUT), "setup_failed", "what its latest attempt needs could not be prepared"),
    Transition((*_WAITING, *_OUT), "refused", "the controller of its latest attempt may not execute its class"),
    Transition(_OUT, "quarantined", "its worker died in it for the crash_limit-th time"),
    Transition(_WAITING, "cancelled", "somebody wishes so, or its job had more than max_fails bad ends"),
    Transition(_OUT, "cancelled", "the same: when its controller has stopped it, whatever it reports, or is gone"),
    Transition(_WAITING, "expired", "not_after has passed while it waits"),
    Transition(("completed",), PROCESSED, "its consumer says that it has taken the result"),
)


def may_follow(source: str, target: str) -> bool:
    """Whether a task may go from one state to the other in one step; "" is before it was there."""
    return any(source in one.sources and target == one.target for one in TRANSITIONS)


def job_state(tasks: Mapping[str, int], sealed: bool, held: bool, is_cancelled: bool = False) -> str:
    """The state of a job, one of ``states.JOB_STATES``, from its tasks by state.

    ``held``: somebody holds it; ``is_cancelled``: all of it is to end as cancelled.
    """
    is_open = any(tasks.get(state) for state in OPEN_STATES)
    if not is_open and sealed:
        return ended_state(dict(tasks))
    if is_open and is_cancelled:
        # Whatever else it is: nothing of it begins any more, or completes.
        return "cancelling"
    if held:
        # What of it is out goes on: the counts tell of that.
        return "held"
    if any(tasks.get(state) for state in _OUT):
        return "running"
    if not is_open:
        return "waiting"
    return "queued" if tasks.get("queued") else "delayed"
