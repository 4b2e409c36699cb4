"""Jobs come in: once for each key, once for each index, or with a reason why not."""

from typing import Any

import pytest

from cyclone.master.actions import Deliver, Finish
from cyclone.master.events import JobEnded, JobSealed, JobSubmitted, TasksAdded
from cyclone.master.jobs import submissions as submissions_module
from cyclone.protocol.job_messages import BUSY, NamespaceRequest, SubmitRequest, Submitted
from cyclone.protocol.job_spec import JobSpec, Namespace
from cyclone.protocol.messages import Job, Tasks
from cyclone.protocol.states import COMPLETED
from tests.support.job_requests import ANN, BOB, add, ask, block, key, submit, told
from tests.support.masters import Master, batch, kinds, leases, sent
from tests.unit.master.conftest import NewMaster


def recorded(master: Master, kind: type) -> list[Any]:
    return [event for event in master.recorded if isinstance(event, kind)]


def test_given_a_job_then_it_is_recorded_before_it_is_answered(master: Master) -> None:
    spec = JobSpec(task_class="m:A", shared=b"\x91\x07", cpus=2, wait_after_success_s=0.5, environment={"A": "b"})
    master.now = 100.0
    actions = ask(master, SubmitRequest(9, key("k"), spec, block(3), sealed=True), ANN)
    assert kinds(actions) == ["Record JobSubmitted", "Record TasksAdded", "Record JobSealed", "Say", "Send Submitted"]
    assert told(actions) == Submitted(9, 1, 3, sealed=True, room=submissions_module.ROOM_MAX)
    (submitted,) = recorded(master, JobSubmitted)
    job = Job(1, "m:A", shared=b"\x91\x07", cpus=2, waits=(0.5, 0.0, 0.0), environment={"A": "b"}, namespace="default")
    assert submitted == JobSubmitted(job, spec, key("k"), "ann", 1e9 + 100.0, 0)
    (added,) = recorded(master, TasksAdded)
    assert (added.first, added.runs, added.job_id, added.offset) == (1, [(1, 3)], 1, 0)


def test_given_a_sealed_job_when_all_its_tasks_have_results_then_it_ends_and_leaves_memory(master: Master) -> None:
    job_id = submit(master, 3).job_id
    session = master.join()
    actions = master.lease(session, 3)
    assert leases(actions) == [("c1", 1, 3, 1)]
    (message,) = [message for message in sent(actions) if isinstance(message, Tasks)]
    assert [job.job_id for job in message.jobs] == [job_id]
    master.results(session, batch(1, COMPLETED, COMPLETED))
    assert kinds(master.advance()) == []
    delivered = master.results(session, batch(3, COMPLETED))
    (parts,) = [action.parts for action in delivered if isinstance(action, Deliver)]
    assert parts == ((job_id, 2, 0, 1),)
    master.advance()
    assert recorded(master, JobEnded) == [JobEnded(job_id, 1e9 + master.now)]
    assert job_id not in master.scheduler.state.jobs
    assert not master.scheduler.state.jobs.usage("default").jobs


def test_given_a_job_that_is_sealed_without_any_task_then_it_ends(master: Master) -> None:
    job_id = submit(master, 0).job_id
    master.advance()
    assert [event.job_id for event in recorded(master, JobEnded)] == [job_id]


class TestRepeated:
    def test_given_the_same_key_then_it_is_the_same_job_and_nothing_is_added_twice(self, master: Master) -> None:
        first = submit(master, 3, sealed=False)
        known = len(master.recorded)
        assert submit(master, 3, sealed=False, task_class="m:Other") == first
        assert len(master.recorded) == known

    def test_given_the_key_of_a_job_that_has_ended_then_it_is_that_one(self, master: Master) -> None:
        again = submit(master, 3, known_job=17)
        assert (again.job_id, again.count, again.sealed, again.code) == (17, 3, True, "")
        assert not master.recorded

    def test_given_a_restart_of_the_master_then_the_key_is_still_known(self, master: Master) -> None:
        first = submit(master, 3, sealed=False)
        master.restart()
        assert submit(master, 3, sealed=False) == first
        assert submit(master, 3, "other").job_id == first.job_id + 1


