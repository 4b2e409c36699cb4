"""Namespaces share the slots by their weights, in slot-seconds; inside by priority, then first come, first served."""

from itertools import pairwise

import pytest
from msgspec.structs import replace

from cyclone.protocol.messages import Offer
from cyclone.protocol.states import COMPLETED
from tests.support.cluster import Cluster
from tests.support.job_requests import add, submit
from tests.support.masters import SHORT_S, Master, batch, leases

MANY = 3000
LONG_S = 60.0


def shares(cluster: Cluster, jobs: list[int]) -> list[float]:
    """Of the slot-seconds that these jobs have had together, the part of each."""
    used = [cluster.used_s[job_id] for job_id in jobs]
    return [part / sum(used) for part in used]


@pytest.mark.parametrize(
    ("weights", "seconds", "cpus"),
    [
        pytest.param([1, 1], [1, 1], [1, 1], id="alike"),
        pytest.param([1, 3], [1, 1], [1, 1], id="three times the weight"),
        pytest.param([1, 1], [0.2, 3], [1, 1], id="long tasks count as long as they are"),
        pytest.param([2, 1, 1], [1, 0.5, 2], [1, 1, 1], id="three of them"),
        pytest.param([1, 1], [1, 1], [1, 4], id="slots count"),
        pytest.param([1, 1], [0.1, 1], [1, 4], id="small short ones do not keep large long ones out"),
    ],
)
def test_given_namespaces_that_all_have_work_then_they_share_by_weight(
    master: Master, weights: list[float], seconds: list[float], cpus: list[int]
) -> None:
    cluster = Cluster(master, lambda job_id: seconds[job_id - 1])
    jobs = []
    for number, weight in enumerate(weights):
        cluster.namespace(f"ns{number}", weight)
        jobs.append(cluster.submit(MANY, namespace=f"ns{number}", cpus=cpus[number]))
    for name in ("c1", "c2"):
        cluster.join(name, slots=4, prefetch=3)
    cluster.run_until(master.now + LONG_S)
    expected = [weight / sum(weights) for weight in weights]
    assert shares(cluster, jobs) == pytest.approx(expected, abs=0.05)
    # Long tasks may keep a slot waiting for room, but not for long.
    assert sum(cluster.used_s.values()) > 0.9 * LONG_S * 8


def test_given_a_namespace_that_was_idle_then_it_begins_where_the_others_are(master: Master) -> None:
    cluster = Cluster(master)
    cluster.join("c1", slots=4)
    first = cluster.submit(MANY, namespace="default")
    cluster.run_until(master.now + 100.0)
    cluster.namespace("late")
    second = cluster.submit(MANY, namespace="late")
    before = cluster.used_s[first]
    cluster.run_until(master.now + 100.0)
    assert cluster.used_s[first] - before == pytest.approx(cluster.used_s[second], rel=0.1)


def test_given_jobs_that_may_do_one_task_at_a_time_then_they_are_not_taken_for_idle_between_two(master: Master) -> None:
    cluster = Cluster(master)
    jobs = []
    for name, weight in (("heavy", 3.0), ("light", 1.0)):
        cluster.namespace(name, weight)
        jobs.append(cluster.submit(MANY, namespace=name, parallel=1))
    cluster.join("c1", slots=1, prefetch=1)
    cluster.run_until(master.now + LONG_S)
    assert shares(cluster, jobs) == pytest.approx([0.75, 0.25], abs=0.05)


def test_given_very_long_tasks_then_they_do_not_take_every_slot_before_the_first_of_them_ends(master: Master) -> None:
    cluster = Cluster(master, lambda job_id: 1000.0 if job_id == 1 else 1.0)
    cluster.namespace("other")
    long = cluster.submit(MANY)
    short = cluster.submit(MANY, namespace="other")
    cluster.join("c1", slots=16, prefetch=1)
    cluster.run_until(master.now + 30.0)
    assert cluster.running(long) + cluster.running(short) == 16
    assert cluster.running(short) >= 4
    # What was charged beforehand is what they have had by now.
    lane = master.scheduler.state.lanes.lane(long)
    assert lane.pending_s == pytest.approx(lane.out * 30.0, rel=0.1)


