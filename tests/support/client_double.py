"""A Client without a master: it has the jobs, tasks and nodes that it is given, and notes what it is told to do."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Self

import pytest

from cyclone.cli import connecting
from cyclone.client.nodes import chosen
from cyclone.client.submitting import Row
from cyclone.errors import NoSuchJob
from cyclone.protocol.client_messages import Answer, CancelRequest, ControllerStatus, StatusReport
from cyclone.protocol.figure_messages import FiguresReport, FiguresRequest, TaskFigures
from cyclone.protocol.job_messages import (
    NO_JOB,
    JobDetail,
    JobSummary,
    NamespaceSummary,
    OutputAnswer,
    TaskRow,
)
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace
from cyclone.protocol.states import ENDED_JOB_STATES

GRANTED = Answer(1, True, 1, "done as wished")


def job(job_id: int, state: str = "completed", **other: Any) -> JobSummary:
    """A job of ten tasks, which ended in its state."""
    fields: dict[str, Any] = {
        "name": f"job{job_id}",
        "namespace": "default",
        "owner": "ann",
        "state": state,
        "task_class": "tests:Task",
        "priority": 0,
        "submitted": 1_700_000_000.0,
        "finished": 1_700_000_090.5,
        "sealed": True,
        "tasks": {"completed": 10},
    }
    return JobSummary(job_id=job_id, **(fields | other))


def task(index: int, state: str = "completed", **other: Any) -> TaskRow:
    """A task that took half a second."""
    fields: dict[str, Any] = {
        "attempt": 1,
        "controller": "node1",
        "started": 1_700_000_001.0,
        "seconds": 0.5,
        "args": b"\x91" + bytes([index % 100]),
        "value": bytes([index % 100]) if state == "completed" else b"",
        "error": "" if state in ("completed", "running") else "ValueError: no\nmore of it",
    }
    return TaskRow(index=index, task_id=1000 + index, state=state, **(fields | other))


class ClientDouble:
    """``asked`` are the calls that change something: name, then what they were given."""

    def __init__(self) -> None:
        self.summaries: list[JobSummary] = []
        self.rows: dict[int, Iterable[TaskRow]] = {}
        self.figures: dict[int, list[TaskFigures]] = {}
        self.controllers: list[ControllerStatus] = []
        self.qos: dict[str, tuple[int, float]] = {"normal": (0, 1.0), "gold": (5, 2.0)}
        self.spaces = [NamespaceSummary(Namespace(name="default"), 0, {})]
        self.asked: list[tuple[Any, ...]] = []
        self.reasons: list[tuple[str, str]] = []
        self.spec: JobSpec | None = None
        self.failures: list[tuple[str, int, int]] = []
        self.answer: Callable[..., Answer] = lambda *_, **__: GRANTED
        self.pages: list[int] = []
        self.printed_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def jobs(self, selection: JobSelection, *, before: int = 0, page: int = 4096) -> Iterator[JobSummary]:
        self.pages.append(page)
        newest_first = sorted(self.summaries, key=lambda one: -one.job_id)
        found = (one for one in newest_first if _fits(one, selection) and (not before or one.job_id < before))
        return itertools.islice(found, 1 if selection.last else None)

    def tasks(
        self,
        job_id: int,
        *,
        start: int = 0,
        states: Sequence[str] = (),
        with_args: bool = False,
        with_values: bool = False,
        page: int = 4096,
    ) -> Iterator[TaskRow]:
        self.pages.append(page)
        return (row for row in self.rows.get(job_id, ()) if row.index >= start and (not states or row.state in states))

    def detail(self, job_id: int, *, with_shared: bool = False) -> JobDetail:
        for one in self.summaries:
            if one.job_id == job_id:
                return JobDetail(1, one, self.spec, self.failures, "")
        raise NoSuchJob(NO_JOB, f"there is no job {job_id}")

    def explain(self, job_id: int, index: int | None = None) -> list[tuple[str, str]]:
        self.asked.append(("explain", job_id, index))
        return self.reasons

    def wait(self, job_ids: Sequence[int], timeout_s: float | None = None) -> list[JobSummary]:
        found = {one.job_id: one for one in self.summaries}
        if still := [one for one in job_ids if found[one].state not in ENDED_JOB_STATES]:
            raise TimeoutError(f"not ended after {timeout_s:g} s: {still}")
        return [found[one] for one in job_ids]

    def status(self) -> StatusReport:
        awaited = ["node003", "node001", "node002"]
        return StatusReport(1, "3", "on", 2, {"queued": 1}, 5, False, False, awaited, self.controllers, self.qos)

    def nodes(self, names: Collection[str] | None = None, **filters: Any) -> list[ControllerStatus]:
        return chosen(self.controllers, names, **filters)

    def namespaces(self) -> list[NamespaceSummary]:
        return self.spaces

    def submit(
        self, spec: JobSpec, tasks: Iterable[bytes | Row], *, key: bytes | None = None, sealed: bool = True
    ) -> int:
        self.asked.append(("submit", spec, [one.args if isinstance(one, Row) else one for one in tasks], key))
        return 77

    def ask(self, make: Callable[[int], CancelRequest]) -> Answer:
        request = make(1)
        self.asked.append(("ask", request))
        return self.answer(request)

    def expect(self, _: type, make: Callable[[int], FiguresRequest]) -> FiguresReport:
        """Of a job page by page: indexes stand for the numbers of pages."""
        request = make(1)
        self.asked.append(("figures", request.job_id, request.start, request.stop))
        pages = self.figures.get(request.job_id, [TaskFigures()])
        following = request.start + 1
        return FiguresReport(1, pages[request.start], following if following < len(pages) else None)

    def output(self, *_: int, **__: int) -> OutputAnswer:
        return OutputAnswer(1, 0, 0, [], self.printed_bytes, True, "")

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        """Whatever changes something: noted, and answered."""

        def call(*args: Any, **options: Any) -> Answer:
            self.asked.append((name, *args, *([options] if options else [])))
            return self.answer(*args, **options)

        return call


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ClientDouble:
    """The client that the verbs get."""
    double = ClientDouble()
    monkeypatch.setattr(connecting, "client", lambda _, **__: double)
    return double


def _fits(one: JobSummary, selection: JobSelection) -> bool:
    return (
        (not selection.ids or any(low <= one.job_id <= high for low, high in selection.ids))
        and selection.namespace in ("", one.namespace)
        and selection.owner in ("", one.owner)
        and (not selection.states or one.state in selection.states)
    )
