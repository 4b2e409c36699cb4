"""The master's task table against a model that keeps a record per task: any order of events, the same answer.

Spans, the queue, the fence and the dispatcher work on columns and ranges for speed, and after a restart they begin with
what a journal replays. The model is what they stand for.
"""

from collections import Counter
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cyclone.master.actions import Action, Send
from cyclone.master.events import ResultsRecorded
from cyclone.master.waiting.paging import LOAD_BLOCKS
from cyclone.protocol import states
from cyclone.protocol.messages import Goodbye, JobOptions, Returned, TaskRange, Tasks, Welcome
from tests.support.masters import EPOCH, Master, batch, final_states, hello, peer, sent, tasks

CRASH_LIMIT = 2
CONTROLLERS = st.sampled_from(["c1", "c2", "c3"])
FEW = st.integers(1, 6)
IDS = st.integers(1, 14)
# How many epochs ago, and which attempt.
LEASES = st.tuples(st.sampled_from([0, 0, 1, 2]), st.integers(1, 3))
OUTCOMES = st.sampled_from([states.COMPLETED, states.COMPLETED, states.FAILED, states.CRASHED])

Token = tuple[int, int]
NEVER_LEASED: Token = (0, 0)
# The token and the holder of what an earlier epoch may have leased, until somebody says that he has it.
UNCLAIMED: Token = (0, 1)
FORMER = "?"


@dataclass
class Task:
    """A task as the protocol describes it: ``holder`` has the lease, ``ended`` is the last that ended in a crash."""

    token: Token = NEVER_LEASED
    holder: str = ""
    crashes: int = 0
    ended: Token = NEVER_LEASED
    final: str = ""


