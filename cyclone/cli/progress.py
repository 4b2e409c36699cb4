"""Progress of a run: a bar on a terminal, a line every few seconds elsewhere; and what went wrong, grouped by cause.

A listener of the master. The number of tasks is not known before a generator has yielded its last.
"""

import os
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from cyclone.protocol import states
from cyclone.protocol.job_messages import AnyToClient
from cyclone.protocol.messages import AnyFromMaster, Tasks
from cyclone.results import OpenBlock, RecordedBlock

if TYPE_CHECKING:
    from cyclone.master.service import MasterService

_BAR_EVERY_S = 0.1
_LINE_EVERY_S = 5.0
_SIZE_UNTOLD = (80, 24)
# Failures of different causes that are told apart; a million failures rarely have more.
_CAUSES_MAX = 100


class Progress:
    """Counts what is recorded, and shows it on stderr unless ``quiet``."""

    def __init__(self, quiet: bool) -> None:
        self.done = 0
        # Results that a resumed run had when it began; None until it has.
        self.before: int | None = None
        self.failed = 0
        self.causes: Counter[str] = Counter()
        self.first_at: float | None = None
        self.last_at = 0.0
        self._quiet = quiet
        self._stop_said = False
        self._bar: Any = None
        self._next_s = _BAR_EVERY_S if sys.stderr.isatty() else _LINE_EVERY_S
        self._show_at = time.monotonic() + self._next_s

    def sent(self, message: AnyFromMaster | AnyToClient) -> None:
        """The clock of the run starts with the first tasks that leave for a controller."""
        if self.first_at is None and type(message) is Tasks:
            self.first_at = time.monotonic()

    def recorded(self, block: RecordedBlock) -> None:
        """Count results, and open those blocks that hold a failure."""
        count, completed = block.count(), block.completed()
        self.done += count
        self.last_at = time.monotonic()
        if completed < count:
            self.failed += count - completed
            for result in OpenBlock(block):
                error = result.error
                if error is not None:
                    cause = f"{result.state}: {error.type}: {error.message.splitlines()[0] if error.message else ''}"
                    self.causes[
                        cause if cause in self.causes or len(self.causes) < _CAUSES_MAX else "other causes"
                    ] += 1

    def turn(self, service: "MasterService") -> None:
        """Show where we are, now and then."""
        if self.before is None:
            self.before = service.scheduler.done_tasks - self.done
        if self._quiet:
            return
        if service.scheduler.stopping and not self._stop_said:
            self._say_stop(service)
        now = time.monotonic()
        if now < self._show_at:
            return
        self._show_at = now + self._next_s
        state = service.scheduler.state
        total = state.last_id if state.progress.exhausted else None
        done = self.before + self.done
        if not sys.stderr.isatty():
            of = f" of {total:,}" if total is not None else ""
            failed = f", {self.failed:,} failed" if self.failed else ""
            rate = self.done / max(self.seconds(now), 1e-9)
            running = self._running(service)
            print(f"{done:,}{of} tasks done{failed}, {rate:,.0f} tasks/s, {running} running", file=sys.stderr)
            return
        if self._bar is None:
            self._bar = _new_bar(self.before)
        self._bar.total = total
        self._bar.update(done - self._bar.n)
        if self.failed:
            self._bar.set_postfix_str(f"{self.failed:,} failed", refresh=False)

    @staticmethod
    def _running(service: "MasterService") -> int:
        slots = sum(session.slots for session in service.scheduler.state.sessions.by_id.values())
        return min(service.scheduler.leased_tasks, slots)

    def _say_stop(self, service: "MasterService") -> None:
        """Whoever has pressed Ctrl-C must not think that nothing happens."""
        self._stop_said = True
        if running := self._running(service):
            print(f"stopping: waiting for what runs ({running}), a second signal stops at once", file=sys.stderr)

    def seconds(self, now: float | None = None) -> float:
        """From the first dispatch to the last recorded result, or until now."""
        if self.first_at is None:
            return 0.0
        return max(0.0, (self.last_at if now is None else now) - self.first_at)

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._bar is not None:
            self._bar.update((self.before or 0) + self.done - self._bar.n)
            self._bar.close()


def _new_bar(done: int) -> Any:
    from tqdm import tqdm

    # On a terminal that does not tell its size, as those of containers do, tqdm would draw nothing at all.
    told = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    columns, rows = (None, None) if told else _SIZE_UNTOLD
    return tqdm(
        initial=done,
        unit=" tasks",
        smoothing=0.1,
        dynamic_ncols=told,
        ncols=columns,
        nrows=rows,
        file=sys.stderr,
        mininterval=0,
    )


def state_counts(ended: dict[str, int]) -> str:
    """'1,230 completed, 3 failed': the states that occur, in the order of the table."""
    return ", ".join(f"{ended[name]:,} {name}" for name in states.FINAL_STATES if ended.get(name))
