"""Which controller may execute what, who goes on where something does not fit, and what a look costs."""

from typing import Any

import pytest

from cyclone.master.leases.sessions import Session, Sessions
from cyclone.master.waiting.lanes import Lanes, LaneTerms
from cyclone.master.waiting.picks import Picker
from cyclone.protocol.messages import Offer
from cyclone.protocol.states import COMPLETED
from tests.support.cluster import Cluster
from tests.support.job_requests import cancel, ids, submit
from tests.support.masters import MANY, SHORT_S, Master, batch, hello, leases, peer, tasks

GIB = 1 << 30


class Shelves:
    """Lanes with a task each, and controllers with credit."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.sessions = Sessions()
        self.picker = Picker(self.lanes, self.sessions)
        self._last_id = 0

    def job(self, job_id: int, tasks: int = 1, **terms: Any) -> None:
        lane = self.lanes.open(job_id, LaneTerms(**terms))
        lane.add_fresh(self._last_id + 1, [(job_id, tasks)], [b"x"] * tasks, tasks)
        self._last_id += tasks
        self.lanes.rank(lane)

    def controller(self, name: str, slots: int = 4, host: str = "node", **offer: Any) -> Session:
        session = self.sessions.add(peer(name), hello(name, "1", slots, host=host, offer=Offer(**offer)), 0.0)
        session.granted = 99
        self.sessions.rank(session)
        return session

    def picked(self, session: Session) -> int:
        found = self.picker.pick(session)
        return found[0].job_id if found else 0


@pytest.mark.parametrize(
    ("terms", "controller", "fits"),
    [
        pytest.param({}, {}, True, id="nothing asked"),
        pytest.param({}, {"namespaces": ("other",)}, False, id="another namespace"),
        pytest.param({"namespace": "other"}, {"namespaces": ("a", "other")}, True, id="its namespace"),
        pytest.param({"nodes": ("c1",)}, {}, True, id="by the name of the controller"),
        pytest.param({"nodes": ("n7",)}, {"host": "n7"}, True, id="by the name of its host"),
        pytest.param({"nodes": ("n7",)}, {"host": "n7.example.org"}, True, id="by the short name of its host"),
        pytest.param({"nodes": ("n7.example.org",)}, {"host": "n7.example.org"}, True, id="by its whole name"),
        pytest.param({"nodes": ("n1", "n2")}, {"host": "n3"}, False, id="another node"),
        pytest.param({"nodes": tuple(f"n{i}" for i in range(200))}, {"host": "n199"}, True, id="one of many nodes"),
        pytest.param({"nodes": tuple(f"n{i}" for i in range(200))}, {"host": "n200"}, False, id="none of many nodes"),
        pytest.param({"exclude": ("n7",)}, {"host": "n7"}, False, id="shut out by its host"),
        pytest.param({"exclude": ("c1",)}, {"host": "n7"}, False, id="shut out by its name"),
        pytest.param({"nodes": ("n7",), "exclude": ("c2",)}, {"host": "n7"}, True, id="another one is shut out"),
        pytest.param({"labels": ("ssd", "el9")}, {"labels": ("el9", "ssd", "x")}, True, id="all labels"),
        pytest.param({"labels": ("ssd", "el9")}, {"labels": ("el9",)}, False, id="a label lacks"),
        pytest.param({"cpus": 4}, {"slots": 4}, True, id="enough slots"),
        pytest.param({"cpus": 5}, {"slots": 4}, False, id="too few slots"),
        pytest.param({"mem_bytes": 2 * GIB}, {"mem_bytes": 2 * GIB}, True, id="enough memory"),
        pytest.param({"mem_bytes": 2 * GIB}, {"mem_bytes": GIB}, False, id="too little memory"),
        pytest.param({"mem_bytes": 2 * GIB}, {}, True, id="memory that nobody bounds"),
        pytest.param({"resources": {"gpu": 2}}, {"resources": {"gpu": 2}}, True, id="enough of a resource"),
        pytest.param({"resources": {"gpu": 2}}, {"resources": {"gpu": 1}}, False, id="too little of a resource"),
        pytest.param({"resources": {"gpu": 1}}, {}, False, id="a resource that is not there"),
        pytest.param({"by_value": True}, {}, False, id="by value, and not permitted"),
        pytest.param({"by_value": True}, {"by_value": True}, True, id="by value, and permitted"),
        pytest.param({"limits": {"a": 0}}, {}, False, id="a limit without room"),
        pytest.param({"parallel": 0}, {}, False, id="no room for the job"),
    ],
)
def test_given_what_a_job_needs_and_a_controller_has_then_it_gets_it_or_what_comes_next(
    terms: dict[str, Any], controller: dict[str, Any], fits: bool
) -> None:
    shelves = Shelves()
    shelves.job(1, **terms)
    session = shelves.controller("c1", **controller)
    assert shelves.picked(session) == (1 if fits else 0)
    if not fits and not controller.get("namespaces"):
        shelves.job(2)
        assert shelves.picked(session) == 2


def test_given_jobs_of_one_order_on_several_shelves_then_the_first_that_fits_goes_first() -> None:
    shelves = Shelves()
    shelves.job(1, labels=("ssd",))
    shelves.job(2, nodes=("n2",))
    shelves.job(3, priority=-1)
    shelves.job(4)
    shelves.job(5, priority=1, labels=("el9",))
    plain = shelves.controller("c1", host="n1")
    node = shelves.controller("c2", host="n2")
    disk = shelves.controller("c3", host="n2", labels=("ssd",))
    both = shelves.controller("c4", host="n9", labels=("ssd", "el9"))
    assert [shelves.picked(session) for session in (plain, node, disk, both)] == [4, 2, 1, 5]


@pytest.mark.parametrize(
    "terms",
    [
        pytest.param([{"priority": 1}, {"namespace": "b"}, {"parallel": 1}, {"cpus": 2}], id="of four kinds"),
        pytest.param([{"nodes": None}], id="a node for each"),
    ],
)
def test_given_ten_thousand_open_jobs_then_a_pick_looks_at_few_shelves(terms: list[dict[str, Any]]) -> None:
    shelves = Shelves()
    for number in range(10_000):
        own = dict(terms[number % len(terms)])
        if "nodes" in own:
            own["nodes"] = (f"n{number}",)
        shelves.job(number + 1, **own)
    session = shelves.controller("c1", host="n77")
    shelves.lanes.shares.mean_s = 1.0
    picks = 100
    for _ in range(picks):
        found = shelves.picker.pick(session)
        assert found
        lane, _ = found
        lane.take_fresh(1, 1)
        shelves.lanes.taken(lane, 1)
        if "nodes" in terms[0]:
            assert lane.job_id == 78
            break
    assert shelves.picker.looked_at <= 3 * picks


def test_given_what_is_next_does_not_fit_anywhere_now_then_one_controller_is_kept_for_it_and_others_go_on(
    master: Master,
) -> None:
    cluster = Cluster(master, lambda job_id: 4.0 if job_id == 2 else 1.0)
    small = cluster.submit(400)
    cluster.join("c1", slots=4, prefetch=1)
    cluster.join("c2", slots=4, prefetch=1)
    cluster.run_until(master.now + 2.5)
    large = cluster.submit(1, cpus=4, priority=1)
    asked_at = master.now
    cluster.run_until(master.now + 3.0)
    (began,) = [at for at, _, job_id, _ in cluster.started if job_id == large]
    assert began - asked_at <= 1.5
    (kept,) = cluster.where(large)
    other = {"c1": "c2", "c2": "c1"}[kept]
    assert len(cluster.nodes[other].running) == 4
    cluster.run_until(master.now + 5.0)
    assert len(cluster.nodes[kept].running) == 4
    assert cluster.used_s[large] == 16.0
    assert cluster.used_s[small] > 0


def test_given_something_large_that_is_cancelled_then_nobody_is_kept_for_it(master: Master) -> None:
    cluster = Cluster(master, lambda job_id: 30.0 if job_id == 1 else 1.0)
    cluster.submit(2)
    cluster.submit(400)
    node = cluster.join("c1", slots=4, prefetch=1)
    cluster.run_until(master.now + 2.5)
    assert len(node.running) == 4
    large = cluster.submit(1, cpus=4, priority=1)
    cluster.run_until(master.now + 3.0)
    assert len(node.running) == 2
    assert master.scheduler.state.lanes.lane(large).reserved == 1
    cancel(master, ids(large))
    cluster.run_until(master.now + 0.1)
    assert len(node.running) == 4
    assert not any(lane.reserved for lane in master.scheduler.state.lanes)


def test_given_a_controller_that_is_kept_and_leaves_then_another_one_is(master: Master) -> None:
    cluster = Cluster(master)
    cluster.submit(1000)
    cluster.join("c1", slots=2, prefetch=3)
    cluster.run_until(master.now + 1.5)
    large = cluster.submit(3, cpus=2, priority=1)
    cluster.run_until(master.now + 0.2)
    cluster.kill("c1")
    cluster.run_until(master.now + 20.0)
    cluster.join("c2", slots=2, prefetch=3)
    cluster.run_until(master.now + 30.0)
    assert cluster.used_s[large] == 6.0
    assert cluster.where(large) <= {"c1", "c2"}
    assert master.scheduler.state.lanes.lane(1).out > 0


def test_given_a_controller_that_is_kept_and_has_too_few_slots_by_now_then_it_goes_on_with_what_fits(
    master: Master,
) -> None:
    submit(master, 40)
    session = master.join(slots=4)
    master.lease(session, 4)
    large = submit(master, 1, "large", cpus=4, priority=1).job_id
    assert leases(master.lease(session, 4)) == []
    assert master.scheduler.state.lanes.lane(large).reserved == 1
    master.state(session, MANY, [tasks(1, 4)], 1, slots=2)
    master.results(session, batch(1, *[COMPLETED] * 4))
    assert leases(master.advance())
    assert not master.scheduler.state.lanes.lane(large).reserved
    master.scheduler.check()


def test_given_tasks_that_may_only_run_elsewhere_then_they_are_not_asked_back_for_who_is_idle(master: Master) -> None:
    cluster = Cluster(master, lambda job_id: 5.0)
    job_id = cluster.submit(8, nodes=("n1",))
    cluster.join("c1", slots=2, prefetch=4, host="n1")
    # They take longer than those before them did.
    master.scheduler.state.lanes.lane(job_id).mean_s = SHORT_S
    idle = cluster.join("c2", slots=2, prefetch=4, host="n2")
    cluster.run_until(master.now + 4.0)
    assert len(cluster.nodes["c1"].waiting) == 6
    assert {attempt for _, attempt, _ in cluster.nodes["c1"].waiting} == {1}
    cluster.submit(2, nodes=("n2",))
    cluster.run_until(master.now + 0.1)
    assert len(idle.running) == 2
    assert cluster.where(job_id) == {"c1"}


@pytest.mark.parametrize(
    ("mean_s", "taken", "gathered", "welcome"),
    [
        pytest.param(0.0, 0, 0, 4, id="nobody knows how long they take: as many as are begun at once"),
        pytest.param(0.0, 3, 0, 1, id="one slot is free"),
        pytest.param(0.0, 3, 1, 0, id="another task takes it"),
        pytest.param(0.0, 9, 0, 0, id="none is free"),
        pytest.param(3600.0, 4, 0, 0, id="an hour each: none waits"),
        pytest.param(1.0, 4, 0, 4, id="a second each: one waits for each slot"),
        pytest.param(1.0, 6, 0, 2, id="two wait already"),
        pytest.param(1.0, 9, 0, 0, id="more wait already"),
        pytest.param(0.5, 4, 3, 5, id="three of eight are gathered"),
        pytest.param(0.01, 4, 0, MANY, id="short ones"),
    ],
)
def test_given_what_a_task_takes_then_little_work_waits_at_a_controller(
    mean_s: float, taken: int, gathered: int, welcome: int
) -> None:
    shelves = Shelves()
    shelves.job(1, tasks=MANY)
    shelves.lanes.lane(1).mean_s = mean_s
    session = shelves.controller("c1", slots=4)
    session.taken = taken
    found = shelves.picker.pick(session, gathered)
    assert min(MANY, found[1] if found else 0) == welcome


def test_given_long_tasks_behind_short_ones_when_something_urgent_comes_then_a_slot_that_frees_is_its(
    master: Master,
) -> None:
    cluster = Cluster(master, lambda job_id: 0.01 if job_id == 1 else 10.0)
    cluster.submit(400)
    # For as long as it has run nothing else.
    cluster.join("c1", slots=4, prefetch=100)
    cluster.run_until(master.now + 10.0)
    cluster.submit(41)
    cluster.run_until(master.now + 5.0)
    asked = master.now
    urgent = cluster.submit(1, priority=100)
    cluster.run_until(master.now + 30.0)
    (began,) = [now for now, _, job_id, _ in cluster.started if job_id == urgent]
    assert began - asked < 10.0


def test_given_controllers_for_which_there_is_nothing_then_they_are_not_looked_at_again_until_there_is(
    master: Master,
) -> None:
    cluster = Cluster(master)
    cluster.submit(1, nodes=("absent",))
    for number in range(20):
        cluster.join(f"c{number}")
    cluster.run_until(master.now + 0.1)
    picker = master.scheduler._dispatcher._picker
    before = picker.looked_at
    for _ in range(50):
        master.advance()
    assert picker.looked_at == before
    cluster.submit(1)
    cluster.run_until(master.now + 0.1)
    assert cluster.order() == [2]


def test_given_a_limit_without_room_then_idle_controllers_are_not_looked_at_one_by_one(master: Master) -> None:
    cluster = Cluster(master)
    for number in range(50):
        cluster.join(f"c{number}")
    cluster.submit(100, limits={"a": 1})
    cluster.run_until(master.now + 0.1)
    picker = master.scheduler._dispatcher._picker
    # The unit is free, and the first who is asked takes it: what a turn looks at does not grow with the idle ones.
    for _ in range(5):
        before, (name,) = picker.looked_at, [node.name for node in cluster.nodes.values() if node.running]
        (task_id,) = cluster.nodes[name].running
        master.results(cluster.nodes[name].session, batch(task_id, COMPLETED))
        cluster.nodes[name].running.clear()
        cluster.run_until(master.now)
        assert picker.looked_at - before <= 5
    assert len(cluster.started) == 6
