"""Lanes: which of them rest and when they go on, what single tasks have of their own, and what waits in the journal."""

from typing import Any

import pytest

from cyclone.master import state as state_module
from cyclone.master.actions import Action, Record
from cyclone.master.events import HorizonMoved, TasksAdded
from cyclone.master.waiting import paging as paging_module
from cyclone.master.waiting.lanes import Lanes, LaneTerms
from cyclone.master.waiting.paging import LOAD_BLOCKS
from cyclone.protocol.job_messages import AddRequest, NamespaceRequest
from cyclone.protocol.job_spec import GENERATOR_JOB, JobSelection, Namespace, TaskBlock
from cyclone.protocol.messages import Returned, TaskRange, Tasks
from cyclone.protocol.states import COMPLETED
from tests.support.job_requests import WALL_OFFSET_S, add, ask, cancel, control, ids, submit
from tests.support.masters import MANY, NEXT, Master, batch, kinds, leases, ready, sent, tasks

BLOCK = 64


def pause(master: Master, name: str, paused: bool) -> None:
    ask(master, NamespaceRequest(1, "set", Namespace(name=name, paused=paused)))


def begun(actions: list[Action]) -> list[int]:
    """The first of each batch that is leased."""
    return [first for _, first, _, _ in leases(actions)]


def turns(master: Master) -> list[int]:
    """The same for a few turns: what rests lies in the journal, and is loaded first."""
    return [first for _ in range(3) for first in begun(master.advance())]


class TestResting:
    def test_given_a_held_job_then_nothing_of_it_is_leased_until_it_is_released(self, master: Master) -> None:
        job_id = submit(master, 2, held=True).job_id
        ready(master, "c1", "1")
        assert begun(master.advance()) == []
        control(master, "release", job_id)
        assert turns(master) == [1]
        master.scheduler.check()

    def test_given_a_paused_namespace_then_others_go_on_and_it_does_when_it_is_resumed(self, master: Master) -> None:
        pause(master, "default", paused=True)
        pause(master, "other", paused=False)
        submit(master, 1, "a")
        submit(master, 1, "b", namespace="other")
        # The generator's tasks are in the default namespace, too.
        master.offer(1)
        ready(master, "c1", "1", slots=3)
        assert begun(master.advance()) == [2]
        pause(master, "default", paused=False)
        assert turns(master) == [1, 3]

    def test_given_a_job_for_later_then_it_is_leased_when_its_time_has_come(self, master: Master) -> None:
        submit(master, 1, not_before=WALL_OFFSET_S + master.now + 5.0)
        session = ready(master, "c1", "1")
        assert begun(master.advance()) == []
        assert begun(master.advance(4.9)) == []
        assert master.scheduler.deadline <= master.now + 0.11
        master.state(session, MANY)
        master.advance(0.1)
        assert turns(master) == [1]

    def test_given_a_job_for_a_moment_that_has_passed_then_it_goes_at_once(self, master: Master) -> None:
        submit(master, 1, not_before=5.0)
        ready(master, "c1", "1")
        assert begun(master.advance()) == [1]

    def test_given_only_jobs_that_rest_then_idle_controllers_still_get_what_others_have_not_begun(
        self, master: Master
    ) -> None:
        submit(master, 3, "held", held=True)
        submit(master, 8, "b")
        busy = master.join("c1", "1")
        master.lease(busy, 8)
        ready(master, "c2", "2")
        master.advance()
        assert [kind for kind in kinds(master.advance(0.05)) if "Recall" in kind] == ["Send Recall"]

    def test_given_a_job_that_is_open_then_the_master_is_not_done(self, master: Master) -> None:
        master.exhaust()
        done = [master.scheduler.all_done]
        job_id = submit(master, 0, held=True, sealed=False).job_id
        done.append(master.scheduler.all_done)
        control(master, "seal", job_id)
        master.advance()
        done.append(master.scheduler.all_done)
        assert done == [True, False, True]


class TestOrder:
    def test_given_tasks_that_come_back_then_they_go_in_front_of_their_job_and_of_later_ones(
        self, master: Master
    ) -> None:
        for name in ("a", "b"):
            submit(master, 4, name)
        session = master.join("c1", "1", slots=8)
        master.lease(session, 6)
        master.handle(Returned(session, 6, [tasks(2), tasks(5)]))
        assert [lease[1:] for lease in leases(master.lease(session, 9))] == [(2, 1, 2), (5, 1, 2), (7, 2, 1)]

    def test_given_another_lane_then_the_generators_tasks_keep_their_place_by_id(self, master: Master) -> None:
        submit(master, 2, "a")
        master.offer(2)
        submit(master, 2, "b")
        master.offer(2)
        session = master.join("c1", "1", slots=8)
        assert begun(master.lease(session, 8)) == [1, 3, 5, 7]

    def test_given_a_job_of_higher_priority_then_what_waits_lets_it_pass(self, master: Master) -> None:
        master.offer(4)
        session = master.join("c1", "1", slots=8)
        master.lease(session, 2)
        submit(master, 2, priority=1)
        assert begun(master.lease(session, 3)) == [5, 3]

    def test_given_a_job_of_higher_service_then_it_is_before_those_of_lower(self, master: Master) -> None:
        submit(master, 1, "a", qos="low")
        submit(master, 1, "b")
        submit(master, 1, "c", qos="urgent")
        session = master.join("c1", "1", slots=8)
        assert begun(master.lease(session, 3)) == [3, 2, 1]


