"""Open jobs and their tasks in lists."""

from typing import Any

import pytest

from cyclone.error_kinds import OTHERS
from cyclone.master.actions import Consult, Follow
from cyclone.master.jobs import listing as listing_module
from cyclone.master.jobs.failures import KINDS_MAX, Failures
from cyclone.master.jobs.rights import ANYBODY
from cyclone.protocol.figure_messages import FiguresRequest
from cyclone.protocol.job_messages import DetailRequest, FollowRequest, JobsRequest, TasksRequest
from cyclone.protocol.job_spec import JobSelection
from cyclone.protocol.messages import ErrorRecord, ResultBatch, ResultColumns, State
from cyclone.protocol.states import COMPLETED, FAILED
from cyclone.results import encode_columns, pack_seconds
from tests.support.job_requests import ANN, BOB, CLIENT, add, ask, cancel, control, ids, submit
from tests.support.masters import Master, batch, tasks


@pytest.fixture
def jobs(master: Master) -> Master:
    """1 and 2 are Ann's, 3 is Bob's and held, 4 has nothing yet; the first task of 1 runs, the second is leased."""
    submit(master, 4, "a", who=ANN, name="scan", tags={"k": "v"}, session="s1")
    submit(master, 1, "b", who=ANN, name="copy", priority=5)
    submit(master, 2, "c", who=BOB, name="scan", held=True)
    submit(master, 0, "d", who=BOB, sealed=False)
    session = master.join()
    control(master, "hold", 2)
    master.lease(session, 2)
    master.handle(State(session, 99, 1, 2, 2, 1, [tasks(1, 2)], [tasks(1)]))
    control(master, "release", 2)
    return master


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        pytest.param({}, [4, 3, 2, 1], id="all"),
        pytest.param({"ids": [(1, 1), (3, 9)]}, [4, 3, 1], id="by id"),
        pytest.param({"ids": [(0, 1 << 40)]}, [4, 3, 2, 1], id="by a range that has no end"),
        pytest.param({"owner": "ann"}, [2, 1], id="by owner"),
        pytest.param({"name": "scan"}, [3, 1], id="by name"),
        pytest.param({"session": "s1"}, [1], id="by session"),
        pytest.param({"tags": {"k": "v"}}, [1], id="by tag"),
        pytest.param({"tags": {"k": "w"}}, [], id="by another tag"),
        pytest.param({"namespace": "night"}, [], id="by namespace"),
        pytest.param({"states": ("held", "running")}, [3, 1], id="by state"),
        pytest.param({"states": ("waiting",)}, [4], id="what may get more"),
        pytest.param({"states": ("queued",)}, [2], id="what is queued"),
    ],
)
def test_given_a_selection_then_those_that_fit_are_listed_the_newest_first(
    jobs: Master, selection: dict[str, Any], found: list[int]
) -> None:
    meant = JobSelection(**selection)
    assert [one.job_id for one in jobs.scheduler.job_summaries(meant, 0, 9)[0]] == found
    assert [one.job_id for one in jobs.scheduler.job_summaries(meant, 0, 1)[0]] == found[:1]
    older, _ = jobs.scheduler.job_summaries(meant, 3, 9)
    assert [one.job_id for one in older] == [one for one in found if one < 3]
    assert [one.job_id for one in listing_module.selected(jobs.scheduler.state, meant)] == found


@pytest.mark.parametrize("sealed", [True, False])
def test_given_a_job_that_is_held_while_its_last_tasks_run_then_it_is_held_wherever_it_is_shown(
    master: Master, sealed: bool
) -> None:
    session = master.join()
    submit(master, 3, sealed=sealed)
    master.lease(session, 3)
    master.handle(State(session, 99, 1, 3, 2, 2, [tasks(1, 3)], [tasks(1, 2)]))
    control(master, "hold", 1)
    ((one,), _) = master.scheduler.job_summaries(JobSelection(states=("held",)), 0, 9)
    assert (one.state, one.tasks) == ("held", {"running": 2, "leased": 1})
    assert not master.scheduler.job_summaries(JobSelection(states=("running",)), 0, 9)[0]
    assert [record.job_id for record in listing_module.selected(master.scheduler.state, JobSelection(states=("held",)))]
    detail = master.scheduler.detail(1)
    assert detail is not None
    assert detail.job == one


