"""What only so many tasks may do at once: never more, whoever is lost; and no controller beyond what it has."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from cyclone.protocol.messages import Goodbye, Offer, Returned, TaskRange
from cyclone.protocol.states import COMPLETED, FAILED
from tests.support.cluster import Cluster
from tests.support.job_requests import add, cancel, ids, submit
from tests.support.masters import NEXT, Master, batch, leases, ready, tasks
from tests.unit.master.conftest import NewMaster

TIMEOUT_S = 15.0
# After its last word, so long may a controller still run what has lost its lease: Terms.exclusive_wait_s.
OVER_S = TIMEOUT_S * 1.1 + 5.0


def never_more(cluster: Cluster, bounds: dict[int, int]) -> Callable[[], None]:
    """A check that no job, or group of jobs, ever runs more at once than it may."""

    def check() -> None:
        for job_id, bound in bounds.items():
            assert cluster.running(job_id) <= bound, f"{cluster.running(job_id)} of job {job_id} run at once"

    return check


def test_given_a_bound_on_a_job_then_so_many_run_at_once_and_all_of_them_in_the_end(master: Master) -> None:
    cluster = Cluster(master)
    bounded, other = cluster.submit(30, parallel=3), cluster.submit(60)
    for name in ("c1", "c2"):
        cluster.join(name, slots=4, prefetch=1)
    seen: Counter[int] = Counter()
    bound = never_more(cluster, {bounded: 3})

    def check() -> None:
        bound()
        seen[cluster.running(bounded)] += 1

    cluster.check = check
    cluster.run_until(master.now + 12.0)
    assert cluster.used_s[bounded] == 30.0
    assert seen[3] and cluster.used_s[other] > 50.0


def test_given_a_limit_of_the_cluster_then_jobs_that_name_it_share_it(master: Master) -> None:
    cluster = Cluster(master)
    jobs = [cluster.submit(10, limits=limits) for limits in ({"ost:17": 3}, {"ost:17": 3, "x": 1}, {"ost:17": 2})]
    for name in ("c1", "c2", "c3"):
        cluster.join(name, slots=4)

    def check() -> None:
        assert sum(map(cluster.running, jobs)) <= 3
        assert cluster.running(jobs[1]) <= 1
        assert cluster.running(jobs[2]) <= 2

    cluster.check = check
    cluster.run_until(master.now + 60.0)
    assert [cluster.used_s[job_id] for job_id in jobs] == [10.0] * 3
    assert not master.scheduler.state.lanes.limits.used


@pytest.mark.parametrize("options", [{"parallel": 2}, {"limits": {"ost:1": 2}}], ids=["parallel", "limits"])
def test_given_a_controller_that_is_lost_then_what_it_runs_counts_until_its_lease_is_certainly_over(
    master: Master, options: dict[str, Any]
) -> None:
    cluster = Cluster(master, lambda job_id: 30.0)
    job_id = cluster.submit(3, **options)
    cluster.check = never_more(cluster, {job_id: 2})
    cluster.join("c1", slots=2)
    cluster.run_until(master.now + 1.5)
    assert cluster.running(job_id) == 2
    cluster.join("c2", slots=2)
    cluster.kill("c1")
    lost_at = master.now
    cluster.run_until(lost_at + TIMEOUT_S + 1.0)
    state = master.scheduler.state
    assert "c1" not in state.sessions.by_name
    assert (state.lanes.lane(job_id).out, state.lanes.lane(job_id).lingering) == (0, 2)
    cluster.run_until(lost_at + OVER_S - 2.0)
    assert not cluster.nodes["c2"].running
    # By now its controller has ended them.
    cluster.nodes["c1"].running.clear()
    cluster.run_until(lost_at + OVER_S + 1.0)
    assert (state.lanes.lane(job_id).out, state.lanes.lane(job_id).lingering) == (2, 0)
    cluster.run_until(master.now + 70.0)
    assert not state.open_tasks


def wait(master: Master, seconds: float, session: int, *held: TaskRange) -> list[tuple[str, int, int, int]]:
    """Time passes while one controller goes on to say what it holds; what is leased meanwhile."""
    found = []
    for _ in range(int(seconds) + 1):
        master.state(session, 99, held)
        found += leases(master.advance(seconds / (int(seconds) + 1)))
    return found


def test_given_a_lost_lease_whose_task_is_cancelled_then_it_counts_all_the_same(master: Master) -> None:
    job_id = submit(master, 2, limits={"a": 1}, sealed=False).job_id
    ready(master, "c1", "1")
    assert leases(master.advance()) == [("c1", 1, 1, 1)]
    master.advance(TIMEOUT_S + 1.0)
    other = ready(master, "c2", "2")
    cancel(master, ids(job_id), indexes=[(0, 0)])
    assert master.scheduler.state.ended["cancelled"] == 1
    assert wait(master, OVER_S - TIMEOUT_S - 1.5, other) == []
    assert wait(master, 1.0, other) == [("c2", 2, 1, 1)]


def test_given_a_restart_behind_the_loss_of_a_lease_whose_task_is_done_then_it_counts_all_the_same(
    master: Master,
) -> None:
    job_id = submit(master, 1, limits={"a": 1}, sealed=False).job_id
    ready(master, "c1", "1")
    master.advance()
    add(master, job_id, 1, 1)
    master.advance(TIMEOUT_S + 1.0)
    cancel(master, ids(job_id), indexes=[(0, 0)])
    # Nothing in the journal says that the controller may still run it.
    master.restart()
    other = ready(master, "c2", "2")
    assert wait(master, OVER_S - 1.0, other) == []
    assert wait(master, 2.0, other) == [("c2", 2, 1, 1)]


def test_given_a_result_that_comes_after_its_lease_was_given_up_then_no_unit_is_lost(master: Master) -> None:
    submit(master, 2, limits={"a": 1})
    ready(master, "c1", "1")
    master.advance()
    master.advance(TIMEOUT_S + 1.0)
    again = ready(master, "c1", "1")
    master.results(again, batch(1, COMPLETED))
    assert master.scheduler.state.ended["completed"] == 1
    master.scheduler.check()
    assert wait(master, OVER_S, again) == [("c1", 2, 1, 1)]
    assert master.scheduler.state.lanes.limits.used == {"a": 1}


def test_given_an_attempt_that_goes_on_when_its_controller_comes_back_then_it_still_counts(master: Master) -> None:
    submit(master, 2, limits={"a": 1})
    ready(master, "c1", "1")
    master.advance()
    master.advance(TIMEOUT_S + 1.0)
    master.advance(OVER_S)
    ready(master, "c2", "2")
    assert leases(master.advance()) == [("c2", 1, 1, 2)]
    master.results(ready(master, "c1", "1"), batch(1, COMPLETED))
    second = master.join("c2", "2", held=[tasks(1, attempt=2)])
    master.state(second, 99, [tasks(1, attempt=2)])
    assert leases(master.advance()) == []
    master.scheduler.check()
    master.state(second, 99)
    assert [lease[1:] for lease in leases(master.advance())] == [(2, 1, 1)]


def test_given_a_task_that_ends_by_another_attempt_then_the_one_that_goes_on_counts_until_it_is_over(
    master: Master,
) -> None:
    submit(master, 2, limits={"a": 1}, cpus=2)
    first = ready(master, "c1", "1")
    assert leases(master.advance()) == [("c1", 1, 1, 1)]
    # Its controller falls silent for so long that the task goes elsewhere, and comes back with its result.
    master.advance(TIMEOUT_S + 1.0)
    master.advance(OVER_S)
    second = ready(master, "c2", "2")
    assert leases(master.advance()) == [("c2", 1, 1, 2)]
    first = ready(master, "c1", "1")
    master.results(first, batch(1, COMPLETED))
    state = master.scheduler.state
    assert (state.ended["completed"], state.sessions.by_id[second].taken) == (1, 2)
    master.state(second, 99, [tasks(1, attempt=2)], tasks_seq=1)
    assert leases(master.advance()) == []
    master.scheduler.check()
    # Its controller says that it is gone: now there is room.
    master.state(second, 99, [], tasks_seq=1)
    assert [lease[1:] for lease in leases(master.advance())] == [(2, 1, 1)]
    assert not state.sessions.by_id[second].ghosts


@pytest.mark.parametrize("way", ["failed", "handed back", "said goodbye", "lost on the way"])
def test_given_a_lease_that_is_over_then_its_unit_is_free_at_once(master: Master, way: str) -> None:
    submit(master, 2, limits={"a": 1})
    session = ready(master, "c1", "1")
    master.advance()
    ready(master, "c2", "2")
    assert leases(master.advance()) == []
    if way == "failed":
        master.results(session, batch(1, FAILED))
    elif way == "handed back":
        master.handle(Returned(session, 99, [tasks(1)]))
    elif way == "said goodbye":
        master.handle(Goodbye(session, "done"))
    else:
        master.state(session, 99, [], tasks_seq=1)
    assert [count for _, _, count, _ in leases(master.advance())] == [1]


def test_given_a_restart_then_nothing_that_is_limited_is_leased_before_old_leases_are_certainly_over(
    master: Master,
) -> None:
    submit(master, 3, with_key="a", limits={"a": 1})
    submit(master, 1, with_key="b")
    ready(master, "c1", "1", credit=1)
    assert leases(master.advance()) == [("c1", 1, 1, 1)]
    master.advance(1.0)
    master.restart()
    held = [TaskRange(1, 1, master.scheduler.state.epoch - 1, 1)]
    session = master.join("c1", "1", held=held)
    state = master.scheduler.state
    # Of the others of its block nobody knows until everybody has come back.
    assert state.lanes.lane(1).out == 3
    assert wait(master, 1.0, session, *held) == [("c1", 4, 1, 1)]
    assert state.lanes.lane(1).out == 1
    master.results(session, batch(1, COMPLETED, epoch=state.epoch - 1), batch(4, COMPLETED, epoch=NEXT))
    assert wait(master, OVER_S - 2.0, session) == []
    assert wait(master, 2.5, session) == [("c1", 2, 1, 2)]


@pytest.mark.parametrize(
    ("options", "at_once"),
    [
        ({"cpus": 2}, 2),
        ({"cpus": 3}, 1),
        ({"cpus": 5}, 0),
        ({"mem_bytes": 300}, 3),
        ({"mem_bytes": 1001}, 0),
        ({"resources": {"gpu": 1}}, 2),
        ({"resources": {"gpu": 2}}, 1),
        ({"resources": {"gpu": 1, "fpga": 1}}, 0),
        ({"cpus": 2, "mem_bytes": 600, "resources": {"gpu": 1}}, 1),
    ],
)
def test_given_what_a_controller_has_then_so_many_tasks_are_leased_to_it_and_no_more(
    master: Master, options: dict[str, Any], at_once: int
) -> None:
    cluster = Cluster(master)
    job_id = cluster.submit(6, **options)
    node = cluster.join("c1", slots=4, prefetch=5, offer=Offer(mem_bytes=1000, resources={"gpu": 2}))

    def check() -> None:
        assert len(node.running) <= at_once
        assert not node.waiting, "what takes more than a slot must not wait at a controller"

    cluster.check = check
    cluster.run_until(master.now + 0.5)
    assert len(node.running) == at_once
    cluster.run_until(master.now + 10.0)
    assert (cluster.used_s[job_id] > 0) == (at_once > 0)


def test_given_nothing_said_about_memory_then_it_is_not_counted(master: Master) -> None:
    cluster = Cluster(master)
    cluster.submit(4, mem_bytes=1 << 40)
    node = cluster.join("c1", slots=4)
    cluster.run_until(master.now + 0.5)
    assert len(node.running) == 4


def test_given_a_job_that_has_ended_while_a_lost_lease_of_it_may_go_on_then_others_wait_for_that(
    new_master: NewMaster,
) -> None:
    master = new_master()
    job_id = submit(master, 1, with_key="a", limits={"a": 1}).job_id
    ready(master, "c1", "1")
    master.advance()
    master.advance(TIMEOUT_S + 1.0)
    cancel(master, ids(job_id))
    master.advance()
    assert job_id not in master.scheduler.state.lanes
    submit(master, 1, with_key="b", limits={"a": 1})
    ready(master, "c2", "2")
    assert leases(master.advance()) == []
    master.scheduler.check()
    assert master.scheduler.deadline <= master.now + OVER_S
    master.state(master.scheduler.state.sessions.by_name["c2"].session_id, 99)
    assert len(leases(master.advance(OVER_S - TIMEOUT_S))) == 1
