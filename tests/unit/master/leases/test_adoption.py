"""After a restart controllers say what they hold and report what they did: what stays theirs, and what still counts."""

import pytest

from cyclone.master.actions import Deliver, Record, Send
from cyclone.master.events import AttemptsEnded, ResultsRecorded
from cyclone.protocol.messages import (
    Recorded,
    Refused,
    ResultBatch,
    Returned,
    TaskRange,
)
from cyclone.protocol.states import COMPLETED, CRASHED, FAILED, TIMED_OUT
from cyclone.results import RecordedBlock, row_columns
from tests.support.masters import (
    EPOCH,
    MANY,
    NEXT,
    Master,
    batch,
    dropped,
    final_states,
    hello,
    holders,
    kinds,
    leases,
    peer,
    ready,
    sent,
    tasks,
)
from tests.unit.master.conftest import NewMaster

ARGS = b"\x90"
TIMEOUT_S = 15.0


@pytest.fixture
def master(new_master: NewMaster) -> Master:
    """c1 held the tasks 1 to 4 of a block of six when the master was killed; 7 to 9 were never offered."""
    master = new_master()
    session = master.join("c1", "1")
    master.offer(6)
    master.offer(3)
    master.lease(session, 4)
    master.restart()
    return master


class TestAdoption:
    @pytest.mark.parametrize(
        ("held", "adopted", "drop"),
        [
            pytest.param([tasks(1, 4)], [1, 2, 3, 4], [], id="all that it was leased"),
            pytest.param([tasks(1), tasks(3, 2)], [1, 3, 4], [], id="parts"),
            pytest.param([], [], [], id="nothing"),
            pytest.param([tasks(1, 4, attempt=3)], [1, 2, 3, 4], [], id="an attempt that the journal does not know of"),
            pytest.param([tasks(1, 4, epoch=2)], [1, 2, 3, 4], [], id="an epoch long ago"),
            pytest.param([tasks(5, 3)], [5, 6], [tasks(7)], id="beyond the horizon"),
            pytest.param([tasks(1, 2, epoch=NEXT)], [], [tasks(1, 2, epoch=NEXT)], id="this epoch, which leased none"),
            pytest.param([tasks(1, 2, epoch=9)], [], [tasks(1, 2, epoch=9)], id="an epoch to come"),
            pytest.param([tasks(90, 3)], [], [tasks(90, 3)], id="tasks that do not exist"),
        ],
    )
    def test_given_the_controller_of_before_then_what_it_holds_stays_with_it(
        self, master: Master, held: list[TaskRange], adopted: list[int], drop: list[TaskRange]
    ) -> None:
        assert dropped(master.handle(hello("c1", "1", held=held))) == drop
        token = (held[0].epoch, held[0].attempt) if held else (0, 0)
        rest = set(range(1, 7)) - set(adopted)
        assert holders(master) == dict.fromkeys(adopted, ("c1", token)) | dict.fromkeys(rest, ("?", (0, 1)))

    def test_given_it_is_known_then_its_coming_back_is_not_recorded_again(self, master: Master) -> None:
        assert kinds(master.handle(hello("c1", "1", held=[tasks(1, 4)]))) == ["Say", "Send Welcome"]

    def test_given_adopted_tasks_then_none_is_leased_again_and_their_results_are_recorded_once(
        self, master: Master
    ) -> None:
        session = master.join("c1", "1", held=[tasks(1, 4)])
        master.state(session, MANY, [tasks(1, 4)])
        assert leases(master.advance()) == [("c1", 5, 2, 2)]
        done = batch(1, COMPLETED, COMPLETED, COMPLETED, COMPLETED)
        block = RecordedBlock(1, 1, [("tests:Task", 4)], [ARGS] * 4, done.statuses, None, done.body, "c1")
        assert master.results(session, done) == [
            Record(ResultsRecorded(1, done, None, "c1")),
            Deliver(1, block),
            Send(peer("c1"), Recorded(session, [1])),
        ]
        assert master.results(session, done) == [Send(peer("c1"), Recorded(session, [2]))]

    def test_given_adopted_tasks_when_it_greets_again_then_they_stay_with_it(self, master: Master) -> None:
        master.join("c1", "1", held=[tasks(1, 4)])
        assert dropped(master.handle(hello("c1", "1", held=[tasks(1, 3), tasks(4)]))) == []
        assert {task_id: name for task_id, (name, _) in holders(master).items() if task_id < 5} == dict.fromkeys(
            range(1, 5), "c1"
        )

    def test_given_adopted_tasks_when_a_state_does_not_list_them_or_they_are_handed_back_then_they_wait(
        self, master: Master
    ) -> None:
        session = master.join("c1", "1", held=[tasks(1, 4)])
        master.handle(Returned(session, 0, [tasks(1)]))
        master.state(session, 0, [tasks(3, 2)])
        assert master.scheduler.state.lanes.window.returned_count == 2
        master.state(session, 2, [tasks(3, 2)])
        assert leases(master.advance()) == [("c1", 1, 1, 2), ("c1", 2, 1, 2)]

    def test_given_adopted_tasks_when_their_controller_falls_silent_then_the_old_leases_are_recorded_as_lost(
        self, master: Master
    ) -> None:
        master.join("c1", "1", held=[tasks(1, 2, attempt=5)])
        master.advance()
        assert Record(AttemptsEnded(1, 2, EPOCH, 5, 7, "c1")) in master.advance(TIMEOUT_S + 1)
        ready(master, "c2", "2", 2)
        assert leases(master.advance()) == [("c2", 1, 2, 6)]

    def test_given_adopted_tasks_then_their_time_begins_anew(self, new_master: NewMaster) -> None:
        master = new_master(task_resend_timeout_s=50.0, controller_timeout_s=1000.0)
        session = master.join("c1", "1")
        master.offer(2)
        master.lease(session, 2)
        master.restart()
        master.join("c1", "1", held=[tasks(1, 2)])
        assert master.advance(50.0) == []
        assert kinds(master.advance(5.0))[0] == "Say"

    @pytest.mark.parametrize("later_first", [False, True])
    def test_given_two_leases_of_the_same_tasks_then_the_later_one_counts_whoever_comes_first(
        self, new_master: NewMaster, later_first: bool
    ) -> None:
        master = new_master()
        first, second = master.join("c1", "1"), master.join("c2", "2")
        master.offer(4)
        master.lease(first, 4)
        master.handle(Returned(first, 0, [tasks(2, 2)]))
        master.lease(second, 2)
        master.restart()
        claims = {"c1": ("1", [tasks(1, 4)]), "c2": ("2", [tasks(2, 2, attempt=2)])}
        drops = {}
        for name in sorted(claims, reverse=later_first):
            incarnation, held = claims[name]
            drops[name] = dropped(master.handle(hello(name, incarnation, held=held), name))
        assert drops == {"c1": [tasks(2, 2)] if later_first else [], "c2": []}
        assert holders(master) == {
            1: ("c1", (EPOCH, 1)),
            2: ("c2", (EPOCH, 2)),
            3: ("c2", (EPOCH, 2)),
            4: ("c1", (EPOCH, 1)),
        }
        sessions = master.scheduler.state.sessions.by_name
        earlier, later = sessions["c1"].session_id, sessions["c2"].session_id
        assert final_states(master.results(earlier, batch(2, FAILED, COMPLETED))) == {3: "completed"}
        assert final_states(master.results(later, batch(2, FAILED, FAILED, attempt=2))) == {2: "failed"}

    def test_given_a_lease_of_this_epoch_then_one_of_an_earlier_epoch_comes_too_late(self, master: Master) -> None:
        ready(master, "c1", "2", 6)
        master.advance()
        assert dropped(master.handle(hello("c9", "9", held=[tasks(1, 4)]), "c9")) == [tasks(1, 4)]
        assert set(holders(master).values()) == {("c1", (NEXT, 2))}

    def test_given_what_belongs_to_another_journal_then_nothing_of_it_is_adopted(self, master: Master) -> None:
        actions = master.handle(hello("c1", "1", held=[tasks(1, 4)], journal_id="e" * 32))
        assert dropped(actions) == [tasks(1, 4)]
        assert set(holders(master).values()) == {("?", (0, 1))}

    def test_given_a_new_incarnation_then_the_one_that_the_journal_knows_never_comes_back(self, master: Master) -> None:
        master.join("c1", "2")
        assert [type(message) for message in sent(master.handle(hello("c1", "1", held=[tasks(1, 4)]), "old"))] == [
            Refused
        ]


