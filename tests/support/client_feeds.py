"""The feeds of a master for clients that follow a job, with a journal and clients that are played."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from cyclone.master.actions import Follow
from cyclone.master.clients.client_feeds import ClientFeeds
from cyclone.master.events import JobSubmitted
from cyclone.master.jobs.rights import ANYBODY, Who
from cyclone.master.journal import Journal
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import FollowRequest, JobBlock, JobResults, JobSummary
from cyclone.protocol.job_spec import JobSpec
from cyclone.protocol.messages import Job, ResultColumns
from cyclone.results import RecordedBlock, encode_columns, pack_seconds
from cyclone.task_rows import job_block

JOB = 7
WINDOW = 1 << 20


def block(first: int, values: list[bytes], accepted: bytes | None = None) -> RecordedBlock:
    """Results as they are recorded, of tasks from this id on."""
    body = encode_columns(ResultColumns(values, pack_seconds([0.5] * len(values)), 100.0, 42))
    runs = [("tasks.empty:EmptyTask", len(values))]
    return RecordedBlock(first, 1, runs, [b"\x90"] * len(values), bytes(len(values)), accepted, body, "node1")


@dataclass
class Memory:
    """What a journal knows of one job: its blocks by number."""

    kept: dict[int, list[JobBlock]] = field(default_factory=dict)
    ended: bool = False
    lost: int = 0
    forgotten: int = 0

    def job_results_after(self, job_id: int, number: int) -> Iterator[tuple[int, list[JobBlock]]]:
        assert job_id == JOB
        while following := [other for other in self.kept if other > number]:
            number = min(following)
            yield number, self.kept[number]

    def ended_job(self, job_id: int) -> tuple[JobSubmitted, JobSummary, str] | None:
        if not self.ended or job_id != JOB:
            return None
        submitted = JobSubmitted(Job(JOB, "m:C"), JobSpec(task_class="m:C"), b"k" * 16, "ann", 1.0, 0)
        return submitted, JobSummary(JOB, "", "default", "ann", "completed", "m:C", 0, 1.0, 2.0, True, {}), ""

    def lost_results(self, job_id: int) -> int:
        return self.lost

    def forget(self, job_id: int, number: int) -> None:
        self.forgotten = max(self.forgotten, number)


class World:
    """A feed with a client of each name; what is sent and arrives is in ``inbox``."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.inbox: dict[bytes, list[JobResults | Answer]] = {}
        self.full: set[bytes] = set()
        self.number = 0
        self.now = 100.0
        self.index = 0
        self.feeds = ClientFeeds(cast(Journal, self.memory), self._send, 0)

    def _send(self, peer: bytes, message: Any) -> bool:
        if peer in self.full:
            return False
        self.inbox.setdefault(peer, []).append(message)
        return True

    def follow(
        self,
        peer: bytes = b"a",
        position: int = 0,
        window: int = WINDOW,
        resume: bool = False,
        start: int = 0,
        consume: bool = True,
        who: Who = ANYBODY,
    ) -> None:
        request = FollowRequest(1, JOB, position, window, resume, consume)
        is_open = not self.memory.ended
        self.feeds.follow(Follow(peer, request, start, is_open, who, "ann" if is_open else ""), self.now)

    def record(self, rows: int = 1, *, of_job: bool = True, size: int = 1) -> None:
        """Some results are recorded, of the job or of another one."""
        self.number += 1
        recorded = block(self.number * 1000, [b"\xc4" + bytes([min(size, 255)]) + bytes(size)] * rows)
        parts = ((JOB, self.index, 0, rows),) if of_job else ((JOB + 1, 0, 0, rows),)
        if of_job:
            self.memory.kept[self.number] = [job_block(recorded, self.index, 0, rows)]
            self.index += rows
        self.feeds.deliver(self.number, recorded, parts)

    def end(self) -> None:
        self.memory.ended = True
        self.feeds.ended(JOB)

    def turn(self, seconds: float = 0.0) -> list[JobResults]:
        """What the client ``a`` gets in a turn."""
        self.now += seconds
        self.inbox.clear()
        for _ in range(1000):
            if not self.feeds.turn(self.now, idle=True):
                break
        self.feeds.turn(self.now, idle=True)
        return [one for one in self.inbox.get(b"a", []) if isinstance(one, JobResults)]


def rows(messages: list[JobResults]) -> list[int]:
    """The indexes of the tasks whose results these are."""
    return [one.index + row for message in messages for one in message.blocks for row in range(len(one.statuses))]