class TestTasksOfTheirOwn:
    def test_given_time_limits_of_single_tasks_then_they_go_out_with_their_row_also_once_more(
        self, master: Master
    ) -> None:
        job_id = submit(master, 2, sealed=False).job_id
        add(master, job_id, 3, 2, options=[(0, None, 5.0), (2, None, 7.5)])
        session = master.join("c1", "1", slots=8)

        def limits(actions: list[Action]) -> dict[int, float]:
            batches = [part for message in sent(actions) if isinstance(message, Tasks) for part in message.batches]
            return {part.first + row: limit for part in batches for row, limit in part.time_limits}

        assert limits(master.lease(session, 5)) == {3: 5.0, 5: 7.5}
        master.handle(Returned(session, 5, [tasks(4, 2)]))
        assert limits(master.lease(session, 5)) == {5: 7.5}
        master.results(session, batch(1, *[COMPLETED] * 3), batch(4, *[COMPLETED] * 2, attempt=2))
        assert not master.scheduler.state.lanes.lane(job_id).time_limits

    def test_given_moments_of_single_tasks_then_these_wait_and_the_others_do_not(self, master: Master) -> None:
        later = WALL_OFFSET_S + master.now + 2.0
        job_id = submit(master, 1, sealed=False).job_id
        add(master, job_id, 4, 1, options=[(0, later, None), (1, later, None), (3, later + 1.0, None)])
        session = master.join("c1", "1", slots=8)
        assert [lease[1:3] for lease in leases(master.lease(session, 9))] == [(1, 1), (4, 1)]
        master.scheduler.check()
        assert master.scheduler.state.lanes.lane(job_id).delayed == 3
        assert [lease[1:3] for lease in leases(master.advance(2.0))] == [(2, 2)]
        assert [lease[1:3] for lease in leases(master.advance(1.0))] == [(5, 1)]
        assert not master.scheduler.state.lanes.lane(job_id).not_before

    def test_given_a_turn_that_adds_them_and_puts_them_aside_then_what_is_recorded_of_them_is_whole(
        self, master: Master
    ) -> None:
        job_id = submit(master, 1, sealed=False).job_id
        ready(master, "c1", "1", slots=5)
        later = WALL_OFFSET_S + master.now + 50.0
        request = AddRequest(1, job_id, TaskBlock(1, [b"\x90"] * 6, options=[(2, later, None), (4, later, None)]))
        # The master's body carries out what a turn has gathered when the turn is over.
        actions = master.scheduler.answer(b"client", request, master.now)
        actions += master.scheduler.advance(master.now)
        events = [action.event for action in actions if isinstance(action, Record)]
        (added,) = [event for event in events if isinstance(event, TasksAdded)]
        assert (added.runs, len(added.args)) == ([(job_id, 6)], 6)
        assert sum(count for _, _, count, _ in leases(actions)) == 5

    def test_given_many_of_them_then_a_lease_looks_at_no_more_than_it_may_take(self, master: Master) -> None:
        looked: list[int] = []

        class Moments(dict[int, float]):
            def get(self, task_id: int, default: Any = None) -> Any:
                looked.append(task_id)
                return super().get(task_id, default)

        job_id = submit(master, 1, sealed=False).job_id
        add(master, job_id, 1000, 1, options=[(999, WALL_OFFSET_S + 1e6, None)])
        lane = master.scheduler.state.lanes.lane(job_id)
        lane.not_before = Moments(lane.not_before)
        session = master.join(slots=1)
        for task_id in range(1, 21):
            assert leases(master.lease(session, 1)) == [("c1", task_id, 1, 1)]
            master.results(session, batch(task_id, COMPLETED))
        assert looked == list(range(1, 21))

    def test_given_a_restart_then_their_moments_still_hold(self, master: Master) -> None:
        job_id = submit(master, 1, sealed=False).job_id
        add(master, job_id, 2, 1, options=[(0, WALL_OFFSET_S + master.now + 50.0, None)])
        ready(master, "c1", "1", slots=3)
        master.advance()
        master.restart()
        master.scheduler.wall_offset_s = WALL_OFFSET_S
        held = [TaskRange(1, 1, NEXT - 1, 1), TaskRange(3, 1, NEXT - 1, 1)]
        session = master.join("c1", "1", 3, held=held)
        master.state(session, MANY, held, slots=3)
        assert leases(master.advance(1.0)) == []
        master.state(session, MANY, held, slots=3)
        assert leases(master.advance(10.0)) == []
        for _ in range(4):
            master.state(session, MANY, held, slots=3)
            found = leases(master.advance(10.0))
        assert [lease[1:3] for lease in found] == [(2, 1)]

    def test_given_a_task_that_waits_for_its_moment_then_it_can_be_cancelled(self, master: Master) -> None:
        job_id = submit(master, 1, sealed=False).job_id
        add(master, job_id, 1, 1, options=[(0, WALL_OFFSET_S + 1e6, None)])
        ready(master, "c1", "1")
        master.advance()
        cancel(master, ids(job_id), indexes=[(1, 1)])
        master.advance()
        assert master.scheduler.state.ended["cancelled"] == 1