class TestLateReports:
    """c1 greets without claiming anything and reports what it did in the epoch before."""

    @pytest.fixture
    def session(self, master: Master) -> int:
        return master.join("c1", "1")

    @pytest.mark.parametrize(
        ("status", "state"), [(COMPLETED, "completed"), (FAILED, "failed"), (TIMED_OUT, "timed_out")]
    )
    @pytest.mark.parametrize("waits", [False, True])
    def test_given_an_outcome_of_the_epoch_before_then_it_counts_while_the_task_has_no_lease_of_this_one(
        self, master: Master, session: int, status: int, state: str, waits: bool
    ) -> None:
        if waits:
            master.advance()
        assert final_states(master.results(session, batch(2, status))) == {2: state}
        assert final_states(master.results(session, batch(2, status))) == {}

    @pytest.mark.parametrize(("status", "expected"), [(COMPLETED, {2: "completed"}), (FAILED, {}), (CRASHED, {})])
    def test_given_an_outcome_of_the_epoch_before_when_the_task_is_leased_again_then_only_a_success_counts(
        self, master: Master, session: int, status: int, expected: dict[int, str]
    ) -> None:
        master.state(session, 6)
        master.advance()
        assert final_states(master.results(session, batch(2, status))) == expected
        assert master.scheduler.state.crashes == {}

    @pytest.mark.parametrize(
        "late",
        [
            pytest.param(batch(7, COMPLETED), id="above what that epoch can have leased"),
            pytest.param(batch(6, COMPLETED, COMPLETED), id="in part above it"),
            pytest.param(batch(9, COMPLETED, epoch=1), id="an epoch long ago"),
            pytest.param(batch(1, COMPLETED, epoch=NEXT, attempt=3), id="a lease that this epoch never gave"),
            pytest.param(batch(1, COMPLETED, epoch=NEXT + 1), id="an epoch to come"),
        ],
    )
    def test_given_a_report_that_cannot_be_then_it_is_acknowledged_and_changes_nothing(
        self, master: Master, session: int, late: ResultBatch
    ) -> None:
        other = ready(master, "c2", "2")
        master.advance()
        master.advance()
        before = holders(master)
        assert before[7] == ("c2", (NEXT, 1))
        assert master.results(session, late) == [Send(peer("c1"), Recorded(session, [1]))]
        assert holders(master) == before
        assert final_states(master.results(other, batch(7, COMPLETED, epoch=NEXT))) == {7: "completed"}

    def test_given_a_crash_of_the_epoch_before_then_it_is_charged_and_the_task_waits(
        self, master: Master, session: int
    ) -> None:
        crash = batch(2, CRASHED)
        assert master.results(session, crash)[0] == Record(
            AttemptsEnded(2, 1, EPOCH, 1, CRASHED, "c1", row_columns(crash.body, 0))
        )
        assert master.scheduler.state.crashes == {2: 1}
        assert master.scheduler.state.lanes.window.returned_count == 1

    @pytest.mark.parametrize("claimed", [False, True])
    def test_given_a_crash_that_is_told_again_after_the_restart_then_it_is_charged_once_and_takes_nothing_away(
        self, new_master: NewMaster, claimed: bool
    ) -> None:
        master = new_master()
        first, second = master.join("c1", "1"), master.join("c2", "2")
        master.offer(1)
        master.lease(first, 1)
        master.results(first, batch(1, CRASHED))
        master.lease(second, 1)
        master.restart()
        # What c1 has not been told to be recorded, it still answers for.
        session = master.join("c1", "1", held=[tasks(1)] if claimed else [])
        master.state(session, 1)
        assert kinds(master.results(session, batch(1, CRASHED))) == ["Send Recorded"]
        assert leases(master.advance()) == []
        assert dropped(master.handle(hello("c2", "2", held=[tasks(1, attempt=2)]), "c2")) == []
        assert holders(master) == {1: ("c2", (EPOCH, 2))}
        assert master.scheduler.state.crashes == {1: 1}

    def test_given_crashes_in_two_epochs_then_the_limit_counts_both(self, new_master: NewMaster) -> None:
        master = new_master(crash_limit=2)
        session = master.join()
        master.offer(1)
        master.lease(session, 1)
        master.results(session, batch(1, CRASHED))
        master.restart()
        session = ready(master, "c1", "1", 1)
        assert leases(master.advance()) == [("c1", 1, 1, 2)]
        assert final_states(master.results(session, batch(1, CRASHED, epoch=NEXT, attempt=2))) == {1: "quarantined"}