def test_given_a_held_job_that_is_cancelled_then_it_is_that_while_it_ends(master: Master) -> None:
    session = master.join()
    submit(master, 3)
    master.lease(session, 1)
    control(master, "hold", 1)
    cancel(master, ids(1))
    ((one,), _) = master.scheduler.job_summaries(JobSelection(states=("cancelling",)), 0, 9)
    assert (one.state, one.tasks) == ("cancelling", {"leased": 1, "cancelled": 2})
    assert not master.scheduler.job_summaries(JobSelection(states=("held",)), 0, 9)[0]


def test_given_more_jobs_than_one_call_looks_at_then_the_next_one_goes_on(
    jobs: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "_LOOKS_MAX", 1)
    found, before = [], 0
    for _ in range(10):
        some, before = jobs.scheduler.job_summaries(JobSelection(name="scan"), before, 9)
        assert len(some) <= 1
        found += [one.job_id for one in some]
        if not before:
            break
    assert found == [3, 1]


@pytest.mark.parametrize(
    ("ranges", "found"),
    [
        ([(2, 3), (5, 1 << 40)], [3, 2]),
        ([(1, 1), (3, 1 << 40), ((1 << 40) + 5, 1 << 50)], [4, 3, 1]),
        ([(1 << 40, 1 << 50)], []),
    ],
)
def test_given_ranges_of_ids_wider_than_all_jobs_then_those_within_are_listed(
    jobs: Master, ranges: list[tuple[int, int]], found: list[int]
) -> None:
    some, _ = jobs.scheduler.job_summaries(JobSelection(ids=ranges), 0, 9)
    assert [one.job_id for one in some] == found


def test_given_a_job_then_its_line_says_what_it_is_and_how_its_tasks_are(jobs: Master) -> None:
    (one,), _ = jobs.scheduler.job_summaries(ids(1), 0, 1)
    assert (one.name, one.owner, one.state, one.task_class) == ("scan", "ann", "running", "tests:Task")
    assert one.tasks == {"running": 1, "leased": 1, "queued": 2}
    assert (one.sealed, one.finished, one.tags, one.session) == (True, 0.0, {"k": "v"}, "s1")


def test_given_a_generator_then_its_tasks_are_those_of_the_oldest_job(master: Master) -> None:
    session = master.join()
    submit(master, 3)
    master.offer(4)
    master.lease(session, 5)
    master.results(session, batch(1, COMPLETED, FAILED), batch(4, COMPLETED, FAILED))
    for _ in range(2):
        found = {one.job_id: one.tasks for one in master.scheduler.job_summaries(JobSelection(), 0, 9)[0]}
        assert list(found) == [1, 0]
        assert found[0] == {"completed": 1, "failed": 1, "queued": 2}
        assert found[1] == {"completed": 1, "failed": 1, "leased": 1}
        detail = master.scheduler.detail(0)
        assert detail is not None
        assert detail.job is not None
        assert (detail.job.name, detail.job.state, detail.spec) == ("generator", "queued", None)
        master.restart()
        session = master.join(held=[tasks(3)])
        master.advance()


Row = tuple[int, int, int, str, int, str]


def live(master: Master, job_id: int, start: int = 0, stop: int = 1 << 62) -> list[Row]:
    found = master.scheduler.live_tasks(job_id, start, stop)
    return [(run.index, run.task_id, run.count, run.state, run.attempt, run.controller) for run in found]


class TestLiveTasks:
    def test_given_tasks_in_all_states_then_each_stretch_of_like_ones_is_a_run(self, jobs: Master) -> None:
        assert live(jobs, 1) == [
            (0, 1, 1, "running", 1, "c1"),
            (1, 2, 1, "leased", 1, "c1"),
            (2, 3, 2, "queued", 0, ""),
        ]
        assert live(jobs, 3) == [(0, 6, 2, "held", 0, "")]
        assert live(jobs, 4) == live(jobs, 77) == []

    def test_given_a_window_then_what_lies_in_it_is_told(self, jobs: Master) -> None:
        assert live(jobs, 1, 1, 3) == [(1, 2, 1, "leased", 1, "c1"), (2, 3, 1, "queued", 0, "")]

    def test_given_results_and_failures_then_what_is_done_is_not_there_and_what_waits_again_is(
        self, master: Master
    ) -> None:
        session = master.join()
        submit(master, 5, retries=1)
        master.lease(session, 4)
        master.results(session, batch(1, COMPLETED, FAILED, COMPLETED))
        assert live(master, 1) == [
            (1, 2, 1, "delayed", 1, ""),
            (3, 4, 1, "leased", 1, "c1"),
            (4, 5, 1, "queued", 0, ""),
        ]

    def test_given_the_generator_then_its_tasks_are_listed_by_their_ids_and_nobody_elses(self, master: Master) -> None:
        master.offer(2)
        submit(master, 3)
        master.offer(2)
        session = master.join()
        master.handle(State(session, 1, 0, 1, 2, 0, []))
        master.advance()
        assert live(master, 0) == [(1, 1, 1, "leased", 1, "c1"), (2, 2, 1, "queued", 0, ""), (6, 6, 2, "queued", 0, "")]

    def test_given_a_job_in_many_blocks_then_it_is_told_in_order(
        self, master: Master, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listing_module, "_CHUNK_TASKS", 2)
        one, two = (submit(master, 1, name, sealed=False).job_id for name in ("a", "b"))
        for offset in (1, 4):
            add(master, one, 3, offset)
            add(master, two, 3, offset)
        found = live(master, two)
        assert [index for index, _, count, *_ in found for index in range(index, index + count)] == list(range(7))


