"""How jobs come in: a job is made once for each key, tasks are added once for each index. PURE.

Owns the answers to SubmitRequest and AddRequest, what is refused, and how much of submitted work the master keeps. A
request says what is to be, so that it may be repeated, and come late, without harm.
"""

from cyclone.master.events import JobSealed, JobSubmitted, TasksAdded
from cyclone.master.jobs.registry import JobRecord
from cyclone.master.jobs.rights import Who
from cyclone.master.turn import Turn
from cyclone.protocol import limits
from cyclone.protocol.job_checks import contradiction, job_of
from cyclone.protocol.job_messages import (
    BUSY,
    GAP,
    INVALID,
    NO_JOB,
    NO_NAMESPACE,
    NOT_ALLOWED,
    QUOTA,
    SEALED,
    SUBMIT_REFUSALS,
    AddRequest,
    AnyToClient,
    SubmitRequest,
    Submitted,
)
from cyclone.protocol.job_spec import JobSpec, RowOptions, TaskBlock

# Open jobs, and what their options take. The journal would hold more, but every one of them is in memory.
OPEN_JOBS_MAX = 65536
SPECS_BYTES_MAX = 512 * 1024 * 1024
# What may wait in memory where no journal can keep the rest: of one job, so that a lazy client stays lazy, and of all.
JOB_WAITING_MAX = 65536
WAITING_MAX = 1 << 20
WAITING_BYTES_MAX = 1024 * 1024 * 1024
# With a journal the disk bounds what may wait; a client is told so much at a time.
ROOM_MAX = 1 << 20