class TaskTable(RuleBasedStateMachine):
    """The rules are what generators and controllers may do and what may befall the master, the invariant that the
    master agrees with the model. ``kept`` is what controllers hold of which the master has no session."""

    @initialize()
    def start(self) -> None:
        self.master = Master(crash_limit=CRASH_LIMIT)
        self.tasks: dict[int, Task] = {}
        self.blocks: list[range] = []
        self.stored: list[range] = []
        self.epoch = EPOCH
        self.last_leased = self.inherited = 0
        self.incarnations = {"c1": 0, "c2": 0, "c3": 0}
        self.sessions: dict[str, int] = {}
        self.live: set[str] = set()
        self.awaited: set[str] = set()
        self.kept: dict[str, dict[int, Token]] = {}
        # Few random beginnings get as far as a restart with leases.
        self.offer(6, "tests:A")
        self.offer(6, "tests:B")
        for name, credit in (("c1", 4), ("c2", 4)):
            self.greet(name, forget=0, claims={})
            self.report(name, credit, lost=set())
        self.turn()

    @rule(count=FEW, job=st.sampled_from(["tests:A", "tests:B"]))
    def offer(self, count: int, job: str) -> None:
        first = len(self.tasks) + 1
        self.master.offer(count, b"args", JobOptions(job))
        block = range(first, first + count)
        self.tasks |= {task_id: Task() for task_id in block}
        self.blocks.append(block)
        if self.stored:
            self.stored.append(block)

    @rule(gone=st.sets(CONTROLLERS))
    def restart(self, gone: set[str]) -> None:
        """The master dies and comes back; of the controllers some are gone with it, the others keep what they hold."""
        for name in self.sessions:
            self.kept[name] = {task_id: self.tasks[task_id].token for task_id in self.held_by(name)}
        for name in gone:
            self.kept.pop(name, None)
            self.incarnations[name] += 1
        self.master.restart()
        self.epoch += 1
        self.sessions.clear()
        self.awaited = set(self.live)
        offered = [block for block in self.blocks if block[0] <= self.last_leased]
        self.last_leased = self.inherited = offered[-1][-1] if offered else 0
        self.stored = [block for block in self.blocks if block[0] > self.inherited]
        for task_id, task in self.tasks.items():
            if not task.final and task_id <= self.inherited:
                task.token, task.holder = UNCLAIMED, FORMER

    @rule(name=CONTROLLERS)
    def start_again(self, name: str) -> None:
        """A new incarnation, which holds nothing."""
        self.incarnations[name] += 1
        self.kept.pop(name, None)
        self.greet(name, forget=0, claims={})
        assert not self.held_by(name)

    @rule(name=CONTROLLERS, forget=st.integers(0, 3), claims=st.dictionaries(IDS, LEASES, max_size=4))
    def greet(self, name: str, forget: int, claims: dict[int, Token]) -> None:
        """It forgot every so many of what it held, and claims others; leases of its own and given back ones stand."""
        before = {task_id: self.tasks[task_id].token for task_id in self.held_by(name)}
        if self.is_new(name):
            self.let_go(name)
            before = {}
        before |= self.kept.pop(name, {})
        held = {task_id: (self.epoch - ago, attempt) for task_id, (ago, attempt) in claims.items()}
        held |= {task_id: token for task_id, token in before.items() if not forget or task_id % forget}
        actions = self.master.handle(hello(name, self.incarnation(name), held=self.ranges(held)), name)
        (welcome,) = [message for message in sent(actions) if isinstance(message, Welcome)]
        self.sessions[name] = self.master.scheduler.state.sessions.by_name[name].session_id
        adopted = {task_id for task_id, token in held.items() if self.may_adopt(name, task_id, token)}
        dropped = [i for part in welcome.drop for i in range(part.first, part.first + part.count)]
        assert len(dropped) == len(set(dropped))
        done = {task_id for task_id, task in self.tasks.items() if task.final}
        # What is done may be left in the middle of a range that is adopted.
        assert held.keys() - adopted - done <= set(dropped) <= held.keys() - adopted
        for task_id in adopted:
            self.tasks[task_id].token = held[task_id]
            self.tasks[task_id].holder = name
        for task_id in set(self.held_by(name)) - adopted:
            self.tasks[task_id].holder = ""
        self.live.add(name)
        self.awaited.discard(name)

    def may_adopt(self, name: str, task_id: int, token: Token) -> bool:
        """Whether a claim stands, as docs/protocol.md words it."""
        task = self.tasks.get(task_id)
        if task is None or task.final or task.token == NEVER_LEASED or task.ended >= token:
            return False
        if token == task.token:
            return task.holder in ("", name)
        return token[0] < self.epoch and task.token[0] < self.epoch and token > task.token

    @rule(name=CONTROLLERS, credit=st.integers(0, 9), lost=st.sets(IDS, max_size=4))
    def report(self, name: str, credit: int, lost: set[int]) -> None:
        """A heartbeat: what it has been sent and does not list got lost."""
        if name not in self.sessions:
            return
        session = self.master.scheduler.state.sessions.by_id[self.sessions[name]]
        held = {task_id: self.tasks[task_id].token for task_id in self.held_by(name) if task_id not in lost}
        self.master.state(session.session_id, session.sent + credit, self.ranges(held), session.tasks_seq)
        for task_id in self.held_by(name):
            if task_id in lost:
                self.tasks[task_id].holder = ""

    @rule()
    def turn(self) -> None:
        """Dispatch: given back tasks in id order, then fresh ones, as many as there is credit for."""
        credit = self.master.scheduler.state.sessions.credit_total
        if not self.awaited:
            self.let_go(FORMER)
        in_journal = {task_id for block in self.stored for task_id in block}
        waiting = [
            task_id
            for task_id, task in self.tasks.items()
            if not task.holder and not task.final and task_id not in in_journal
        ]
        waiting.sort(key=lambda task_id: (self.tasks[task_id].token == NEVER_LEASED, task_id))
        leased = []
        names = {peer(name): name for name in self.sessions}
        for action in self.master.advance():
            if isinstance(action, Send) and isinstance(action.message, Tasks):
                for part in action.message.batches:
                    for task_id in range(part.first, part.first + len(part.args)):
                        leased.append(task_id)
                        task = self.tasks[task_id]
                        task.token = (self.epoch, task.token[1] + 1)
                        assert part.attempt == task.token[1]
                        task.holder = names[action.peer]
        assert leased == waiting[: min(credit, len(waiting))]
        self.last_leased = max([self.last_leased, *leased])
        del self.stored[:LOAD_BLOCKS]

    @rule()
    def silence(self) -> None:
        """Nobody says anything until everybody is given up; they keep what they hold."""
        for name in self.sessions:
            self.kept[name] = {task_id: self.tasks[task_id].token for task_id in self.held_by(name)}
        self.master.advance(100.0)
        for name in [*self.sessions, FORMER]:
            self.let_go(name)
        self.sessions.clear()
        self.live.clear()
        self.awaited.clear()
        del self.stored[:LOAD_BLOCKS]

    @rule(name=CONTROLLERS, first=IDS, outcomes=st.lists(OUTCOMES, min_size=1, max_size=4), lease=LEASES)
    def finish(self, name: str, first: int, outcomes: list[int], lease: Token) -> None:
        """Results of any attempt, whoever reports them."""
        if name not in self.sessions:
            return
        token = (self.epoch - lease[0], lease[1])
        leased_id = self.last_leased if token[0] == self.epoch else self.inherited
        expected: dict[int, str] = {}
        for task_id, status in enumerate(outcomes, first):
            if first + len(outcomes) - 1 <= leased_id:
                expected |= self.judge(task_id, status, token)
        reported = batch(first, *outcomes, epoch=token[0], attempt=token[1])
        actions: list[Action] = self.master.results(self.sessions[name], reported)
        assert final_states(actions) == expected

    def judge(self, task_id: int, status: int, token: Token) -> dict[int, str]:
        """The fence, as docs/protocol.md words it."""
        task = self.tasks[task_id]
        if task.final or task.token == NEVER_LEASED or (token[0] == self.epoch and token > task.token):
            return {}
        if status != states.COMPLETED and (token < task.token or token <= task.ended):
            return {}
        if status == states.CRASHED:
            if not task.holder:
                return {}
            task.crashes += 1
            task.ended = token
            task.holder = ""
            if task.crashes < CRASH_LIMIT:
                return {}
            status = states.QUARANTINED
        task.holder, task.final = "", states.STATE_NAMES[status]
        return {task_id: task.final}

    @rule(name=CONTROLLERS, first=IDS, count=FEW, lease=LEASES)
    def give_back(self, name: str, first: int, count: int, lease: Token) -> None:
        if name not in self.sessions:
            return
        token = (self.epoch - lease[0], lease[1])
        self.master.handle(Returned(self.sessions[name], 0, [tasks(first, count, token[1], token[0])]), name)
        for task_id in self.held_by(name):
            if first <= task_id < first + count and self.tasks[task_id].token == token:
                self.tasks[task_id].holder = ""

    @rule(name=CONTROLLERS)
    def leave(self, name: str) -> None:
        if name in self.sessions:
            self.master.handle(Goodbye(self.sessions.pop(name), "done"), name)
            self.let_go(name)
            self.live.discard(name)

    @invariant()
    def the_table_is_the_model(self) -> None:
        state = self.master.scheduler.state
        self.master.scheduler.check()
        found: dict[int, tuple[str, Token]] = {}
        for span in state.index:
            holder = "" if span.holder is None else state.sessions.holder(span.holder).name or FORMER
            found |= {task_id: (holder, span.token) for task_id in span.open_ids()}
        open_tasks = {task_id: task for task_id, task in self.tasks.items() if not task.final}
        assert found == {
            task_id: (task.holder, task.token) for task_id, task in open_tasks.items() if task.token != NEVER_LEASED
        }
        assert state.open_tasks == len(open_tasks)
        assert state.lanes.window.stored_count == sum(map(len, self.stored))
        assert state.crashes == {task_id: task.crashes for task_id, task in open_tasks.items() if task.crashes}
        assert (set(state.live), state.awaited) == (self.live, self.awaited)

    @invariant()
    def each_result_is_recorded_once(self) -> None:
        state = self.master.scheduler.state
        numbers = [event.number for event in self.master.recorded if isinstance(event, ResultsRecorded)]
        assert numbers == list(range(1, state.number + 1))
        assert {name: count for name, count in state.ended.items() if count} == Counter(
            task.final for task in self.tasks.values() if task.final
        )

    def is_new(self, name: str) -> bool:
        """Whether the master knows another incarnation of it, or none."""
        known = self.master.scheduler.state.sessions.by_name.get(name)
        return known is None or known.incarnation != self.incarnation(name)

    def incarnation(self, name: str) -> str:
        return f"{name}{self.incarnations[name]:030x}"

    def held_by(self, name: str) -> list[int]:
        return [task_id for task_id, task in self.tasks.items() if task.holder == name]

    def let_go(self, name: str) -> None:
        for task_id in self.held_by(name):
            self.tasks[task_id].holder = ""

    @staticmethod
    def ranges(held: dict[int, Token]) -> list[TaskRange]:
        """Consecutive ids of one lease together."""
        found: list[TaskRange] = []
        for task_id, (epoch, attempt) in sorted(held.items()):
            last = found[-1] if found else None
            if last and (last.first + last.count, last.epoch, last.attempt) == (task_id, epoch, attempt):
                found[-1] = tasks(last.first, last.count + 1, attempt, epoch)
            else:
                found.append(tasks(task_id, 1, attempt, epoch))
        return found


TaskTable.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True, database=None
)
TestTaskTable = TaskTable.TestCase
