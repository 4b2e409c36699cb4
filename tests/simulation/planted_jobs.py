"""Bugs of jobs and namespaces to plant: the third part of ``planted.py``."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from cyclone.master.actions import Record
from cyclone.master.events import CancelWanted, JobRestored, JobSealed, JobSubmitted, TasksAdded, TasksLoaded
from cyclone.master.jobs.cancelling import Cancelling
from cyclone.master.jobs.registry import JobRecord, Jobs
from cyclone.master.leases.outcomes import Outcomes
from cyclone.master.memory_journal import JobsInMemory
from cyclone.master.scheduler import Scheduler
from cyclone.master.state import State
from cyclone.master.waiting.lane import Lane
from cyclone.master.waiting.lanes import Lanes
from cyclone.protocol.job_spec import GENERATOR_JOB, Namespace
from tests.simulation.planted import Bug, replaced


@contextmanager
def submit_is_answered_before_it_is_recorded() -> Iterator[None]:
    """A client hears of its job in one turn, and the journal in the next."""

    def is_submission(action: Any) -> bool:
        event = action.event if isinstance(action, Record) else None
        return isinstance(event, JobSubmitted | JobSealed) or (isinstance(event, TasksAdded) and event.job_id > 0)

    def make_answer(answer: Any) -> Any:
        def late(self: Scheduler, *rest: Any) -> Any:
            decided = answer(self, *rest)
            LATE.setdefault(id(self), []).extend(filter(is_submission, decided))
            return [action for action in decided if not is_submission(action)]

        return late

    def make_advance(advance: Any) -> Any:
        def advancing(self: Scheduler, now: float) -> Any:
            due = DUE.pop(id(self), [])
            DUE[id(self)] = LATE.pop(id(self), [])
            return due + advance(self, now)

        return advancing

    LATE: dict[int, list[Any]] = {}
    DUE: dict[int, list[Any]] = {}
    with replaced(Scheduler, "answer", make_answer), replaced(Scheduler, "advance", make_advance):
        yield


def _restored(forget: Any) -> AbstractContextManager[Any]:
    """A restart forgets something of each job: ``forget`` is called with the registry and the record."""

    def make(restore: Any) -> Any:
        def forgetful(self: Jobs, event: JobRestored) -> None:
            restore(self, event)
            forget(self, self.records[event.submitted.job.job_id])

        return forgetful

    return replaced(Jobs, "_restore", make)


@contextmanager
def key_is_forgotten_at_a_restart() -> Iterator[None]:
    """Who submits again after a restart makes another job."""

    def of_key(self: Jobs, key: bytes) -> JobRecord | None:
        record = next((record for record in self.records.values() if record.key == key), None)
        return None if record and record.job_id in FORGOTTEN.get(id(self), ()) else record

    FORGOTTEN: dict[int, set[int]] = {}
    with ExitStack() as stack:
        stack.enter_context(_restored(lambda jobs, record: FORGOTTEN.setdefault(id(jobs), set()).add(record.job_id)))
        stack.enter_context(patch.object(Jobs, "of_key", of_key))
        stack.enter_context(patch.object(JobsInMemory, "job_of_key", lambda self, key: None))
        yield


def late_success_of_a_cancelled_task_counts() -> AbstractContextManager[Any]:
    """What a controller reports is recorded as it is, whatever somebody has wished meanwhile."""
    return patch.object(Outcomes, "_withhold", lambda self, batch, verdict: None)


def _bad(change: int) -> AbstractContextManager[Any]:
    count = JobRecord.bad.fget  # type: ignore[attr-defined]
    return patch.object(JobRecord, "bad", property(lambda self: max(0, count(self) + change)))


def one_bad_end_is_not_counted() -> AbstractContextManager[Any]:
    """A job may have more bad ends than it was allowed."""
    return _bad(-1)


def one_bad_end_is_counted_twice() -> AbstractContextManager[Any]:
    """A job ends that has not too many bad ends."""
    return _bad(1)


def held_jobs_are_leased() -> AbstractContextManager[Any]:
    """Nobody tells the lane."""
    return patch.object(Lanes, "hold", lambda self, job_id, held: None)


def what_rests_is_not_recalled() -> AbstractContextManager[Any]:
    """What lies at a controller begins there, although its job is held, paused or expired."""
    return patch.object(Cancelling, "recall", lambda self, job_ids: None)


@contextmanager
def hold_is_forgotten_at_a_restart() -> Iterator[None]:
    """A job that was held runs after a restart."""

    def forget(jobs: Jobs, record: JobRecord) -> None:
        record.held = False
        jobs._bar(record)

    with _restored(forget):
        yield


def expiry_is_forgotten_at_a_restart() -> AbstractContextManager[Any]:
    """What a restart finds never expires."""
    return _restored(lambda jobs, record: jobs.expiring.clear())


def paused_namespaces_are_leased() -> AbstractContextManager[Any]:
    """Whether a namespace rests is not looked at."""

    def make(set_namespace: Any) -> Any:
        def restless(self: Lanes, namespace: Namespace) -> None:
            set_namespace(self, Namespace(name=namespace.name, weight=namespace.weight))

        return restless

    return replaced(Lanes, "set_namespace", make)


def moments_of_tasks_are_ignored() -> AbstractContextManager[Any]:
    """Only a job has a time before which it must not run."""

    def make(take_options: Any) -> Any:
        def careless(self: Lane, first: int, options: Any) -> None:
            take_options(self, first, [(row, None, limit_s) for row, _, limit_s in options])

        return careless

    return replaced(Lane, "take_options", make)


def limits_of_tasks_are_lost_in_the_journal() -> AbstractContextManager[Any]:
    """What was loaded has no time limit of its own any more."""

    def make(apply_loaded: Any) -> Any:
        def forgetful(self: State, block: TasksAdded) -> None:
            bare = TasksAdded(block.first, block.runs, block.args, job_id=block.job_id, offset=block.offset)
            apply_loaded(self, TasksLoaded(bare).block)

        return forgetful

    return replaced(State, "_apply_loaded", make)


def tasks_cancelled_so_far_bar_those_to_come() -> AbstractContextManager[Any]:
    """A wish for all tasks that a job has is taken for one for all that it will have."""

    def make(stop: Any) -> Any:
        def hasty(self: Jobs, wish: CancelWanted) -> None:
            stop(self, wish)
            record = self.records.get(wish.job_id or GENERATOR_JOB)
            if record and wish.first <= record.extents.first_id and wish.last >= record.extents.last_id:
                record.stopped = wish
                self._bar(record)

        return hasty

    return replaced(Jobs, "_stop", make)


JOB_BUGS: dict[str, Bug] = {
    bug.__name__: bug
    for bug in (
        submit_is_answered_before_it_is_recorded,
        key_is_forgotten_at_a_restart,
        late_success_of_a_cancelled_task_counts,
        one_bad_end_is_not_counted,
        one_bad_end_is_counted_twice,
        held_jobs_are_leased,
        what_rests_is_not_recalled,
        hold_is_forgotten_at_a_restart,
        expiry_is_forgotten_at_a_restart,
        paused_namespaces_are_leased,
        moments_of_tasks_are_ignored,
        limits_of_tasks_are_lost_in_the_journal,
        tasks_cancelled_so_far_bar_those_to_come,
    )
}