class TestAdding:
    @pytest.mark.parametrize(
        ("count", "offset", "code", "total"),
        [
            pytest.param(2, 3, "", 5, id="behind"),
            pytest.param(3, 0, "", 3, id="again"),
            pytest.param(1, 1, "", 3, id="again a part"),
            pytest.param(4, 1, "", 5, id="partly new"),
            pytest.param(2, 4, "gap", 3, id="a gap"),
            pytest.param(0, 0, "", 3, id="nothing"),
        ],
    )
    def test_given_a_job_of_three_then_what_is_new_is_added(
        self, master: Master, count: int, offset: int, code: str, total: int
    ) -> None:
        job_id = submit(master, 3, sealed=False).job_id
        for _ in range(2):
            answer = add(master, job_id, count, offset)
            assert (answer.code, answer.count, answer.sealed) == (code, total, False)
        blocks = recorded(master, TasksAdded)
        assert sum(len(one.args) for one in blocks) == total
        assert [one.offset for one in blocks] == [0, 3][: len(blocks)]

    def test_given_a_block_that_is_partly_new_then_so_are_its_options(self, master: Master) -> None:
        job_id = submit(master, 3, sealed=False).job_id
        add(master, job_id, 4, 1, options=[(0, None, 1.0), (2, None, 2.0), (3, 5.0, None)])
        assert recorded(master, TasksAdded)[-1].options == ((0, None, 2.0), (1, 5.0, None))

    def test_given_the_last_tasks_then_the_job_is_sealed_once_and_takes_no_more(self, master: Master) -> None:
        job_id = submit(master, 3, sealed=False).job_id
        for _ in range(2):
            assert add(master, job_id, 2, 3, sealed=True).sealed
        assert recorded(master, JobSealed) == [JobSealed(job_id)]
        assert add(master, job_id, 1, 5).code == "sealed"

    def test_given_a_seal_with_a_block_that_comes_too_early_then_the_job_is_not_sealed(self, master: Master) -> None:
        job_id = submit(master, 3, sealed=False).job_id
        assert not add(master, job_id, 1, 7, sealed=True).sealed

    def test_given_two_jobs_in_turn_then_each_has_its_own_indexes(self, master: Master) -> None:
        one, two = (submit(master, 2, name, sealed=False).job_id for name in ("a", "b"))
        add(master, one, 3, 2)
        add(master, two, 3, 2)
        records = master.scheduler.state.jobs.records
        assert list(records[one].extents) == [(0, 1, 2), (2, 5, 3)]
        assert list(records[two].extents) == [(0, 3, 2), (2, 8, 3)]

    def test_given_a_job_that_there_is_not_or_of_somebody_else_then_nothing_is_added(self, master: Master) -> None:
        assert add(master, 9, 1, 0).code == "no_job"
        job_id = submit(master, 1, who=ANN, sealed=False).job_id
        assert add(master, job_id, 1, 1, who=BOB).code == "not_allowed"
        assert add(master, job_id, 1, 1, who=ANN).count == 2


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        pytest.param({"task_class": "m"}, "invalid", "expected module:Class", id="no class"),
        pytest.param({"shared": b"\x07"}, "invalid", "expected a msgpack array", id="shared of another kind"),
        pytest.param({"not_before": 9.0, "not_after": 9.0}, "invalid", "not_after", id="over before it begins"),
        pytest.param({"nodes": ("n1",), "exclude": ("n1", "n2")}, "invalid", "nobody is left", id="no node left"),
        pytest.param({"directory": "relative"}, "invalid", "begins with /", id="a relative directory"),
        pytest.param({"environment": {"A=": "b"}}, "invalid", "without '='", id="no name of a variable"),
        pytest.param({"environment": {"A": "b\0"}}, "invalid", "NUL", id="no value of a variable"),
        pytest.param({"qos": "fastest"}, "invalid", "high, low, normal, urgent", id="no class of service"),
        pytest.param({"namespace": "none"}, "no_namespace", "'none'", id="no namespace"),
    ],
)
def test_given_options_that_make_no_job_then_nothing_is_recorded(
    master: Master, options: dict[str, Any], code: str, text: str
) -> None:
    answer = submit(master, 1, **options)
    assert (answer.code, answer.job_id) == (code, 0)
    assert text in answer.text
    assert not master.recorded


