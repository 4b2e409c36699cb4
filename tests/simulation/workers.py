"""A virtual worker process: it keeps the contract of controller/pipe.py in virtual time.

Rows run one after another. Where the worker is at a moment follows from where it was, so that a row costs no event of
its own: only a batch's end and a death do. What it finished and did not report is lost with it.
"""

from collections import deque
from typing import TYPE_CHECKING

from cyclone.controller.pipe import Done
from cyclone.controller.watch import Progress
from cyclone.controller.work import Piece
from cyclone.protocol import states
from cyclone.protocol.messages import ErrorRecord, ResultColumns
from cyclone.results import encode_columns, pack_seconds
from tests.simulation.generators import FAILS, FLAKY, HANGS, KILLS, decode_args

if TYPE_CHECKING:
    from tests.simulation.controller import VirtualController

NO_LIMIT = 1 << 62
_pack = encode_columns


class _Out:
    """Rows of one Execute: ``next`` is the first that has not started, ``told`` the first that was not reported."""

    __slots__ = ("base", "next", "piece", "plans", "told")

    def __init__(self, base: int, piece: Piece) -> None:
        self.base = base
        self.piece = piece
        self.plans = [decode_args(args) for args in piece.args]
        self.next = self.told = 0


class VirtualWorker:
    """One process. ``idle_since`` is when it last ran out of rows."""

    def __init__(self, controller: "VirtualController", slot: int, pid: int) -> None:
        self._controller = controller
        self._world = controller.world
        self.slot = slot
        self.pid = pid
        self.alive = True
        self.ready = False
        self.seq = 0
        self.executing = False
        self.started_s = 0.0
        self.idle_since = self._world.now
        self._limit = NO_LIMIT
        self._row_end = 0.0
        self._outs: deque[_Out] = deque()
        self._finished: list[tuple[int, bytes, float]] = []
        self._plan_number = 0
        self.jobs: set[int] = set()

    def become_ready(self) -> None:
        """The process has started."""
        if self.alive:
            self.ready = True
            self.idle_since = self._world.now
            self._controller.worker_ready(self)

    def execute(self, base: int, piece: Piece) -> None:
        """Rows from the controller."""
        if not self.alive:
            return
        self.sync()
        if not self._outs:
            self._limit = NO_LIMIT
        assert self._limit == NO_LIMIT, "rows for a worker whose rows are being taken back"
        assert base > (self._outs[-1].base if self._outs else self.seq), "row numbers must rise"
        out = _Out(base, piece)
        self._outs.append(out)
        self.sync()
        self._replan()
        if self._controller.trap and len(self._outs) == 1 and len(out.plans) > 1:
            # Between the first row's end and the last one's, results lie in the worker that nobody has heard of.
            self._controller.trap = False
            micros = sum(plan[0] for plan in out.plans) - out.plans[-1][0] / 2
            self._world.after(micros * 1e-6, self._fall_into_trap)

    def _fall_into_trap(self) -> None:
        if self.alive:
            self.sync()
            state = "unreported" if self._finished else "executing" if self.executing else "idle"
            self._world.count(f"worker dies {state}")
            self.die("SIGKILL")

    def take_back(self) -> int | None:
        """Set the limit behind the row that runs; its number."""
        if not self.alive:
            return None
        self.sync()
        self._limit = self.seq + 1
        self._replan()
        return self.seq

    def flush(self) -> None:
        """Report what is finished."""
        if self.alive:
            self.sync()
            self._report(ended=False)

    def end_task(self, seq: int) -> bool:
        """SIGTERM if it executes exactly this row, else False. Some tasks do not care, some end just then."""
        if not self.alive:
            return False
        self.sync()
        if not self.executing or self.seq != seq:
            return False
        self._limit = seq + 1
        fate = self._world.rng.random()
        if fate < 0.2 and self._behaviour() != KILLS:
            self._row_end = self._world.now + 0.001
        elif fate < 0.7:
            self._world.after(0.002, self.die, "SIGTERM")
        self._replan()
        return True

    def retire(self) -> None:
        """Exit when idle."""
        self._world.after(0.002, self.die, "retired")

    def die(self, cause: str) -> None:
        """The process is gone, with what it did not report."""
        if not self.alive:
            return
        self.sync()
        self.alive = False
        self._world.trace(b"%d died in %d" % (self.pid, self.seq))
        if self.executing:
            self._world.ledger.died_in(self.current())
            self._world.ledger.ran(self.current(), self.started_s, self._world.now)
        self._controller.worker_exited(self, cause)

    @property
    def unreported(self) -> int:
        """Finished rows that nobody knows of."""
        return len(self._finished)

    def current(self) -> tuple[int, int, int]:
        """Task, epoch and attempt of the row that it executes."""
        piece = self._outs[0].piece
        return piece.first + self.seq - self._outs[0].base, piece.epoch, piece.attempt

    def progress(self) -> Progress:
        """The words in shared memory."""
        self.sync()
        return Progress(self.seq, self.started_s, self.executing)

    def sync(self) -> None:
        """Bring the rows up to the present."""
        now = self._world.now
        at = self._row_end if self.executing else max(self.idle_since, now)
        while self.alive and self._outs:
            if self.executing:
                if self._row_end > now:
                    return
                at = self._row_end
                self._finish_row()
            out = self._outs[0]
            if out.next == len(out.plans) or out.base + out.next >= self._limit:
                self._report(ended=True)
                self._outs.popleft()
                self.idle_since = at
                continue
            self._start_row(out, at)

    def _behaviour(self) -> int:
        """Of the row that it executes."""
        out = self._outs[0]
        behaviour: int = out.plans[self.seq - out.base][1]
        return behaviour

    def _start_row(self, out: _Out, at: float) -> None:
        micros, behaviour = out.plans[out.next][:2]
        self.seq = out.base + out.next
        self.executing, self.started_s = True, at
        self._row_end = at + micros * 1e-6 if behaviour not in (KILLS, HANGS) else float("inf")
        out.next += 1
        self._world.ledger.started(self.current(), at)

    def _finish_row(self) -> None:
        out = self._outs[0]
        row = self.seq - out.base
        task_id, epoch, attempt = key = self.current()
        behaviour = out.plans[row][1]
        if behaviour == FAILS or (behaviour == FLAKY and (task_id + epoch + attempt) % 3):
            status, value = states.FAILED, _pack(ErrorRecord("Failed", f"{task_id}/{epoch}/{attempt} in {self.pid}"))
        else:
            status, value = states.COMPLETED, _pack([task_id, epoch, attempt, self.pid, self.seq])
        self._world.ledger.computed(key, status, value)
        self._world.ledger.ran(key, self.started_s, self._row_end)
        self._finished.append((status, value, self._row_end - self.started_s))
        self.executing = False

    def _report(self, ended: bool) -> None:
        out = self._outs[0] if self._outs else None
        if out is None or (not ended and not self._finished):
            return
        columns = [list(column) for column in zip(*self._finished, strict=True)] if self._finished else [[], [], []]
        statuses, values, seconds = columns
        body = encode_columns(ResultColumns(values, pack_seconds(seconds), 1e9 + self._world.now, self.pid))
        done = Done(out.base + out.told, bytes(statuses), body, sum(seconds), ended)
        out.told += len(self._finished)
        self._finished = []
        self._controller.worker_done(self, done)

    def _replan(self) -> None:
        """Put the next moment at which something shows outside on the heap."""
        self._plan_number += 1
        at = self._row_end if self.executing else self._world.now
        out = self._outs[0] if self._outs else None
        if out is None:
            return
        if self.executing and self._behaviour() == KILLS:
            self._world.after(0.001, self._die_of_task, self._plan_number)
            return
        if at == float("inf"):
            return
        for row in range(out.next, len(out.plans)):
            if out.base + row >= self._limit:
                break
            micros, behaviour = out.plans[row][:2]
            if behaviour == KILLS:
                self._world.at(at + 0.001, self._die_of_task, self._plan_number)
                return
            if behaviour == HANGS:
                break
            at += micros * 1e-6
        self._world.at(at, self._batch_ends, self._plan_number)

    def _die_of_task(self, plan_number: int) -> None:
        if plan_number == self._plan_number:
            self.die("SIGSEGV")

    def _batch_ends(self, plan_number: int) -> None:
        if plan_number == self._plan_number and self.alive:
            self.sync()
            self._replan()
