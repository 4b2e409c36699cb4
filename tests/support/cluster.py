"""A scheduler with controllers that take the time that tasks take, on a clock of their own: who gets what, and when.

Smaller than the simulation, and without faults but those that a test asks for: no network, no journal, nobody restarts.
The caller may kill a node: then nobody hears of it again, but what it runs goes on for as long as a lease may.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cyclone.master.actions import Action, Send
from cyclone.protocol.job_messages import NamespaceRequest
from cyclone.protocol.job_spec import Namespace
from cyclone.protocol.messages import (
    Job,
    Offer,
    Recall,
    ResultBatch,
    Results,
    Returned,
    State,
    TaskRange,
    Tasks,
    Welcome,
)
from cyclone.protocol.states import COMPLETED
from tests.support.job_requests import ask, submit
from tests.support.masters import EPOCH, Master, batch, hello, peer

# Each State of a controller comes so much later than the one before.
_HEARTBEAT_S = 1.0
_NOTHING_BUT_SLOTS = Offer()
_BODY = batch(1, COMPLETED).body


@dataclass(eq=False)
class Node:
    """A controller. ``waiting`` are ``(task, attempt, job)``, ``running`` when each of those that run will be over."""

    name: str
    slots: int
    prefetch: int
    session: int = 0
    is_alive: bool = True
    tasks_seq: int = 0
    state_seq: int = 0
    results: int = 0
    ended: int = 0
    jobs: dict[int, Job] = field(default_factory=dict)
    waiting: deque[tuple[int, int, int]] = field(default_factory=deque)
    running: dict[int, tuple[float, int, int]] = field(default_factory=dict)

    @property
    def busy(self) -> int:
        """Slots that are taken."""
        return sum(self.jobs[job_id].cpus for _, _, job_id in self.running.values())

    @property
    def granted(self) -> int:
        """So many it would have taken in all: what ended, and as many as it likes to hold."""
        return self.ended + self.slots * self.prefetch


class Cluster:
    """See the module. ``seconds`` says how long a task of a job takes; ``used_s`` are slot-seconds by job."""

    def __init__(self, master: Master, seconds: Callable[[int], float] = lambda job_id: 1.0) -> None:
        self.master = master
        self.seconds = seconds
        self.nodes: dict[str, Node] = {}
        self.used_s: defaultdict[int, float] = defaultdict(float)
        self.started: list[tuple[float, int, int, str]] = []
        self.check: Callable[[], None] = lambda: None
        self._events: list[tuple[float, int, str, int]] = []
        self._count = 0

    def join(
        self, name: str, slots: int = 2, prefetch: int = 2, offer: Offer = _NOTHING_BUT_SLOTS, host: str = "node"
    ) -> Node:
        """Another controller."""
        node = self.nodes[name] = Node(name, slots, prefetch)
        incarnation = f"{len(self.nodes):032x}"
        greeting = hello(name, incarnation, slots, offer=offer, host=host)
        for message in self._sent(self.master.handle(greeting, name), name):
            if isinstance(message, Welcome):
                node.session = message.session
        self._schedule(0.0, name, 0)
        return node

    def namespace(self, name: str, weight: float = 1.0, paused: bool = False) -> None:
        """Make or change one."""
        ask(self.master, NamespaceRequest(1, "set", Namespace(name=name, weight=weight, paused=paused)))

    def submit(self, count: int, **options: Any) -> int:
        """A job of so many tasks, sealed; its number."""
        self._count += 1
        answer = submit(self.master, count, f"job-{self._count}", **options)
        assert not answer.code, answer.text
        return answer.job_id

    def kill(self, name: str) -> None:
        """Its machine is cut off: what it runs goes on there until its lease is over."""
        self.nodes[name].is_alive = False

    def run_until(self, moment: float) -> None:
        """Let time pass."""
        self._turn()
        while self._events and self._events[0][0] <= moment:
            at, _, name, task_id = heapq.heappop(self._events)
            self.master.now = max(self.master.now, at)
            node = self.nodes[name]
            if task_id:
                self._end(node, task_id)
            elif node.is_alive:
                self._heartbeat(node)
            self._turn()
        self.master.now = max(self.master.now, moment)
        self._turn()

    def running(self, job_id: int) -> int:
        """How many tasks of a job run at this moment, those of nodes that are cut off included."""
        return sum(job_id == of for node in self.nodes.values() for _, _, of in node.running.values())

    def order(self) -> list[int]:
        """The tasks in the order in which they began."""
        return [task_id for _, task_id, _, _ in self.started]

    def where(self, job_id: int) -> set[str]:
        """On which nodes tasks of a job have begun."""
        return {name for _, _, of, name in self.started if of == job_id}

    def _turn(self) -> None:
        self._carry_out(self.master.advance())
        self.check()

    def _end(self, node: Node, task_id: int) -> None:
        if task_id not in node.running:
            return
        began, attempt, job_id = node.running.pop(task_id)
        if not node.is_alive:
            return
        seconds = self.master.now - began
        self.used_s[job_id] += seconds * node.jobs[job_id].cpus
        node.ended += 1
        node.results += 1
        done = ResultBatch(task_id, EPOCH, attempt, bytes([COMPLETED]), _BODY, seconds)
        self._carry_out(self.master.handle(Results(node.session, node.results, node.granted, [done]), node.name))
        self._begin(node)

    def _heartbeat(self, node: Node) -> None:
        node.state_seq += 1
        held = [TaskRange(task_id, 1, EPOCH, attempt) for task_id, attempt, _ in node.waiting]
        held += [TaskRange(task_id, 1, EPOCH, attempt) for task_id, (_, attempt, _) in node.running.items()]
        report = State(node.session, node.state_seq, node.tasks_seq, node.granted, node.slots, node.busy, held)
        self._carry_out(self.master.handle(report, node.name))
        self._schedule(_HEARTBEAT_S, node.name, 0)

    def _begin(self, node: Node) -> None:
        now = self.master.now
        while node.waiting and node.busy + node.jobs[node.waiting[0][2]].cpus <= node.slots:
            task_id, attempt, job_id = node.waiting.popleft()
            node.running[task_id] = (now, attempt, job_id)
            self.started.append((now, task_id, job_id, node.name))
            self._schedule(self.seconds(job_id), node.name, task_id)

    def _carry_out(self, actions: list[Action]) -> None:
        for name in self.nodes:
            for message in self._sent(actions, name):
                if isinstance(message, Tasks):
                    self._take(self.nodes[name], message)
                elif isinstance(message, Recall):
                    self._give_back(self.nodes[name], message.count)

    def _take(self, node: Node, message: Tasks) -> None:
        if not node.is_alive:
            return
        node.tasks_seq = message.seq
        node.jobs.update((job.job_id, job) for job in message.jobs)
        for part in message.batches:
            jobs = [job_id for job_id, count in part.runs for _ in range(count)]
            node.waiting.extend((part.first + row, part.attempt, job_id) for row, job_id in enumerate(jobs))
        self._begin(node)

    def _give_back(self, node: Node, count: int) -> None:
        if node.is_alive:
            back = [node.waiting.pop() for _ in range(min(count, len(node.waiting)))]
            node.ended += len(back)
            ranges = [TaskRange(task_id, 1, EPOCH, attempt) for task_id, attempt, _ in back]
            self._carry_out(self.master.handle(Returned(node.session, node.granted, ranges), node.name))

    def _schedule(self, after_s: float, name: str, task_id: int) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.master.now + after_s, self._count, name, task_id))

    @staticmethod
    def _sent(actions: list[Action], name: str) -> list[object]:
        return [action.message for action in actions if isinstance(action, Send) and action.peer == peer(name)]
