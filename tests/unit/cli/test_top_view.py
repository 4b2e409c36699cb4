"""What ``cyclone top`` shows, as text: figures from two looks, in whatever room there is."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from cyclone.cli import top_view
from cyclone.cli.main import _run
from cyclone.cli.top_view import Rates, Sample, View
from cyclone.protocol.client_messages import ControllerStatus, StatusReport
from cyclone.protocol.job_messages import JobDetail, NamespaceSummary
from cyclone.protocol.job_spec import Namespace
from tests.support.client_double import ClientDouble, client, job, task

__all__ = ["client"]
WIDTH, HEIGHT = 80, 24


def status(tasks: dict[str, int], *controllers: ControllerStatus, epoch: int = 1) -> StatusReport:
    return StatusReport(1, "3.0", "on", epoch, tasks, 0, False, False, [], list(controllers))


def node(name: str, slots: int = 4, busy: int = 0, mark: str = "") -> ControllerStatus:
    return ControllerStatus(name, name, slots, busy, 0.0, mark, busy)


def sample(now: float = 100.0, **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "status": status({"queued": 90, "completed": 5, "failed": 5}, node("n1", busy=4), node("n2", mark="drained")),
        "namespaces": [
            NamespaceSummary(Namespace(name="night", weight=2.5, paused=True), 0, {}),
            NamespaceSummary(Namespace(name="default"), 2, {"queued": 90, "running": 4}, 1.0),
            NamespaceSummary(Namespace(name="idle"), 0, {}),
        ],
        "jobs": [
            job(1, "running", name="one", tasks={"queued": 90, "completed": 5, "failed": 5}),
            job(2, "queued", name="\x1b[2Jtwo", tasks={"queued": 10}),
        ],
        "failures": [("ValueError: no\x07", 5, "1.7")],
    }
    return Sample(now, **(fields | changes))


def text(shown: Sample, view: View | None = None, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    found = top_view.lines(shown, view or View("tcp://head:5678"), width, height)
    assert len(found) <= height
    lines = ["".join(part for part, _ in line) for line in found]
    assert all(len(line) <= width and line.isprintable() for line in lines)
    return [line.rstrip() for line in lines]


def test_given_two_looks_then_it_is_known_what_started_and_ended_in_between() -> None:
    before = sample(100.0, status=status({"completed": 100}, node("n", busy=1)), jobs=[job(1, tasks={"completed": 90})])
    later = sample(102.0, status=status({"completed": 300}, node("n", busy=5)), jobs=[job(1, tasks={"completed": 200})])
    assert top_view.rates(before, later) == Rates(started=102.0, ended=100.0, jobs={1: 55.0})


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(None, id="the first look"),
        pytest.param(sample(100.0), id="at the same moment"),
        pytest.param(sample(90.0, status=status({"completed": 900}, epoch=7)), id="another life of the master"),
    ],
)
def test_given_nothing_to_compare_with_then_no_rate_is_made_up(before: Sample | None) -> None:
    assert top_view.rates(before, sample(100.0)) == Rates()
    assert "-/s started  -/s ended" in text(sample())[1]


@pytest.mark.parametrize(
    ("tasks", "sealed", "rate", "eta_s"),
    [
        ({"queued": 90, "completed": 10}, True, 10.0, 9.0),
        ({"queued": 90, "completed": 10}, True, 0.0, None),
        ({"queued": 90, "completed": 10}, True, None, None),
        ({"queued": 90, "completed": 10}, False, 10.0, None),
        ({"completed": 10}, True, 10.0, None),
    ],
)
def test_given_a_rate_then_the_time_left_follows_where_all_tasks_are_known(
    tasks: dict[str, int], sealed: bool, rate: float | None, eta_s: float | None
) -> None:
    assert top_view.eta_s(job(1, tasks=tasks, sealed=sealed), rate) == eta_s


def test_given_a_screen_of_80_by_24_then_all_of_it_is_there() -> None:
    view = View("tcp://head:5678", keys="q quit", rates=Rates(12.34, 1234.0, {1: 10.0, 2: 0.0}))
    assert text(sample(), view) == [
        "tcp://head:5678  Cyclone 3.0, epoch 1",
        "tasks  12.3/s started  1,234/s ended  90 open  10 ended  5 badly",
        "slots  #####.....  4 busy  4 free",
        "",
        "NAMESPACE             SHARE  WEIGHT       WAIT      RUN    JOBS",
        "default                100%       1         90        4       2",
        "night                    0%     2.5          0        0       0  paused",
        "",
        "NODES                    SLOTS     BUSY",
        "drained             1        4        0",
        "up                  1        4        4",
        "",
        "    JOB NAME         STATE     DONE                 LEFT    BAD      /S    ETA",
        "      2 \\x1b[2Jtwo   queued    ..........   0%        10      0     0.0",
        "      1 one          running   #.........  10%        90      5    10.0   9.0s",
        "",
        " FAILED  SUCH AS      CAUSE",
        "      5  1.7          ValueError: no\\x07",
        *[""] * 5,
        "q quit",
    ]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12), (20, 4), (1, 1), (80, 5), (200, 60)])
def test_given_little_room_then_the_figures_of_the_whole_stay_and_nothing_overflows(width: int, height: int) -> None:
    many = sample(
        jobs=[job(n, "running", name="x" * 90) for n in range(300)],
        failures=[(f"E{n}: {'y' * 300}", 1, f"1.{n}") for n in range(50)],
        namespaces=[NamespaceSummary(Namespace(name=f"n{n}"), 1, {}) for n in range(40)],
    )
    found = text(many, View("tcp://head:5678", keys="q quit"), width, height)
    assert found[0].startswith("tcp://head:5678"[:width])
    if height >= 4 and width >= 20:
        assert found[2].startswith("slots")
        assert found[-1] == "q quit"
    if (width, height) == (80, 24):
        heads = ("NAMESPACE", "NODES", "    JOB", " FAILED")
        assert all(any(line.startswith(head) for line in found) for head in heads)


@pytest.mark.parametrize(
    ("sort", "ids"),
    [("newest", [3, 2, 1]), ("rate", [1, 3, 2]), ("progress", [2, 3, 1]), ("failures", [3, 2, 1]), ("eta", [1, 3, 2])],
)
def test_given_a_way_to_sort_then_jobs_stand_so(sort: str, ids: list[int]) -> None:
    jobs = [
        job(1, "running", tasks={"queued": 90, "completed": 10}),
        job(2, "running", tasks={"queued": 10, "completed": 90}),
        job(3, "running", tasks={"queued": 50, "completed": 45, "failed": 5}),
    ]
    view = View("m", sort, rates=Rates(jobs={1: 50.0, 2: 0.0, 3: 5.0}))
    found = [line for line in text(sample(jobs=jobs), view) if line[:8].strip().isdigit() and " job" in line]
    assert [int(line[:8]) for line in found] == ids


def test_given_failures_of_several_jobs_then_those_of_a_kind_are_added_up() -> None:
    kinds = [(1, [("E: a", 3, 7), ("E: b", 9, 2)]), (2, [("E: a", 7, 0)])]
    assert top_view.grouped(kinds) == [("E: a", 10, "1.7"), ("E: b", 9, "1.2")]


def test_given_no_terminal_then_it_is_one_look(client: ClientDouble, capsys: pytest.CaptureFixture[str]) -> None:
    client.address = "tcp://head:5678"  # type: ignore[attr-defined]
    client.controllers = [node("n1", busy=2)]
    client.summaries = [job(1, "running", tasks={"failed": 2, "queued": 3}), job(2)]
    client.failures = [("E: x", 2, 0)]
    assert _run(["top", "-d", "100ms"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tcp://head:5678  Cyclone 3, epoch 2"
    assert any(line.split()[:2] == ["1", "job1"] for line in lines)
    assert not any(line.split()[:2] == ["2", "job2"] for line in lines)
    assert lines[-1] == "      2  1.0          E: x"
    assert not any("\x1b" in line for line in lines)


def test_given_jobs_that_ended_lately_then_the_first_look_shows_why_they_failed(
    client: ClientDouble, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_700_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    failed = {"tasks": {"failed": 3}}
    client.summaries = [
        job(1, "failed", finished=now - 100_000, **failed),
        job(2, "failed", finished=now - 3_600, **failed),
        job(3, "completed", finished=now),
        job(4, "failed", finished=now, namespace="night", **failed),
    ]
    asked: list[int] = []
    whys = {1: "long ago", 2: "last night", 4: "just now"}

    def detail(job_id: int) -> JobDetail:
        asked.append(job_id)
        return JobDetail(1, job(job_id), None, [(f"E: {whys[job_id]}", job_id, 0)])

    monkeypatch.setattr(client, "detail", detail)
    assert _run(["top", "--once", "-d", "100ms"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        " FAILED  SUCH AS      CAUSE",
        "      4  4.0          E: just now",
        "      2  2.0          E: last night",
    ]
    # What has ended does not change: it is asked about once, however often is looked.
    assert sorted(asked) == [2, 4]
    client.spaces.append(NamespaceSummary(Namespace(name="night"), 0, {}))
    assert _run(["top", "--once", "-d", "100ms", "-n", "night"]) == 0
    assert "E: last night" not in capsys.readouterr().out


def test_given_programs_then_one_look_is_one_json_object(
    client: ClientDouble, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client.summaries = [job(1, "running", tasks={"queued": 90, "completed": 8, "failed": 2})]
    client.controllers = [node("n1", busy=3), node("n2", mark="drained")]
    client.failures = [("pkg.E: took # s", 2, 0)]
    client.rows[1] = [task(0, "failed", error="pkg.E: took 5 s\nin a\nfile")]
    moments = iter((100.0, 100.5))
    clock = SimpleNamespace(monotonic=lambda: next(moments), sleep=_skip, time=_now)
    monkeypatch.setattr("cyclone.cli.top.time", clock)
    assert _run(["top", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "cyclone.top/1"
    assert (told["slots"], told["busy"]) == (8, 3)
    assert told["nodes"]["drained"] == {"nodes": 1, "slots": 4, "busy": 0}
    assert told["namespaces"][0]["name"] == "default"
    (shown,) = told["jobs"]
    assert (shown["id"], shown["ended"], shown["bad"], shown["ended_per_s"], shown["eta_s"]) == (1, 10, 2, 0.0, None)
    assert told["failures"] == [{"error": "pkg.E: took 5 s\nin a\nfile", "count": 2, "example": "1.0"}]


def test_given_failures_of_a_kind_then_top_shows_the_words_of_one_without_its_module(
    client: ClientDouble, capsys: pytest.CaptureFixture[str]
) -> None:
    client.summaries = [job(1, "running", tasks={"queued": 1, "failed": 2})]
    client.failures = [("pkg.mod.E: took # s", 2, 3)]
    client.rows[1] = [task(3, "failed", error="pkg.mod.E: took 5 s\nin a file")]
    assert _run(["top", "--once", "-d", "100ms"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "      2  1.3          E: took 5 s"


def _skip(_: float) -> None:
    pass


def _now() -> float:
    return 1_700_000_000.0
