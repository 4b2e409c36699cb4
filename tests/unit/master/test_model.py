"""The master's task table against a model that keeps a record per task: any order of events, the same answer.

Spans, the queue, the fence and the dispatcher work on columns and ranges for speed. The model is what they stand for.
"""

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cyclone.master.actions import Action, Send
from cyclone.protocol import states
from cyclone.protocol.messages import Goodbye, Returned, Tasks
from tests.support.masters import Master, batch, final_states, hello, peer, tasks

CRASH_LIMIT = 2
CONTROLLERS = st.sampled_from(["c1", "c2", "c3"])
FEW = st.integers(1, 6)
IDS = st.integers(1, 24)
ATTEMPTS = st.integers(1, 3)
OUTCOMES = st.sampled_from([states.COMPLETED, states.COMPLETED, states.FAILED, states.CRASHED])


@dataclass
class Task:
    """A task as the protocol describes it: ``holder`` has the lease, ``charged`` was the last attempt to crash."""

    attempt: int = 0
    holder: str = ""
    crashes: int = 0
    charged: int = 0
    final: str = ""


class TaskTable(RuleBasedStateMachine):
    """The rules are what generators and controllers may do, the invariant that the master agrees with the model."""

    @initialize()
    def start(self) -> None:
        self.master = Master(crash_limit=CRASH_LIMIT)
        self.tasks: dict[int, Task] = {}
        self.incarnations = {"c1": 0, "c2": 0, "c3": 0}
        self.sessions: dict[str, int] = {}

    @rule(count=FEW, job=st.sampled_from(["tests:A", "tests:B"]))
    def offer(self, count: int, job: str) -> None:
        first = len(self.tasks) + 1
        self.master.offer(count, b"args", (job, None))
        self.tasks |= {task_id: Task() for task_id in range(first, first + count)}

    @rule(name=CONTROLLERS)
    def start_again(self, name: str) -> None:
        """A new incarnation, which holds nothing."""
        self.incarnations[name] += 1
        self.greet(name, forget=0, claims={})
        assert not self.held_by(name)

    @rule(name=CONTROLLERS, forget=st.integers(0, 3), claims=st.dictionaries(IDS, ATTEMPTS, max_size=4))
    def greet(self, name: str, forget: int, claims: dict[int, int]) -> None:
        """It forgot every so many of what it held, and claims others; leases of its own and given back ones stand."""
        before = self.held_by(name)
        if self.is_new(name):
            for task_id in before:
                self.tasks[task_id].holder = ""
            before = []
        held = claims | {i: self.tasks[i].attempt for i in before if not forget or i % forget}
        greeting = hello(name, self.incarnation(name), held=[tasks(*part) for part in self.ranges(held)])
        self.master.handle(greeting, name)
        self.sessions[name] = self.master.scheduler.state.sessions.by_name[name].session_id
        for task_id, task in self.tasks.items():
            current = not task.final and task.attempt > 0 and held.get(task_id) == task.attempt
            if task.holder in ("", name):
                task.holder = name if current else ""

    @rule(name=CONTROLLERS, credit=st.integers(0, 9), lost=st.sets(IDS, max_size=4))
    def report(self, name: str, credit: int, lost: set[int]) -> None:
        """A heartbeat: what it has been sent and does not list got lost."""
        if name not in self.sessions:
            return
        session = self.master.scheduler.state.sessions.by_id[self.sessions[name]]
        held = {task_id: self.tasks[task_id].attempt for task_id in self.held_by(name) if task_id not in lost}
        ranges = [tasks(*part) for part in self.ranges(held)]
        self.master.state(session.session_id, session.sent + credit, ranges, session.tasks_seq)
        for task_id in self.held_by(name):
            if task_id in lost:
                self.tasks[task_id].holder = ""

    @rule()
    def turn(self) -> None:
        """Dispatch: given back tasks in id order, then fresh ones, as many as there is credit for."""
        credit = self.master.scheduler.state.sessions.credit_total
        waiting = [task_id for task_id, task in self.tasks.items() if not task.holder and not task.final]
        waiting.sort(key=lambda task_id: (self.tasks[task_id].attempt == 0, task_id))
        leased = []
        names = {peer(name): name for name in self.sessions}
        for action in self.master.advance():
            if isinstance(action, Send) and isinstance(action.message, Tasks):
                for part in action.message.batches:
                    for task_id in range(part.first, part.first + len(part.args)):
                        leased.append(task_id)
                        task = self.tasks[task_id]
                        task.attempt += 1
                        assert part.attempt == task.attempt
                        task.holder = names[action.peer]
        assert leased == waiting[: min(credit, len(waiting))]

    @rule(name=CONTROLLERS, first=IDS, outcomes=st.lists(OUTCOMES, min_size=1, max_size=8), attempt=ATTEMPTS)
    def finish(self, name: str, first: int, outcomes: list[int], attempt: int) -> None:
        """Results of any attempt, whoever reports them."""
        if name not in self.sessions:
            return
        last_leased = max((task_id for task_id, task in self.tasks.items() if task.attempt), default=0)
        expected: dict[int, str] = {}
        for task_id, status in enumerate(outcomes, first):
            if first + len(outcomes) - 1 <= last_leased:
                expected |= self.judge(task_id, status, attempt)
        actions: list[Action] = self.master.results(self.sessions[name], batch(first, *outcomes, attempt=attempt))
        assert final_states(actions) == expected

    def judge(self, task_id: int, status: int, attempt: int) -> dict[int, str]:
        """The fence, as docs/protocol.md words it."""
        task = self.tasks[task_id]
        if task.final or attempt > task.attempt or (status != states.COMPLETED and attempt != task.attempt):
            return {}
        if status == states.CRASHED:
            if not task.holder:
                return {}
            task.crashes += attempt > task.charged
            task.charged = max(attempt, task.charged)
            task.holder = ""
            if task.crashes < CRASH_LIMIT:
                return {}
            status = states.QUARANTINED
        task.holder, task.final = "", states.STATE_NAMES[status]
        return {task_id: task.final}

    @rule(name=CONTROLLERS, first=IDS, count=FEW, attempt=ATTEMPTS)
    def give_back(self, name: str, first: int, count: int, attempt: int) -> None:
        if name not in self.sessions:
            return
        self.master.handle(Returned(self.sessions[name], 0, [tasks(first, count, attempt)]), name)
        for task_id in self.held_by(name):
            if first <= task_id < first + count and self.tasks[task_id].attempt == attempt:
                self.tasks[task_id].holder = ""

    @rule(name=CONTROLLERS)
    def leave(self, name: str) -> None:
        if name in self.sessions:
            self.master.handle(Goodbye(self.sessions.pop(name), "done"), name)
            for task_id in self.held_by(name):
                self.tasks[task_id].holder = ""

    @invariant()
    def the_table_is_the_model(self) -> None:
        scheduler = self.master.scheduler
        scheduler.check()
        found = {task_id: ("", 0) for task_id in range(1, scheduler.state.last_id + 1)}
        for span in scheduler.state.index:
            holder = "" if span.holder is None else scheduler.state.sessions.by_id[span.holder].name
            found |= {task_id: (holder, span.attempt) for task_id in span.open_ids()}
        open_tasks = {task_id: task for task_id, task in self.tasks.items() if not task.final}
        leased = {task_id: found[task_id] for task_id, task in open_tasks.items() if task.attempt}
        assert leased == {task_id: (task.holder, task.attempt) for task_id, task in open_tasks.items() if task.attempt}
        assert len(open_tasks) == scheduler.state.open_tasks
        assert scheduler.state.crashes == {
            task_id: task.crashes for task_id, task in open_tasks.items() if task.crashes
        }

    def is_new(self, name: str) -> bool:
        """Whether the master knows another incarnation of it, or none."""
        known = self.master.scheduler.state.sessions.by_name.get(name)
        return known is None or known.incarnation != self.incarnation(name)

    def incarnation(self, name: str) -> str:
        return f"{name}{self.incarnations[name]:030x}"

    def held_by(self, name: str) -> list[int]:
        return [task_id for task_id, task in self.tasks.items() if task.holder == name]

    @staticmethod
    def ranges(held: dict[int, int]) -> list[tuple[int, int, int]]:
        """``(first, count, attempt)`` of consecutive ids with one attempt."""
        found: list[tuple[int, int, int]] = []
        for task_id, attempt in sorted(held.items()):
            if found and found[-1][0] + found[-1][1] == task_id and found[-1][2] == attempt:
                found[-1] = (found[-1][0], found[-1][1] + 1, attempt)
            else:
                found.append((task_id, 1, attempt))
        return found


TaskTable.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, derandomize=True, database=None
)
TestTaskTable = TaskTable.TestCase
