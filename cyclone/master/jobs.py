"""Jobs: streams of like tasks, one per ``JobOptions``. PURE.

A task's options live here and never on the task. Each source of tasks (a generator; later, clients) numbers its jobs by
itself; the registry gives like jobs of all sources one number.
"""

from cyclone.protocol.messages import Job, JobOptions


class Jobs:
    """All jobs of this master, numbered from 1."""

    def __init__(self) -> None:
        self._by_id: dict[int, Job] = {}
        self._ids: dict[JobOptions, int] = {}

    def __getitem__(self, job_id: int) -> Job:
        return self._by_id[job_id]

    def __contains__(self, job_id: int) -> bool:
        return job_id in self._by_id

    def find(self, options: JobOptions) -> int | None:
        """The number of the job with these options, None when there is none yet."""
        return self._ids.get(options)

    def next_id(self) -> int:
        """The number that the next job takes."""
        return len(self._by_id) + 1

    def add(self, job: Job) -> None:
        """Take a job in under its number."""
        self._by_id[job.job_id] = job
        self._ids[job.options] = job.job_id
