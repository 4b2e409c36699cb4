"""What verbs print with ``--json``, of a master without a network that has one of everything: for docs/json.md.

Owns the examples: of each schema so many that every field is there with a value, and as null where it can be null.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cyclone.cli import connecting, tasks
from cyclone.cli.main import _run
from cyclone.cli.submit_plan import COMMAND_CLASS
from cyclone.client.task_output import OutputReader
from cyclone.journal import open_journal
from cyclone.protocol.client_messages import ControllerStatus, StatusReport
from cyclone.protocol.event_messages import EventsReport, Happening
from cyclone.protocol.figure_messages import TaskFigures
from cyclone.protocol.job_messages import JobDetail, NamespaceSummary, OutputAnswer
from cyclone.protocol.job_spec import JobSpec, Namespace
from cyclone.protocol.messages import CUT, STDERR, STDOUT, Offer
from tests.support.client_double import ClientDouble, job, task
from tests.support.journal_tools import fill
from tests.support.journals import ORIGIN

IN_FILE = ", the file"
"""Behind a schema: that of a file, which has other fields than what is printed."""

_EVERY_FIELD = ",".join(column.name for column in tasks.LISTING.columns)
COMMANDS: dict[str, Sequence[str]] = {
    "cyclone.jobs/1": ("jobs --json",),
    "cyclone.tasks/1": ("tasks 5 --json", "tasks 5 --args --values --json", f"tasks 5 --json -o {_EVERY_FIELD}"),
    "cyclone.results/1": ("results 5 --json",),
    "cyclone.events/1": ("events --json", "events --since 2.5 --json"),
    "cyclone.nodes/1": ("nodes --json",),
    "cyclone.namespaces/1": ("namespaces --json",),
    "cyclone.stats/1": ("stats 5 6 --json",),
    "cyclone.keys/1": ("keys list --dir keys --json",),
    "cyclone.submit/1": ("submit --json -- true", "submit --wait --json -- true"),
    "cyclone.submit-dry-run/1": ("submit --dry-run --json -- echo ::: a b",),
    "cyclone.retry/1": ("retry 5 --only failed --json", "retry 5 --dry-run --json"),
    "cyclone.wait/1": ("wait 5 --json", "wait 6 --timeout 1ms --json"),
    "cyclone.job/1": ("show 0 --json", "show 5 --json", "show 6 --json"),
    "cyclone.task/1": tuple(f"show 5.{index} --json" for index in range(5)),
    "cyclone.explanation/1": ("explain 6 --json", "explain 6.2 --json", "explain 5 --json", "explain 5.0 --json"),
    "cyclone.logs/1": ("logs 5.0 --json",),
    "cyclone.export/1": ("export 5 out --json", "export 5 out --json"),
    f"cyclone.export/1{IN_FILE}": ("export 5 out --json",),
    "cyclone.answers/1": ("drain node1 --json", "hold 6 --json", "namespaces set night --weight 2 --json"),
    "cyclone.namespace/1": ("namespaces purge night --dry-run --json",),
    "cyclone.status/1": ("status --json",),
    "cyclone.master_stats/1": ("stats --json",),
    "cyclone.top/1": ("top --json", "top --json"),
    "cyclone.journal_stats/1": ("journal stats filled --json", "journal stats empty --json"),
    "cyclone.config_check/1": ("config check master.conf bad.conf --json",),
}
"""Command lines by schema. They are called in the folder of ``world``."""

_A_LINE_EACH = ("cyclone.events/1", "cyclone.logs/1")
_START = 1_700_000_001.5
_OPTIONS = JobSpec(
    task_class=COMMAND_CLASS,
    tags={"kind": "x"},
    time_limit_s=9.0,
    retry_on=("OSError",),
    crash_limit=3,
    max_fails=1,
    resources={"gpus": 1},
    nodes=("node1",),
    not_before=_START,
    not_after=_START + 1,
    parallel=2,
    limits={"licence": 1},
    environment={"A": "b"},
    keep_s=60.0,
)
_SPECS = {5: _OPTIONS, 6: JobSpec(task_class="a:B")}
_HAPPENED = [
    Happening(4, _START, "job_submitted", "ann", 5, "night", "scan", text="a:Task"),
    Happening(5, _START, "controller_joined", controller="node1"),
    Happening(6, _START, "job_ended", "", 5, "night", "scan", "", {"completed": 9}, "completed", True),
]
_MASTER = "[task_generator]\nmodule = task.generator.benchmark_task_generator\nclass = BenchmarkTaskGenerator\n"


_NOT_RUN: dict[str, Any] = {"started": 0.0, "seconds": 0.0, "value": b"", "error": ""}
_TASKS = [
    task(0, cpu_s=0.25, peak_bytes=1 << 20),
    task(1, "failed", traceback="Traceback", printed=msgspec.msgpack.encode({"stdout": "said"})),
    task(2, "running", since=_START, **_NOT_RUN),
    task(3, "expired", controller="", **_NOT_RUN | {"args": b"", "error": "TaskExpired: too late"}),
    task(4, "queued", controller="", **_NOT_RUN),
]
_JOBS = [
    job(0, "queued", name="generator", owner="", task_class="", submitted=0.0, finished=0.0),
    job(5, "failed", task_class=COMMAND_CLASS, session="s", tags={"kind": "x"}, tasks={"completed": 1, "failed": 1}),
    job(6, "running", finished=0.0, tasks={"queued": 9, "completed": 1}),
    job(77),
]
_RAN = TaskFigures({"failed": 2}, 3, ["node1"], 2, 2.0, 0.5, 1.5, 0.25, 300, _START, _START + 2.0, [("E: #", 2, 1)])
_OFFER = Offer(("night",), ("gpu",), 1 << 30, {"gpus": 2}, True)
_CONTROLLERS = [
    ControllerStatus("node1", "head", 4, 2, 0.1, "drained", 2, _OFFER, "3.0", "3.11.2", 1),
    ControllerStatus("node2", "node2", 4, 0, 0.2, ""),
]


class _Master(ClientDouble):
    """One of everything; ``top`` looks at it four times, and the last time it has been started again."""

    def __init__(self) -> None:
        super().__init__()
        self.summaries = list(_JOBS)
        self.rows[5] = _TASKS
        self.figures = {5: [_RAN], 6: [TaskFigures({"queued": 1})]}
        self.controllers = _CONTROLLERS
        night = Namespace(name="night", jobs_max=5, tasks_max=100)
        self.spaces.append(NamespaceSummary(night, 1, {"queued": 9}, 1.0))
        self.reasons = [("held", "job 6 is held: release it")]
        self.failures = [("ValueError: no", 1, 1)]
        self.printed_bytes = 7
        self.address = SimpleNamespace(keys=None)
        self.epochs = itertools.chain((2, 2, 2), itertools.repeat(3))

    def status(self) -> StatusReport:
        return msgspec.structs.replace(super().status(), epoch=next(self.epochs))

    def detail(self, job_id: int, *, with_shared: bool = False) -> JobDetail:
        return msgspec.structs.replace(super().detail(job_id), spec=_SPECS.get(job_id))

    def event_page(self, after: int, epoch: int) -> EventsReport:
        """Of the third epoch; of what was before, nothing at all is known."""
        return EventsReport(1, 3, 4, 6, [] if epoch == 2 else _HAPPENED)

    def read_output(self, _: int, index: int, **__: int) -> OutputReader:
        """The first task has printed more than is kept, one line of it in no encoding that we know."""
        pieces: list[tuple[Any, bytes]] = [
            (STDOUT, b"said\n"),
            (STDERR, b"\xff\n"),
            *([(CUT, b"more")] if index == 0 else []),
        ]
        size = sum(len(data) for _, data in pieces)

        def ask(_: int, offset: int, __: float) -> OutputAnswer:
            return OutputAnswer(1, 1, offset, [] if offset else pieces, size, True, "completed", "node1")

        return OutputReader(ask)

    def work(self, _: float) -> None:
        """What happens between two looks."""
        self.summaries[2] = job(6, "running", finished=0.0, tasks={"queued": 8, "completed": 2})


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which ``COMMANDS`` find what they ask for."""
    master = _Master()
    monkeypatch.setattr(connecting, "client", lambda *_, **__: master)
    clock = SimpleNamespace(monotonic=itertools.count(100.0).__next__, sleep=master.work, time=lambda: _START)
    monkeypatch.setattr("cyclone.cli.top.time", clock)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("CYCLONE_NAMESPACE", "CYCLONE_SERVER", "CYCLONE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("master.conf").write_text(_MASTER)
    Path("bad.conf").write_text("[control]\nversion = 1.4.1\nodd = 1\n")
    return tmp_path


def examples(schema: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[dict[str, Any]]:
    """The objects of this schema that its commands print, as a strict parser reads them."""
    if schema == "cyclone.keys/1":
        _run(["keys", "init", "--dir", "keys", "--address", "head"])
        _run(["keys", "add", "ann", "--dir", "keys", "--role", "client"])
    elif schema == "cyclone.journal_stats/1":
        for name in ("filled", "empty"):
            journal = open_journal(folder / name, ORIGIN)
            if name == "filled":
                fill(journal)
            journal.close()
    for words in COMMANDS[schema]:
        capsys.readouterr()
        _run(words.split())
        printed = capsys.readouterr().out
        if schema.endswith(IN_FILE):
            yield msgspec.json.decode((folder / "out" / "job-5.json").read_bytes())
        else:
            yield from map(msgspec.json.decode, printed.splitlines() if schema in _A_LINE_EACH else [printed])