def test_given_a_namespace_that_comes_while_much_is_reckoned_then_it_does_not_wait_for_what_is_given_back(
    master: Master,
) -> None:
    submit(master, 50, "first")
    session = master.join(slots=50)
    master.lease(session, 50)
    by_name = master.scheduler.state.lanes.shares.by_name
    assert by_name["default"].pass_s == pytest.approx(50 * SHORT_S)
    Cluster(master).namespace("late")
    submit(master, 1, "late", namespace="late")
    # They took much less than was reckoned.
    master.results(session, replace(batch(1, *[COMPLETED] * 50), busy_s=0.01))
    submit(master, 50, "more")
    assert leases(master.lease(session, 1)) == [("c1", 51, 1, 1)], "the late one is next"
    assert by_name["late"].pass_s <= by_name["default"].pass_s + SHORT_S


def test_given_a_weight_that_changes_then_the_shares_change_from_then_on(master: Master) -> None:
    cluster = Cluster(master)
    cluster.join("c1", slots=4)
    cluster.namespace("other")
    jobs = [cluster.submit(MANY, namespace=name) for name in ("default", "other")]
    cluster.run_until(master.now + 50.0)
    before = [cluster.used_s[job_id] for job_id in jobs]
    cluster.namespace("other", 3.0)
    cluster.run_until(master.now + 100.0)
    default, other = (cluster.used_s[job_id] - used for job_id, used in zip(jobs, before, strict=True))
    assert other == pytest.approx(3 * default, rel=0.15)


@pytest.mark.parametrize("between", [0.001, 1000.0])
def test_given_a_weight_that_was_another_for_a_while_then_nobody_pays_for_it_later(
    master: Master, between: float
) -> None:
    cluster = Cluster(master, lambda job_id: 0.2)
    cluster.join("c1", slots=4)
    cluster.namespace("other")
    jobs = [cluster.submit(MANY, namespace=name) for name in ("default", "other")]
    cluster.run_until(master.now + 3.0)
    cluster.namespace("other", between)
    cluster.run_until(master.now + 8.0)
    cluster.namespace("other", 1.0)
    before = [cluster.used_s[job_id] for job_id in jobs]
    cluster.run_until(master.now + 10.0)
    default, other = (cluster.used_s[job_id] - used for job_id, used in zip(jobs, before, strict=True))
    # Within a few tasks.
    assert other == pytest.approx(default, rel=0.15)


def test_given_the_generator_and_a_job_in_another_namespace_then_they_share_as_well(master: Master) -> None:
    cluster = Cluster(master)
    cluster.join("c1", slots=4)
    cluster.namespace("other")
    master.offer(1000)
    job_id = cluster.submit(1000, namespace="other")
    cluster.run_until(master.now + 100.0)
    assert cluster.used_s[job_id] == pytest.approx(200.0, rel=0.1)


def test_given_no_op_tasks_then_they_are_shared_by_their_number(master: Master) -> None:
    cluster = Cluster(master, lambda job_id: 0.0)
    cluster.namespace("other")
    jobs = [cluster.submit(300, namespace=name) for name in ("default", "other")]
    cluster.join("c1", slots=2)
    cluster.run_until(master.now)
    begun = [job_id for _, _, job_id, _ in cluster.started[:300]]
    assert begun.count(jobs[0]) == pytest.approx(150, abs=10)


def test_given_priorities_then_the_highest_goes_first_and_the_tasks_of_each_in_order(master: Master) -> None:
    cluster = Cluster(master)
    for priority in (0, -5, 7, 7):
        cluster.submit(10, priority=priority)
    cluster.join("c1", slots=2, prefetch=1)
    cluster.run_until(master.now + 30.0)
    order = cluster.order()
    assert order == [*range(21, 41), *range(1, 11), *range(11, 21)]
    assert not master.scheduler.state.open_tasks


