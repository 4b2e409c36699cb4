"""``python -m tests.chaos.clients NUMBER SEED``: a client of a chaos run, which is killed and started again.

Submits one job after the other, follows, cancels, holds, releases or requeues it, and notes what it was *granted*: that
is what the checker holds the master to. Each life goes on with the first job that is not done, under the same key.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from cyclone.client.client import Client
from cyclone.errors import MasterBusy
from cyclone.protocol.job_messages import JobSummary
from cyclone.protocol.job_spec import JobSelection, JobSpec
from tests.chaos import history
from tests.chaos.job_plan import HOLDERS_MAX, LIMIT, JobDraw, draw
from tests.support.procfs import wait_until

TASK = "tests.chaos.workload:JobTask"
# Longer than any fault lasts.
TIMEOUT_S = 60.0


class Notes:
    """What this client was told, over all its lives."""

    def __init__(self, folder: Path, client: int) -> None:
        self._path = folder / f"client{client}.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        # A kill may have torn one.
        whole = [json.loads(line) for line in lines if line.endswith("}")]
        self.next = sum(line["event"] == "done" for line in whole)

    def add(self, event: str, job: JobDraw, **fields: object) -> None:
        line = json.dumps({"at": history.now_ns(), "event": event, "job": job.number, **fields})
        with self._path.open("a") as file:
            file.write(f"\n{line}")


def spec_of(job: JobDraw) -> JobSpec:
    """Its options."""
    return JobSpec(
        task_class=TASK,
        name=f"{job.client}/{job.number}",
        priority=job.priority,
        retries=job.retries,
        retry_delay_s=0.05,
        parallel=job.parallel,
        max_fails=job.max_fails,
        limits={LIMIT: HOLDERS_MAX} if job.is_limited else {},
    )


def _tasks(job: JobDraw) -> Iterator[bytes]:
    for index, (kind, duration_ms) in enumerate(zip(job.kinds, job.durations_ms, strict=True)):
        yield msgspec.msgpack.encode([job.first + index, kind, duration_ms])


def _live(client: Client, notes: Notes, job: JobDraw) -> None:
    """All that is done with one job."""
    job_id = client.submit(spec_of(job), _tasks(job), key=job.key)
    notes.add("submitted", job, id=job_id, count=len(job.kinds))
    selection = JobSelection(ids=[(job_id, job_id)])
    time.sleep(job.after_s)
    match job.deed:
        case "cancel":
            if client.cancel(selection).granted:
                notes.add("cancelled", job, completed=_completed(client.detail(job_id).job))
        case "hold":
            client.hold(selection)
            time.sleep(job.after_s)
            client.release(selection)
        case "requeue":
            client.requeue(job_id)
        case "follow":
            found = [(result.index, result.state) for result in client.results(job_id)]
            notes.add("followed", job, results=sorted(found))
    [ended] = client.wait([job_id])
    notes.add("ended", job, tasks=ended.tasks)
    notes.add("done", job)


def _completed(job: JobSummary | None) -> int:
    assert job is not None
    return job.tasks.get("completed", 0)


def main() -> int:
    """Until the faults are over."""
    number, seed = map(int, sys.argv[1:])
    folder = Path(os.environ[history.FOLDER])
    notes = Notes(folder, number)
    calm = folder / history.CALM
    with Client(timeout_s=TIMEOUT_S) as client:
        while not calm.exists():
            try:
                _live(client, notes, draw(seed, number, notes.next))
            except MasterBusy:
                # It has come to the end of all work between two jobs, and ends before the faults would be over.
                wait_until(calm.exists, "the faults are over", TIMEOUT_S)
            notes.next += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
