"""Jobs: streams of like tasks, one per (task class, options). PURE.

A task's options live here and never on the task. Each source of tasks (a generator; later, clients) numbers its jobs by
itself; the registry gives like jobs of all sources one number.
"""

from cyclone.protocol.messages import Job


class Jobs:
    """All jobs of this master, numbered from 1."""

    def __init__(self) -> None:
        self._by_id: dict[int, Job] = {}
        self._ids: dict[tuple[str, float | None], int] = {}

    def __getitem__(self, job_id: int) -> Job:
        return self._by_id[job_id]

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._by_id

    def find(self, task_class: str, time_limit_s: float | None) -> int | None:
        """The number of the job with this class and these options, None when there is none yet."""
        return self._ids.get((task_class, time_limit_s))

    def next_id(self) -> int:
        """The number that the next job takes."""
        return len(self._by_id) + 1

    def add(self, job: Job) -> None:
        """Take a job in under its number."""
        self._by_id[job.job_id] = job
        self._ids[job.task_class, job.time_limit_s] = job.job_id