class Submissions:
    """See the module."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._state = turn.state

    def submit(self, request: SubmitRequest, who: Who, known_job: int | None, stopping: bool) -> Submitted:
        """Make a job with its first tasks; or say which it is, where the key has made one.

        The key is ``who``'s alone. ``known_job`` is one of this key that has ended, as far as the journal knows.
        """
        record = self._state.jobs.of_key(request.key)
        if record:
            record.heard_at = self._turn.now
            return self._add(request.request, record, request.block, request.sealed)
        if known_job is not None:
            # It had all that was said with its key, or it was ended before: there is nothing more to send.
            block = request.block
            count = block.offset + len(block.args) if block else 0
            return Submitted(request.request, known_job, count, sealed=True, room=0)
        if refusal := self._objection(request.spec, request.block, stopping):
            return _refused(request.request, *refusal)
        jobs, state = self._state.jobs, self._state
        job = job_of(jobs.next_id(), request.spec)
        submitted = self._turn.now + jobs.wall_offset_s
        self._turn.emit(JobSubmitted(job, request.spec, request.key, who.name, submitted, state.number))
        record = jobs.records[job.job_id]
        record.heard_at = self._turn.now
        answer = self._add(request.request, record, request.block, request.sealed)
        name = f" {request.spec.name!r}" if request.spec.name else ""
        by = f" by {who.name}" if who.name else ""
        self._turn.say("info", f"job={job.job_id}{name} submitted{by} to namespace={request.spec.namespace}")
        return answer

    def add(self, request: AddRequest, who: Who, stopping: bool) -> Submitted:
        """More tasks for a job."""
        record = self._state.jobs.records.get(request.job_id)
        if record is None:
            return _refused(request.request, NO_JOB)
        if not who.may_steer(record.owner):
            return _refused(request.request, NOT_ALLOWED, f"job {request.job_id} is {record.owner}'s")
        if stopping:
            return self._told(request.request, record, BUSY, "the master is stopping")
        return self._add(request.request, record, request.block, request.sealed)

    def room(self, record: JobRecord) -> int:
        """About how many more tasks of this job would be taken now."""
        state, lane = self._state, self._state.lanes.lane(record.job_id)
        room = ROOM_MAX
        if not state.pages:
            lanes = state.lanes
            room = min(JOB_WAITING_MAX - lane.waiting, WAITING_MAX - lanes.waiting)
            if lanes.mean_bytes:
                room = min(room, (WAITING_BYTES_MAX - lanes.bytes_in_memory) // lanes.mean_bytes)
        quota = state.jobs.namespaces[record.spec.namespace].tasks_max
        if quota is not None:
            room = min(room, quota - state.jobs.usage(record.spec.namespace).tasks)
        return max(0, room)

    def _objection(self, spec: JobSpec, block: TaskBlock | None, stopping: bool) -> tuple[str, str] | None:
        """Why no job is made of this: code and text."""
        jobs = self._state.jobs
        if text := contradiction(spec):
            return INVALID, text
        if spec.qos and spec.qos not in jobs.qos:
            return INVALID, f"qos {spec.qos!r}: expected one of {', '.join(sorted(jobs.qos))}"
        if block and block.offset:
            return GAP, "the first tasks of a job begin with index 0"
        namespace = jobs.namespaces.get(spec.namespace)
        if namespace is None:
            return NO_NAMESPACE, f"there is no namespace {spec.namespace!r}"
        usage, count = jobs.usage(spec.namespace), len(block.args) if block else 0
        if namespace.jobs_max is not None and usage.jobs >= namespace.jobs_max:
            has = "1 open job" if usage.jobs == 1 else f"{usage.jobs} open jobs"
            return QUOTA, f"namespace {spec.namespace} has {has}, and may have {namespace.jobs_max}"
        if text := self._over_quota(spec.namespace, count):
            return QUOTA, text
        if stopping:
            return BUSY, "the master is stopping"
        if len(jobs.records) >= OPEN_JOBS_MAX or jobs.spec_bytes >= SPECS_BYTES_MAX or self._is_full():
            return BUSY, SUBMIT_REFUSALS[BUSY]
        return None

    def _over_quota(self, name: str, count: int) -> str:
        quota = self._state.jobs.namespaces[name].tasks_max
        tasks = self._state.jobs.usage(name).tasks
        if quota is None or not count or tasks + count <= quota:
            return ""
        return f"namespace {name} has {tasks} open tasks, and may have {quota}: {count} more are too many"

    def _is_full(self) -> bool:
        lanes = self._state.lanes
        return not self._state.pages and (lanes.waiting >= WAITING_MAX or lanes.bytes_in_memory >= WAITING_BYTES_MAX)

    def _add(self, request: int, record: JobRecord, block: TaskBlock | None, sealed: bool) -> Submitted:
        """Take in what of a block is new, and seal the job where it has all then."""
        if block and block.offset + len(block.args) > record.added:
            if record.sealed:
                text = f"job {record.job_id} takes no more tasks: it was sealed with {record.added} of them"
                return self._told(request, record, SEALED, text)
            if block.offset > record.added:
                return self._told(request, record, GAP, f"job {record.job_id} has {record.added} tasks so far")
            if text := self._over_quota(record.spec.namespace, block.offset + len(block.args) - record.added):
                return self._told(request, record, QUOTA, text)
            if record.added and not self.room(record):
                return self._told(request, record, BUSY)
            self._take_in(record, block)
        if sealed and not record.sealed and (not block or block.offset + len(block.args) == record.added):
            self._turn.emit(JobSealed(record.job_id))
        return self._told(request, record)

    def _take_in(self, record: JobRecord, block: TaskBlock) -> None:
        known = record.added - block.offset
        args = block.args[known:] if known else block.args
        rows: tuple[RowOptions, ...] = tuple(
            (row - known, not_before, limit_s) for row, not_before, limit_s in block.options if row >= known
        )
        job_id, first = record.job_id, self._state.last_id + 1
        runs = [(job_id, len(args))]
        self._turn.emit(TasksAdded(first, runs, args, job_id=job_id, offset=record.added, options=rows))

    def _told(self, request: int, record: JobRecord, code: str = "", text: str = "") -> Submitted:
        return Submitted(
            request,
            record.job_id,
            record.added,
            record.sealed,
            self.room(record),
            record.number,
            code,
            _text(code, text),
        )


def goes_well(answer: AnyToClient) -> bool:
    """Whether it says nothing but that all was taken, and that there is room for more."""
    return isinstance(answer, Submitted) and not answer.code and answer.room > 0


def _refused(request: int, code: str, text: str = "") -> Submitted:
    return Submitted(request, 0, 0, sealed=False, room=0, code=code, text=_text(code, text))


def _text(code: str, text: str) -> str:
    return (text or SUBMIT_REFUSALS.get(code, ""))[: limits.TEXT_CHARS_MAX]