class TestPages:
    """A window of 128 tasks in memory; the journal has the rest."""

    @pytest.fixture(autouse=True)
    def _small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(state_module, "PAGE_TASKS", 2 * BLOCK)
        monkeypatch.setattr(paging_module, "LOAD_BELOW_TASKS", BLOCK)
        monkeypatch.setattr(paging_module, "MEMORY_TASKS", 4 * BLOCK)

    def filled(self, master: Master, name: str, blocks: int, **options: Any) -> int:
        job_id = submit(master, BLOCK, name, sealed=False, **options).job_id
        for number in range(1, blocks):
            add(master, job_id, BLOCK, number * BLOCK)
        return job_id

    def served(self, master: Master, session: int, count: int) -> list[int]:
        """The tasks that one controller gets in so many turns, each done at once."""
        found: list[int] = []
        for _ in range(count):
            for _, first, rows, attempt in leases(master.lease(session, BLOCK)):
                found += range(first, first + rows)
                master.results(session, batch(first, *[COMPLETED] * rows, attempt=attempt))
            master.scheduler.check()
        return found

    def test_given_a_held_job_then_it_lies_in_the_journal_and_not_in_memory(self, master: Master) -> None:
        job_id = self.filled(master, "held", 3, held=True)
        lane = master.scheduler.state.lanes.lane(job_id)
        assert (lane.fresh_count, lane.stored_count) == (0, 3 * BLOCK)
        control(master, "release", job_id)
        session = ready(master, "c1", "1", 0)
        assert self.served(master, session, 8) == list(range(1, 3 * BLOCK + 1))

    def test_given_memory_full_of_what_nobody_can_execute_then_others_come_out_of_the_journal(
        self, master: Master
    ) -> None:
        self.filled(master, "nowhere", 4, nodes=("absent",))
        other = self.filled(master, "other", 6)
        assert master.scheduler.state.lanes.lane(other).stored_count == 6 * BLOCK
        session = ready(master, "c1", "1", 0)
        assert self.served(master, session, 30) == list(range(4 * BLOCK + 1, 10 * BLOCK + 1))
        assert master.scheduler.state.lanes.window.fresh_count <= 6 * BLOCK

    def test_given_memory_full_of_what_is_not_urgent_then_what_is_urgent_passes(self, master: Master) -> None:
        self.filled(master, "patient", 8)
        self.filled(master, "urgent", 3, priority=5)
        session = ready(master, "c1", "1", 0)
        got = self.served(master, session, 14)
        assert got == [*range(8 * BLOCK + 1, 11 * BLOCK + 1), *range(1, 8 * BLOCK + 1)]

    def test_given_jobs_that_rest_when_they_are_in_memory_then_they_make_room(self, master: Master) -> None:
        session = ready(master, "c1", "1", 0)
        window = master.scheduler.state.lanes.window
        for name in "abcdef":
            job_id = self.filled(master, name, 10)
            self.served(master, session, 2)
            control(master, "hold", job_id)
            assert window.fresh_count <= 4 * BLOCK + LOAD_BLOCKS * BLOCK
        for job_id in range(1, 7):
            control(master, "release", job_id)
        self.served(master, session, 80)
        assert not master.scheduler.state.open_tasks

    def test_given_many_small_jobs_in_the_journal_then_a_turn_brings_several(self, master: Master) -> None:
        self.filled(master, "nowhere", 2, nodes=("absent",))
        first = submit(master, 1, "small-0").job_id
        for number in range(1, 40):
            submit(master, 1, f"small-{number}")
        assert master.scheduler.state.lanes.lane(first).stored_count == 1
        session = ready(master, "c1", "1", 0)
        assert len(self.served(master, session, 12)) == 40

    def test_given_a_cancelled_job_in_the_journal_then_it_ends_though_it_would_not_be_its_turn(
        self, master: Master
    ) -> None:
        self.filled(master, "first", 3)
        job_id = self.filled(master, "held", 20, held=True)
        cancel(master, ids(job_id))
        for _ in range(8):
            master.advance(0.3)
            master.scheduler.check()
        assert master.scheduler.state.ended["cancelled"] == 20 * BLOCK
        assert job_id not in master.scheduler.state.lanes

    def test_given_many_cancelled_jobs_in_the_journal_then_each_turn_ends_some_and_the_next_comes_soon(
        self, master: Master
    ) -> None:
        for number in range(5 * LOAD_BLOCKS):
            submit(master, 1, f"held-{number}", held=True)
        cancel(master, JobSelection())
        turns = 0
        while master.scheduler.state.jobs.records:
            assert master.scheduler.deadline <= master.now + 0.25
            master.now = min(master.scheduler.deadline, master.now + 0.25)
            master.advance()
            turns += 1
        assert turns <= 8
        assert master.now <= 100.5

    def test_given_single_tasks_with_something_of_their_own_when_they_make_room_then_it_is_forgotten_with_them(
        self, master: Master
    ) -> None:
        job_id = self.filled(master, "a", 1)
        add(master, job_id, BLOCK, BLOCK, options=[(0, WALL_OFFSET_S + 1e6, 5.0)])
        lane = master.scheduler.state.lanes.lane(job_id)
        assert (len(lane.not_before), len(lane.time_limits)) == (1, 1)
        lane.unload()
        master.scheduler.state.lanes.rank(lane)
        assert (lane.stored_count, lane.not_before, lane.time_limits) == (2 * BLOCK, {}, {})

    def test_given_jobs_that_did_not_run_in_order_when_restarted_then_only_what_was_offered_is_in_memory(
        self, master: Master
    ) -> None:
        waiting = self.filled(master, "waiting", 10, held=True)
        running = self.filled(master, "running", 2)
        session = ready(master, "c1", "1", 0)
        master.lease(session, 5)
        moved = [event for event in master.recorded if isinstance(event, HorizonMoved)]
        assert moved == [HorizonMoved(11 * BLOCK, ((running, 11 * BLOCK),))]
        master.restart()
        lanes = master.scheduler.state.lanes
        assert (lanes.lane(waiting).stored_count, lanes.lane(waiting).out) == (10 * BLOCK, 0)
        assert (lanes.lane(running).stored_count, lanes.lane(running).out) == (BLOCK, BLOCK)
        master.scheduler.check()

    def test_given_a_journal_that_says_only_how_far_all_were_offered_then_all_below_may_be_held(
        self, master: Master
    ) -> None:
        first = submit(master, 4, "a").job_id
        master.scheduler.state.apply(HorizonMoved(4))
        assert [lane.horizon for lane in master.scheduler.state.lanes] == [4, 4]
        assert first in master.scheduler.state.lanes