def test_given_jobs_of_one_priority_then_whatever_was_added_first_goes_first_whosever_it_is(master: Master) -> None:
    jobs = [submit(master, 4, name, sealed=False).job_id for name in ("a", "b")]
    for offset in (4, 8):
        for job_id in jobs:
            add(master, job_id, 4, offset)
    cluster = Cluster(master)
    cluster.join("c1", slots=1, prefetch=1)
    cluster.run_until(master.now + 30.0)
    assert cluster.order() == list(range(1, 25))


def test_given_no_controller_of_a_namespace_that_is_next_then_the_others_go_on(master: Master) -> None:
    cluster = Cluster(master)
    for name in ("a", "b"):
        cluster.namespace(name)
    only_b = cluster.join("c1", slots=2, offer=Offer(namespaces=("b",)))
    first, second = (cluster.submit(20, namespace=name) for name in ("a", "b"))
    cluster.run_until(master.now + 15.0)
    assert cluster.used_s[second] == 20.0
    assert not cluster.used_s[first] and not only_b.running
    cluster.join("c2", slots=2, offer=Offer(namespaces=("a", "b")))
    cluster.run_until(master.now + 15.0)
    assert (cluster.used_s[first], cluster.where(first)) == (20.0, {"c2"})


def test_given_many_leases_then_time_goes_on_and_the_sums_hold(master: Master) -> None:
    cluster = Cluster(master, lambda job_id: 0.25 * job_id)
    cluster.namespace("other", 2.0)
    for number in range(4):
        cluster.submit(200, namespace=("default", "other")[number % 2], priority=number)
    cluster.join("c1", slots=8)
    for _ in range(20):
        cluster.run_until(master.now + 5.0)
        master.scheduler.check()
    assert all(before <= after for (before, *_), (after, *_) in pairwise(cluster.started))
    assert not master.scheduler.state.open_tasks
    assert [share.out for share in master.scheduler.state.lanes.shares.by_name.values()] == [0, 0]


@pytest.mark.parametrize(("before", "after"), [(100.0, 1.0), (1.0, 100.0)])
def test_given_a_weight_that_changes_while_tasks_run_then_nobody_wins_or_loses_what_was_only_reckoned(
    master: Master, before: float, after: float
) -> None:
    cluster = Cluster(master)
    cluster.namespace("a", before)
    submit(master, 50, "a", namespace="a")
    session = master.join(slots=50)
    master.lease(session, 50)
    share = master.scheduler.state.lanes.shares.by_name["a"]
    assert share.pass_s == pytest.approx(50 * SHORT_S / before)
    cluster.namespace("a", after)
    assert share.pass_s == pytest.approx(50 * SHORT_S / after)
    master.results(session, replace(batch(1, *[COMPLETED] * 50), busy_s=5.0))
    assert share.pass_s == pytest.approx(5.0 / after)


def test_given_a_namespace_for_whose_jobs_there_was_no_controller_then_it_does_not_make_up_for_all_of_that_time(
    master: Master,
) -> None:
    cluster = Cluster(master)
    cluster.namespace("waiting")
    cluster.join("plain", slots=4)
    open_to_all = cluster.submit(MANY)
    waiting = cluster.submit(MANY, namespace="waiting", labels=("fast",))
    cluster.run_until(master.now + 300.0)
    assert not cluster.used_s[waiting]
    cluster.kill("plain")
    cluster.join("fast", slots=4, offer=Offer(labels=("fast",)))
    before = cluster.used_s[open_to_all]
    cluster.run_until(master.now + 120.0)
    gained = cluster.used_s[open_to_all] - before
    assert gained == pytest.approx(cluster.used_s[waiting], rel=0.25)
