"""A client that says yes to all, and keeps what it was asked: for commands that submit and wait."""

import signal
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any, Self

from cyclone.client.task_output import OutputReader
from cyclone.errors import NoSuchJob
from cyclone.protocol.job_messages import JobSummary, NamespaceSummary, OutputAnswer, TaskRow
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace
from cyclone.protocol.limits import PAGE_ROWS_MAX
from cyclone.protocol.messages import STDERR, STDOUT, OutputPieces
from cyclone.values import decode, encode

JOB = 7


def result(
    index: int, value: Any = None, state: str = "completed", error: Any = None, records: Iterable[Any] = ()
) -> SimpleNamespace:
    """Of a task, as a client has it."""
    ok = state == "completed"
    return SimpleNamespace(
        job_id=JOB, index=index, attempt=1, value=value, state=state, ok=ok, error=error, records=list(records)
    )


def printed(stdout: str, stderr: str = "") -> dict[str, Any]:
    return {"exit_code": 0, "stdout": stdout, "stderr": stderr}


class FakeClient:
    """See the module. ``told`` are its results, and signals that come among them, once each; ``live`` is what its first
    task has printed, by attempt, in pieces; ``entries`` are the arguments of its tasks, None where they are not kept.
    """

    def __init__(self, tasks: dict[str, int] | None = None, results: Iterable[Any] = ()) -> None:
        self.address = SimpleNamespace(keys=None)
        self.calls: list[tuple[Any, ...]] = []
        self.sent: list[Any] = []
        self.ended = tasks or {"completed": 1}
        self.told = list(results)
        self.live: dict[int, list[tuple[str, bytes]]] = {}
        self.failure: Exception | None = None
        self.is_over = False
        self.is_sealed = True
        self.entries: list[Any] = []
        self.newest = 0
        self.tasks_max: int | None = None
        self.spec: JobSpec | None = None
        self._raised: list[signal.Signals] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append(("close",))

    def submit(self, spec: JobSpec, tasks: Iterable[bytes], *, key: bytes | None = None, sealed: bool = True) -> int:
        if self.failure:
            raise self.failure
        packed = list(tasks)
        self.calls.append(("submit", spec, len(packed), key, sealed))
        self.sent += [decode(one) for one in packed]
        return JOB

    def add(self, job_id: int, tasks: Iterable[bytes | None], *, offset: int, sealed: bool) -> int:
        if self.is_over:
            raise NoSuchJob("no_job", "it has ended")
        count = offset
        for packed in filter(None, tasks):
            self.sent.append(decode(packed))
            count += 1
        self.calls.append(("add", job_id, offset, sealed))
        return count

    def cancel(self, selection: JobSelection, *, reason: str) -> None:
        self.calls.append(("cancel", selection.ids, reason))

    def namespaces(self) -> list[NamespaceSummary]:
        """One, with ``tasks_max``."""
        return [NamespaceSummary(Namespace(name="default", tasks_max=self.tasks_max), 0, {})]

    def jobs(self, selection: JobSelection) -> Iterator[JobSummary]:
        """The newest is ``newest``."""
        return iter(self.wait([self.newest] if self.newest else []))

    def detail(self, job_id: int, *, with_shared: bool = False) -> SimpleNamespace:
        """Of one that has as many tasks as ``ended``, and was made as ``spec`` says."""
        return SimpleNamespace(job=self.wait([job_id])[0], spec=self.spec)

    def wait(self, job_ids: list[int], timeout_s: float | None = None) -> list[JobSummary]:
        state = "completed" if set(self.ended) <= {"completed"} else "failed"
        return [
            JobSummary(job_id, "", "default", "", state, "a:B", 0, 0.0, 0.0, self.is_sealed, self.ended)
            for job_id in job_ids
        ]

    def tasks(self, job_id: int, *, with_args: bool, page: int) -> Iterator[TaskRow]:
        """Of one whose tasks were given ``entries``."""
        assert (with_args, 0 < page <= PAGE_ROWS_MAX) == (True, True)
        for index, entry in enumerate(self.entries):
            args = b"" if entry is None else encode(entry)
            yield TaskRow(index, 1 + index, "completed", 1, "c1", args=args)

    def read_output(self, job_id: int, index: int) -> OutputReader:
        assert (job_id, index) == (JOB, 0)
        return OutputReader(self._printed)

    def _printed(self, attempt: int, offset: int, wait_s: float) -> OutputAnswer:
        """A piece at a time, of the first attempt first."""
        attempt = attempt or (min(self.live) if offset == 0 else max(self.live)) if self.live else 0
        at = 0
        for stream, data in self.live.get(attempt, []):
            if at == offset:
                pieces: OutputPieces = [(STDOUT if stream == "stdout" else STDERR, data)]
                return OutputAnswer(1, attempt, at, pieces, at + len(data), False, "running", "c1")
            at += len(data)
        return OutputAnswer(1, attempt, min(at, offset), [], at, True, "completed", "c1")

    def results(self, job_id: int, position: int = 0) -> Iterator[Any]:
        self.calls.append(("results", job_id))
        for told in self.told:
            if isinstance(told, signal.Signals):
                if told not in self._raised:
                    self._raised.append(told)
                    signal.raise_signal(told)
            else:
                yield told
