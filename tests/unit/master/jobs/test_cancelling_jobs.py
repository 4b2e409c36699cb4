"""Jobs, and parts of them, that are to end: because somebody wishes so, or after too many bad ends."""

from typing import Any

import pytest

from cyclone.master.actions import Action, Deliver
from cyclone.master.events import CancelWanted, JobEnded, JobSealed
from cyclone.master.jobs import job_control as job_control_module
from cyclone.protocol import wire
from cyclone.protocol.job_spec import JobSelection
from cyclone.protocol.messages import Cancel, Returned, Stopped
from cyclone.protocol.states import COMPLETED, CRASHED, FAILED, QUARANTINED, SETUP_FAILED
from cyclone.results import OpenBlock, TaskResult
from tests.support.job_requests import add, cancel, control, counts, events, ids, submit
from tests.support.masters import EPOCH, Master, batch, final_states, leases, sent, tasks


def delivered(actions: list[Action]) -> TaskResult:
    """The one result."""
    (block,) = [action.block for action in actions if isinstance(action, Deliver)]
    (result,) = list[TaskResult](OpenBlock(block))
    return result


class TestCancel:
    def test_given_a_job_then_what_waits_ends_and_what_runs_is_stopped_and_the_job_ends(
        self, master: Master, running: int
    ) -> None:
        found, actions = cancel(master, ids(1), reason="too late")
        assert (found.granted, found.count) == (True, 4)
        assert events(master, CancelWanted) == [CancelWanted(1, 4, "", 1, reason="too late")]
        assert final_states(actions) == {3: "cancelled", 4: "cancelled"}
        assert [message for message in sent(actions) if isinstance(message, Cancel)] == [Cancel(running, [tasks(1, 2)])]
        confirmed = master.handle(Returned(running, 0, [tasks(1, 2)])) + master.advance()
        assert final_states(confirmed) == {1: "cancelled", 2: "cancelled"}
        assert [event.job_id for event in events(master, JobEnded)] == [1]
        assert leases(master.lease(running, 9)) == [("c1", 5, 2, 1)]

    def test_given_a_job_that_may_get_more_then_it_gets_no_more(self, master: Master) -> None:
        job_id = submit(master, 2, sealed=False).job_id
        cancel(master, ids(job_id))
        assert add(master, job_id, 1, 2).code == "no_job"
        assert [event.job_id for event in events(master, JobEnded)] == [job_id]

    @pytest.mark.parametrize("status", [COMPLETED, FAILED, CRASHED, SETUP_FAILED])
    def test_given_a_report_that_comes_after_the_wish_then_the_task_is_cancelled_whatever_it_says(
        self, master: Master, status: int
    ) -> None:
        session = master.join()
        submit(master, 2, retries=3)
        master.lease(session, 2)
        cancel(master, ids(1), reason="no use")
        actions = master.results(session, batch(1, status))
        assert final_states(actions) == {1: "cancelled"}
        result = delivered(actions)
        assert result.error is not None
        assert (result.error.type, result.error.message) == ("Cancelled", "no use")
        assert (result.controller, result.started, result.seconds, result.worker_pid) == ("c1", 100.0, 0.5, 42)

    def test_given_a_run_that_was_stopped_then_its_task_has_ended_as_it_had_run(self, master: Master) -> None:
        session = master.join()
        submit(master, 3)
        master.lease(session, 2)
        cancel(master, ids(1), reason="no use")
        actions = master.handle(Returned(session, 0, [tasks(1, 2)], [Stopped(2, EPOCH, 1, 77, 1e9, 36_000.0)]))
        result = delivered(actions)
        assert (result.task_id, result.state, result.controller) == (2, "cancelled", "c1")
        assert (result.started, result.seconds, result.worker_pid) == (1e9, 36_000.0, 77)
        assert master.scheduler.state.lanes.lane(1).out == 0
        assert final_states(master.advance()) == {1: "cancelled"}
        assert [event.job_id for event in events(master, JobEnded)] == [1]

    @pytest.mark.parametrize(
        ("run", "name"),
        [
            pytest.param(Stopped(1, EPOCH, 1, 77, 1e9, 1.0), "c2", id="of another controller"),
            pytest.param(Stopped(1, EPOCH, 9, 77, 1e9, 1.0), "c1", id="of another attempt"),
            pytest.param(Stopped(3, EPOCH, 1, 77, 1e9, 1.0), "c1", id="of a task that is nowhere"),
        ],
    )
    def test_given_a_run_of_something_else_then_nothing_ends_by_it(
        self, master: Master, run: Stopped, name: str
    ) -> None:
        sessions = {one: master.join(one) for one in ("c1", "c2")}
        submit(master, 2)
        master.lease(sessions["c1"], 2)
        cancel(master, ids(1))
        assert final_states(master.handle(Returned(sessions[name], 0, [], [run]), name)) == {}

    def test_given_a_run_that_was_stopped_where_nobody_wishes_its_end_then_its_task_waits_again(
        self, master: Master
    ) -> None:
        session = master.join()
        submit(master, 2)
        master.lease(session, 2)
        cancel(master, ids(1), indexes=[(1, 1)])
        actions = master.handle(Returned(session, 0, [tasks(1)], [Stopped(1, EPOCH, 1, 77, 1e9, 1.0)]))
        assert final_states(actions) == {}
        assert leases(master.lease(session, 1)) == [("c1", 1, 1, 2)]

    @pytest.mark.parametrize(
        ("asked", "ended", "stopped"),
        [
            pytest.param({"indexes": [(0, 0), (3, 3)]}, [4], [1], id="by index"),
            pytest.param({"indexes": [(2, 99)]}, [3, 4], [], id="beyond what there is"),
            pytest.param({"states": ("queued",)}, [3, 4], [], id="by state"),
            pytest.param({"states": ("leased",)}, [], [1, 2], id="what is leased"),
            pytest.param({"states": ("queued", "leased"), "indexes": [(1, 2)]}, [3], [2], id="both"),
            pytest.param({"states": ("held",)}, [], [], id="none"),
        ],
    )
    def test_given_a_part_of_a_job_then_that_part_ends_and_nothing_else(
        self, master: Master, running: int, asked: dict[str, Any], ended: list[int], stopped: list[int]
    ) -> None:
        dry, actions = cancel(master, ids(1), dry_run=True, **asked)
        assert final_states(actions) == {}
        found, actions = cancel(master, ids(1), **asked)
        assert (found.granted, found.count) == (dry.granted, dry.count) == (bool(ended + stopped), len(ended + stopped))
        assert final_states(actions) == dict.fromkeys(ended, "cancelled")
        held = [tasks(task_id) for task_id in stopped]
        confirmed = master.handle(Returned(running, 0, held)) + master.advance()
        assert final_states(confirmed) == dict.fromkeys(stopped, "cancelled")
        assert not events(master, JobSealed)[2:]

    @pytest.mark.parametrize(
        ("held", "asked", "text"),
        [
            pytest.param(False, {}, "1 job with 4 tasks cancelled; what runs is being stopped", id="a whole job"),
            pytest.param(False, {"states": ("queued",)}, "2 tasks cancelled", id="what waits, beside what is out"),
            pytest.param(False, {"indexes": [(2, 9)]}, "2 tasks cancelled", id="those that wait, by index"),
            pytest.param(
                False, {"states": ("leased",)}, "2 tasks cancelled; what runs is being stopped", id="what is out"
            ),
            pytest.param(
                False, {"indexes": [(1, 2)]}, "2 tasks cancelled; what runs is being stopped", id="of both, by index"
            ),
            pytest.param(
                True,
                {"states": ("queued",), "indexes": [(2, 3)]},
                "0 tasks cancelled: none of these is queued, they are held",
                id="held ones",
            ),
            pytest.param(
                True,
                {"states": ("delayed", "queued")},
                "0 tasks cancelled: none of these is delayed or queued, they are held and leased",
                id="held ones, beside what is out",
            ),
            pytest.param(
                True,
                {"states": ("queued",), "dry_run": True, "indexes": [(3, 3)]},
                "0 tasks would be cancelled: none of these is queued, they are held",
                id="what would be",
            ),
            pytest.param(False, {"indexes": [(4, 9)]}, "0 tasks cancelled: none of these is open", id="none there"),
        ],
    )
    def test_given_what_is_cancelled_then_only_what_is_at_a_controller_is_said_to_be_stopped(
        self, master: Master, running: int, held: bool, asked: dict[str, Any], text: str
    ) -> None:
        if held:
            control(master, "hold", 1)
        assert cancel(master, ids(1), **asked)[0].text == text

    def test_given_many_stretches_then_each_controller_is_asked_once_and_they_are_found_by_their_states(
        self, master: Master
    ) -> None:
        session = master.join(slots=8)
        submit(master, 9)
        for _ in range(4):
            master.lease(session, 2)
        master.results(session, batch(2, COMPLETED), batch(5, COMPLETED))
        found, actions = cancel(master, ids(1), states=("leased",))
        assert (found.count, len(events(master, CancelWanted))) == (6, 3)
        (message,) = [message for message in sent(actions) if isinstance(message, Cancel)]
        assert [(part.first, part.count) for part in message.ranges] == [(1, 1), (3, 2), (6, 1), (7, 2)]
        assert [message for message in sent(master.advance(by_s=2.1)) if isinstance(message, Cancel)] == [message]

    def test_given_wishes_that_overlap_then_what_a_controller_is_asked_for_is_named_once(self, master: Master) -> None:
        session = master.join(slots=8)
        submit(master, 8)
        master.lease(session, 8)
        cancel(master, ids(1), indexes=[(0, 4)])
        cancel(master, ids(1), indexes=[(2, 3)])
        cancel(master, ids(1), indexes=[(3, 6)])
        (message,) = [message for message in sent(master.advance(by_s=2.5)) if isinstance(message, Cancel)]
        assert wire.decode_from_master(wire.encode(message)) == message
        assert [(part.first, part.count) for part in message.ranges] == [(1, 5), (6, 2)]

    def test_given_more_stretches_than_a_request_may_have_then_nothing_is_cancelled(
        self, master: Master, running: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(job_control_module, "WISHES_MAX", 1)
        found, _ = cancel(master, ids(1), indexes=[(0, 0), (2, 2)])
        assert (found.granted, "name fewer at a time" in found.text) == (False, True)
        assert not events(master, CancelWanted)

    def test_given_more_stretches_than_controllers_can_be_asked_for_then_no_more_are_cancelled_until_they_have_ended(
        self, master: Master, running: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(job_control_module, "WISHES_OPEN_MAX", 1)
        assert cancel(master, ids(1), indexes=[(0, 0)])[0].granted
        found, _ = cancel(master, ids(1), indexes=[(1, 1)])
        assert (found.granted, "try again later" in found.text) == (False, True)
        master.handle(Returned(running, 0, [tasks(1)]))
        master.advance()
        assert cancel(master, ids(1), indexes=[(1, 1)])[0].granted

    def test_given_a_wish_and_a_restart_then_it_still_holds(self, master: Master, running: int) -> None:
        cancel(master, ids(1), indexes=[(1, 1)])
        master.restart()
        session = master.join(held=[tasks(1, 2)])
        actions = master.results(session, batch(1, COMPLETED, COMPLETED))
        assert final_states(actions) == {1: "completed", 2: "cancelled"}

    def test_given_an_attempt_that_was_given_up_and_succeeds_after_the_wish_then_it_is_cancelled(
        self, master: Master, running: int
    ) -> None:
        master.handle(Returned(running, 0, [tasks(1)]))
        cancel(master, ids(1), indexes=[(0, 0)])
        assert final_states(master.results(running, batch(1, COMPLETED))) == {}

    def test_given_nothing_that_is_meant_then_the_answer_says_so(self, master: Master, running: int) -> None:
        found, _ = cancel(master, ids(77))
        assert (found.granted, found.text) == (False, "no open job is meant by that")

    def test_given_a_wish_that_is_repeated_after_its_tasks_have_ended_then_it_is_granted_again(
        self, master: Master, running: int
    ) -> None:
        wishes: list[dict[str, Any]] = [{"indexes": [(3, 3)]}, {}]
        for wish in wishes:
            for count in (1, 0) if wish else (5, 0):
                selection = ids(1) if wish else ids(1, 2)
                found, _ = cancel(master, selection, **wish)
                assert (found.granted, found.count) == (True, count)
                master.handle(Returned(running, 0, [] if wish else [tasks(1, 2)]))
                master.advance()

    def test_given_the_last_job_then_it_is_one(self, master: Master, running: int) -> None:
        found, _ = cancel(master, JobSelection(last=True))
        assert found.count == 2
        assert {wish.job_id for wish in events(master, CancelWanted)} == {2}


class TestMaxFails:
    @pytest.mark.parametrize("limit", [0, 1, 3])
    def test_given_many_failures_in_one_batch_then_one_more_than_the_limit_counts_and_the_rest_is_cancelled(
        self, master: Master, limit: int
    ) -> None:
        session = master.join(slots=8)
        submit(master, 10, max_fails=limit)
        master.lease(session, 8)
        actions = master.results(session, batch(1, FAILED, COMPLETED, FAILED, FAILED, FAILED, FAILED, COMPLETED))
        found = final_states(actions + master.advance())
        assert list(found.values()).count("failed") == limit + 1
        last = [1, 3, 4, 5][limit]
        assert {found.get(task_id) for task_id in range(last + 1, 8)} == {"cancelled"}
        assert (found.get(9), found.get(10), found.get(8)) == ("cancelled", "cancelled", None)
        master.handle(Returned(session, 0, [tasks(8)]))
        master.advance()
        assert [event.job_id for event in events(master, JobEnded)] == [1]

    def test_given_failures_up_to_the_limit_then_the_job_goes_on(self, master: Master) -> None:
        session = master.join(slots=8)
        submit(master, 10, max_fails=2)
        master.lease(session, 4)
        assert final_states(master.results(session, batch(1, FAILED, FAILED, COMPLETED))) == {
            1: "failed",
            2: "failed",
            3: "completed",
        }
        assert not events(master, CancelWanted)

    def test_given_a_task_that_is_quarantined_then_it_counts_too(self, master: Master) -> None:
        session = master.join(slots=8)
        submit(master, 3, max_fails=0, crash_limit=1)
        master.lease(session, 1)
        found = final_states(master.results(session, batch(1, CRASHED)) + master.advance())
        assert found == {1: "quarantined", 2: "cancelled", 3: "cancelled"}
        assert QUARANTINED


def test_given_the_crash_limit_of_a_job_then_it_counts_and_not_that_of_the_master(master: Master) -> None:
    session = master.join()
    submit(master, 1, crash_limit=2)
    for attempt, state in ((1, {}), (2, {1: "quarantined"})):
        master.lease(session, 1)
        assert final_states(master.results(session, batch(1, CRASHED, attempt=attempt))) == state


@pytest.mark.parametrize("restarts", [False, True])
def test_given_that_all_tasks_so_far_are_cancelled_when_more_are_added_then_these_run(restarts: bool) -> None:
    master = Master()
    submit(master, 3, sealed=False)
    cancel(master, ids(1), indexes=[(0, 2)])
    add(master, 1, 2, offset=3, sealed=True)
    if restarts:
        master.restart()
    master.lease(master.join(), 9)
    # What a restart has left in the journal is loaded in one turn and leased in the next.
    master.advance()
    assert counts(master, 1) == {"cancelled": 3, "leased": 2}