def test_given_terms_then_only_what_somebody_counts_is_bounded() -> None:
    assert not LaneTerms(priority=3, nodes=("a",), labels=("x",), not_before=5.0).is_bounded
    counted: list[dict[str, Any]] = [{"cpus": 2}, {"mem_bytes": 1}, {"resources": {"gpu": 1}}]
    limited: list[dict[str, Any]] = [{"parallel": 0}, {"limits": {"a": 1}}]
    assert [LaneTerms(**one).is_bounded for one in (*counted, *limited)] == [True] * 5
    assert [LaneTerms(**one).is_limited for one in (*counted, *limited)] == [False] * 3 + [True] * 2


def test_given_a_paused_namespace_then_a_new_lane_in_it_rests_from_the_beginning() -> None:
    lanes = Lanes()
    lanes.set_namespace(Namespace(name="a", paused=True))
    lanes.open(1, LaneTerms(namespace="a"))
    lanes.open(2, LaneTerms(not_before=5.0))
    lanes.open(3, LaneTerms())
    for lane in list(lanes)[1:]:
        lane.add_fresh(lane.job_id, [(lane.job_id, 1)], [b"x"], 1)
        lanes.rank(lane)
    assert [lane.job_id for lane in lanes if lane.key] == [3]
    lanes.due(5.0)
    assert [lane.job_id for lane in lanes if lane.key] == [2, 3]


def test_given_a_new_master_then_the_generator_has_its_lane_and_is_alone(master: Master) -> None:
    lanes = master.scheduler.state.lanes
    assert (len(lanes), lanes.is_alone, lanes.generator) == (1, True, lanes.lane(GENERATOR_JOB))
    job_id = submit(master, 0, sealed=False).job_id
    assert (job_id in lanes, lanes.is_alone) == (True, False)