class TestRestartAfterRestart:
    def test_given_nobody_greeted_in_between_then_the_third_epoch_adopts_what_the_first_has_leased(
        self, master: Master
    ) -> None:
        master.advance()
        master.restart()
        master.advance()
        assert master.scheduler.state.epoch == EPOCH + 2
        assert master.scheduler.state.awaited == {"c1"}
        assert dropped(master.handle(hello("c1", "1", held=[tasks(1, 4)]))) == []
        session = master.scheduler.state.sessions.by_name["c1"].session_id
        assert final_states(master.results(session, batch(1, *[COMPLETED] * 4))) == dict.fromkeys(
            range(1, 5), "completed"
        )

    def test_given_leases_of_two_epochs_then_the_third_adopts_the_later(self, master: Master) -> None:
        ready(master, "c1", "2", 6)
        assert leases(master.advance()) == [("c1", 1, 6, 2)]
        master.restart()
        assert dropped(master.handle(hello("c9", "9", held=[tasks(1, 4)]), "c9")) == []
        held = [tasks(1, 6, epoch=NEXT, attempt=2)]
        assert dropped(master.handle(hello("c1", "2", held=held))) == []
        assert set(holders(master).values()) == {("c1", (NEXT, 2))}

    def test_given_a_hundred_restarts_under_load_then_each_task_is_recorded_once(self, new_master: NewMaster) -> None:
        master = new_master()
        master.offer(100)
        recorded: list[int] = []
        held: list[TaskRange] = []
        for number in range(100):
            epoch = EPOCH + number
            session = master.join("c1", "1", held=held)
            for part in held:
                recorded += final_states(master.results(session, batch(part.first, COMPLETED, epoch=part.epoch)))
            master.state(session, 1)
            held = [tasks(first, 1, attempt, epoch) for _, first, _, attempt in leases(master.advance())]
            assert len(held) == 1
            master.restart()
        assert recorded == sorted(set(recorded))
        assert len(recorded) == 99
        assert master.scheduler.done_tasks == 99