def test_given_more_options_than_a_message_has_room_for_then_they_are_refused(master: Master) -> None:
    answer = submit(master, 1, environment={f"v{i}": "x" * 4096 for i in range(1024)}, shared=b"\x90" * (3 << 20))
    assert (answer.code, "expected at most" in answer.text) == ("invalid", True)


class TestQuota:
    @pytest.fixture
    def night(self, master: Master) -> Master:
        ask(master, NamespaceRequest(1, "set", Namespace(name="night", jobs_max=1, tasks_max=5)))
        return master

    def test_given_as_many_jobs_as_there_may_be_then_another_is_refused_until_one_ends(self, night: Master) -> None:
        first = submit(night, 1, "a", namespace="night")
        assert first.room == 4
        assert submit(night, 1, "b", namespace="night").code == "quota"
        assert submit(night, 1, "a", namespace="night").job_id == first.job_id
        session = night.join()
        night.lease(session, 1)
        night.results(session, batch(1, COMPLETED))
        night.advance()
        assert submit(night, 1, "b", namespace="night").code == ""

    def test_given_more_tasks_than_there_may_be_then_the_block_is_refused_as_a_whole(self, night: Master) -> None:
        assert submit(night, 6, "a", namespace="night").code == "quota"
        job_id = submit(night, 3, "a", namespace="night", sealed=False).job_id
        answer = add(night, job_id, 3, 3)
        assert (answer.code, answer.count, answer.room) == ("quota", 3, 2)
        assert add(night, job_id, 2, 3).count == 5


@pytest.mark.parametrize("end", ["stop", "all is done"])
def test_given_a_master_that_ends_then_it_makes_no_job_that_nobody_would_run(new_master: NewMaster, end: str) -> None:
    master = new_master(exit_when_done=True)
    master.join()
    if end == "stop":
        master.scheduler.stop(master.now)
    else:
        master.exhaust()
        assert Finish() in master.advance()
    answer = submit(master, 1)
    assert (answer.code, answer.text) == (BUSY, "the master is stopping")
    assert not recorded(master, JobSubmitted)


class TestBusy:
    def test_given_no_journal_then_a_job_gets_no_more_than_memory_is_for(
        self, new_master: NewMaster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(submissions_module, "JOB_WAITING_MAX", 10)
        master = new_master(pages=False)
        job_id = submit(master, 8, sealed=False).job_id
        assert add(master, job_id, 4, 8).room == 0
        assert add(master, job_id, 4, 12).code == "busy"
        assert submit(master, 4, "other").code == ""

    @pytest.mark.parametrize(("limit", "value"), [("OPEN_JOBS_MAX", 1), ("SPECS_BYTES_MAX", 4096)])
    def test_given_as_many_open_jobs_as_memory_is_for_then_another_is_told_to_wait(
        self, master: Master, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
    ) -> None:
        monkeypatch.setattr(submissions_module, limit, value)
        assert submit(master, 1, "a").code == ""
        assert submit(master, 1, "b").code == "busy"

    def test_given_a_master_that_stops_then_it_takes_nothing_new(self, master: Master) -> None:
        job_id = submit(master, 1, sealed=False).job_id
        master.scheduler.stop(master.now)
        assert submit(master, 1, "b").code == "busy"
        assert add(master, job_id, 1, 1).code == "busy"


def test_given_results_of_two_jobs_in_one_batch_then_each_part_names_its_job_and_index(master: Master) -> None:
    session = master.join(slots=8)
    one, two = submit(master, 2, "a", sealed=False).job_id, submit(master, 2, "b", sealed=False).job_id
    add(master, one, 2, 2)
    for _ in range(3):
        master.lease(session, 2)
    actions = master.results(session, batch(1, *[COMPLETED] * 6))
    (delivered,) = [action for action in actions if isinstance(action, Deliver)]
    assert delivered.parts == ((one, 0, 0, 2), (two, 0, 2, 2), (one, 2, 4, 2))
