"""Jobs, and parts of them, that are to end: because somebody wishes so, or after too many bad ends."""

from typing import Any

import pytest

from cyclone.master.events import CancelWanted, JobEnded, JobSealed
from cyclone.master.jobs import job_control as job_control_module
from cyclone.protocol import wire
from cyclone.protocol.job_spec import JobSelection
from cyclone.protocol.messages import Cancel, Returned
from cyclone.protocol.states import COMPLETED, CRASHED, FAILED, QUARANTINED, SETUP_FAILED
from cyclone.results import OpenBlock, TaskResult
from tests.support.job_requests import add, cancel, counts, events, ids, submit
from tests.support.masters import Master, batch, final_states, kinds, leases, sent, tasks


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
        (delivered,) = [action for action in actions if kinds([action]) == ["Deliver"]]
        (result,) = list[TaskResult](OpenBlock(delivered.block))  # type: ignore[union-attr]
        assert result.error is not None
        assert (result.error.type, result.error.message) == ("Cancelled", "no use")

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
