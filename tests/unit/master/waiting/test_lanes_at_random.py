"""Jobs of all kinds, on controllers that come, leave and are cut off, while people hold, pause and cancel: by seeds.

Behind each step every invariant is derived anew; at the end nothing is left open, taken or kept.
"""

from random import Random
from typing import Any

import pytest

from cyclone.master import state as state_module
from cyclone.master.waiting import paging as paging_module
from cyclone.protocol.messages import Offer
from tests.support.cluster import Cluster
from tests.support.job_requests import WALL_OFFSET_S, cancel, control, ids
from tests.support.masters import Master

STEPS = 60
NAMESPACES = ("default", "a", "b")
LIMIT = 2
# Whatever a node may run that was cut off has ended then: Terms.exclusive_wait_s.
OVER_S = 21.5


class Chance:
    """What may happen, and what must not."""

    def __init__(self, master: Master, seed: int) -> None:
        self.random = Random(seed)
        self.master = master
        self.durations: dict[int, float] = {}
        self.cluster = Cluster(master, lambda job_id: self.durations.get(job_id, 0.3))
        self.cluster.check = self.check
        self.bounds: dict[int, tuple[int, tuple[str, ...]]] = {}
        self.cut_at: dict[str, float] = {}

    def check(self) -> None:
        used = dict.fromkeys("xy", 0)
        for job_id, (parallel, names) in self.bounds.items():
            count = self.running(job_id)
            assert count <= parallel, f"{count} of job {job_id} run at once"
            for name in names:
                used[name] += count
        assert max(used.values()) <= LIMIT, f"limits are exceeded: {used}"

    def running(self, job_id: int) -> int:
        nodes = [n for n in self.cluster.nodes.values() if self.master.now <= self.cut_at.get(n.name, 1e9) + OVER_S]
        return sum(of == job_id for node in nodes for _, _, of in node.running.values())

    def step(self) -> None:
        what = self.random.choices(
            [self.submit, self.join, self.cut, self.hold, self.cancel, self.pause, self.offer, self.rest],
            [30, 12, 5, 6, 4, 4, 6, 33],
        )
        what[0]()
        self.cluster.run_until(self.master.now + self.random.choice([0.01, 0.2, 1.0, 4.0]))
        self.master.scheduler.check()

    def submit(self) -> None:
        maybe: dict[str, Any] = {
            "cpus": self.random.randint(1, 4),
            "parallel": self.random.randint(1, 3),
            "limits": {self.random.choice("xy"): LIMIT},
            "nodes": (self.random.choice(["n0", "n1", "n2"]),),
            "labels": ("ssd",),
            "mem_bytes": self.random.randint(1, 600),
            "resources": {"gpu": 1},
            "priority": self.random.randint(-2, 2),
            "held": True,
            "exclusive": True,
            "not_before": WALL_OFFSET_S + self.master.now + self.random.random() * 5,
        }
        options = {name: value for name, value in maybe.items() if self.random.random() < 0.15}
        job_id = self.cluster.submit(self.random.randint(1, 30), namespace=self.random.choice(NAMESPACES), **options)
        self.durations[job_id] = self.random.choice([0.0, 0.05, 0.3, 1.0, 3.0])
        self.bounds[job_id] = (options.get("parallel", 1 << 30), tuple(options.get("limits", ())))

    def join(self) -> None:
        number = len(self.cluster.nodes)
        if sum(node.is_alive for node in self.cluster.nodes.values()) < 5:
            offer = Offer(
                namespaces=self.random.choice([(), (), ("a", "default")]),
                labels=self.random.choice([(), ("ssd",)]),
                mem_bytes=self.random.choice([0, 1000]),
                resources=self.random.choice([{}, {"gpu": 2}]),
            )
            slots, prefetch = self.random.randint(1, 5), self.random.randint(1, 4)
            self.cluster.join(f"c{number}", slots, prefetch, offer, f"n{number % 3}")

    def cut(self) -> None:
        alive = [node.name for node in self.cluster.nodes.values() if node.is_alive]
        if len(alive) > 1:
            name = self.random.choice(alive)
            self.cut_at[name] = self.master.now
            self.cluster.kill(name)

    def hold(self) -> None:
        if self.bounds:
            control(self.master, self.random.choice(["hold", "release"]), self.random.choice(list(self.bounds)))

    def cancel(self) -> None:
        if self.bounds:
            cancel(self.master, ids(self.random.choice(list(self.bounds))))

    def pause(self) -> None:
        weight, paused = self.random.choice([0.5, 1.0, 3.0]), self.random.random() < 0.5
        self.cluster.namespace(self.random.choice("ab"), weight, paused)

    def offer(self) -> None:
        self.master.offer(self.random.randint(1, 40))

    def rest(self) -> None:
        """Nothing happens but time."""

    def finish(self) -> None:
        """Everything is let go, and there are controllers for all."""
        for name in "ab":
            self.cluster.namespace(name)
        control(self.master, "release", *self.master.scheduler.state.jobs.records)
        for number in range(3):
            offer = Offer(labels=("ssd",), resources={"gpu": 9})
            self.cluster.join(f"z{number}", 8, 2, offer, f"n{number}")
        for _ in range(60):
            if self.master.scheduler.state.open_tasks:
                self.cluster.run_until(self.master.now + 20.0)
        self.cluster.run_until(self.master.now + 2 * OVER_S)


@pytest.mark.parametrize("seed", range(8))
def test_given_anything_that_may_happen_then_nothing_is_exceeded_lost_or_left_over(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "PAGE_TASKS", 40)
    monkeypatch.setattr(paging_module, "LOAD_BELOW_TASKS", 20)
    monkeypatch.setattr(paging_module, "MEMORY_TASKS", 80)
    master = Master(pages=seed % 3 > 0)
    chance = Chance(master, seed)
    for name in "ab":
        chance.cluster.namespace(name, 1.0 + seed % 2)
    for _ in range(STEPS):
        chance.step()
    chance.finish()
    master.scheduler.check()
    state = master.scheduler.state
    assert sum(state.ended.values()) == state.last_id
    assert (len(state.lanes), state.open_tasks, state.lanes.limits.used) == (1, 0, {})
    assert not any(lane.reserved or lane.lingering or lane.out for lane in state.lanes)