class TestDetail:
    def test_given_failures_then_they_are_grouped_by_their_kind_with_an_example(self, master: Master) -> None:
        session = master.join()
        submit(master, 6)
        master.lease(session, 6)
        errors = [
            "cannot open file 17",
            "cannot open file 18",
            "",
            "no route to 0xbeef\nand more",
            "cannot open file 9",
        ]
        values = [encode_columns(ErrorRecord("OSError", text)) if text else b"\xc0" for text in errors]
        body = encode_columns(ResultColumns(values, pack_seconds([0.1] * 5), 1.0, 42))
        statuses = bytes(FAILED if text else COMPLETED for text in errors)
        master.results(session, ResultBatch(1, 7, 1, statuses, body))
        detail = master.scheduler.detail(1)
        assert detail is not None
        assert detail.failures == [("OSError: cannot open file #", 3, 0), ("OSError: no route to #", 1, 3)]
        assert detail.job is not None
        assert detail.job.tasks == {"completed": 1, "failed": 4, "leased": 1}
        assert master.scheduler.detail(9) is None

    def test_given_more_kinds_than_are_kept_then_the_others_are_counted_together(self) -> None:
        failures = Failures()
        for number in range(KINDS_MAX + 5):
            value = encode_columns(ErrorRecord("E" + "x" * number, "m"))
            body = encode_columns(ResultColumns([value], pack_seconds([0.1]), 1.0, 42))
            failures.learn(ResultBatch(1, 1, 1, bytes([FAILED]), body), None, ((3, number, 0, 1),))
        assert failures.of_job(3)[0] == (OTHERS, 5, KINDS_MAX)
        failures.forget(3)
        assert failures.of_job(3) == []

    def test_given_what_nobody_can_read_then_that_is_its_kind(self) -> None:
        failures = Failures()
        failures.learn(ResultBatch(1, 1, 1, bytes([FAILED]), b"\xff"), None, ((3, 0, 0, 1),))
        assert failures.of_job(3) == [("unreadable", 1, 0)]


@pytest.mark.parametrize(
    "request_",
    [JobsRequest(1, JobSelection()), TasksRequest(1, 1), DetailRequest(1, 1), FiguresRequest(1, 1)],
    ids=lambda request: type(request).__name__,
)
def test_given_a_request_that_the_journal_has_a_part_of_then_the_body_answers(jobs: Master, request_: Any) -> None:
    assert ask(jobs, request_) == [Consult(CLIENT, request_)]


@pytest.mark.parametrize(
    ("job_id", "start", "is_open", "owner"), [(2, 0, True, "ann"), (1, 0, True, "ann"), (77, 0, False, "")]
)
def test_given_somebody_who_follows_then_the_body_knows_where_the_job_begins_and_whose_it_is(
    jobs: Master, job_id: int, start: int, is_open: bool, owner: str
) -> None:
    request = FollowRequest(1, job_id, 0, 1 << 20)
    assert ask(jobs, request) == [Follow(CLIENT, request, start, is_open, ANYBODY, owner)]


def test_given_a_job_that_was_submitted_later_then_it_begins_behind_the_results_before_it(master: Master) -> None:
    session = master.join()
    submit(master, 1, "a")
    master.lease(session, 1)
    master.results(session, batch(1, COMPLETED))
    assert submit(master, 1, "b").number == 1
    request = FollowRequest(1, 2, 0, 1 << 20)
    assert ask(master, request) == [Follow(CLIENT, request, 1, True)]
