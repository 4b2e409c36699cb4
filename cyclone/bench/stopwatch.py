"""The stop-watch of ``cyclone bench``: a listener of the master that notes what a run costs, and decides nothing.

Time runs from the first dispatch to the last recorded result. Between these two it counts messages, batches and syncs,
and reads the CPU time of all processes that it can see; the generator's is read until it has taken in the last result.
It also starts the generator when every worker is there, and lets a master leave whose controllers are to stay.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cyclone.bench import cpu
from cyclone.bench.plan import Plan
from cyclone.protocol.job_messages import AnyToClient
from cyclone.protocol.messages import AnyFromMaster, Tasks
from cyclone.results import RecordedBlock

if TYPE_CHECKING:
    from cyclone.master.service import MasterService
    from cyclone.protocol.traffic import Traffic

# A worker of our own that does not start by then will not; the run goes on without it and says so by its result.
_WORKERS_WAIT_S = 10.0
# How many workers controllers of other hosts will have, only they know: so long after the last of them all are there.
_SETTLED_S = 1.0
# At which shares of the tasks the memory is looked at: of several looks the median counts, so that what is there for a
# moment only does not.
_EARLY = (0.06, 0.08, 0.10, 0.12, 0.14)
_LATE = (0.91, 0.93, 0.95, 0.97, 0.99)


@dataclass(slots=True)
class Sizes:
    """How many tasks each batch of a kind had."""

    batches: int = 0
    tasks: int = 0
    largest: int = 0

    def add(self, tasks: int) -> None:
        """One more."""
        self.batches += 1
        self.tasks += tasks
        self.largest = max(self.largest, tasks)


class _Moment(NamedTuple):
    """What is compared of two moments. ``at`` is monotonic."""

    at: float
    look: cpu.Look
    traffic: "Traffic"
    syncs: int


@dataclass(slots=True)
class Measured:
    """What was noted of one run. ``generator_s``: until the generator had taken in the last result; ``slots``: the
    workers that there were.
    """

    seconds: float
    generator_s: float
    slots: int
    cpu: dict[str, cpu.Used]
    traffic: "Traffic"
    syncs: int
    leases: Sizes
    results: Sizes
    rss_early_bytes: int
    rss_late_bytes: int
    trips_us: list[float]
    blocks: list[RecordedBlock] = field(default_factory=list)


class Stopwatch:
    """See the module. ``controllers`` tells the pids of those on this host, ``syncs`` how often the disk was awaited.

    ``keep_blocks`` is for modes that look at each result.
    """

    def __init__(self, plan: Plan, controllers: Callable[[], Sequence[int]], syncs: Callable[[], int]) -> None:
        self._plan = plan
        self._controllers = controllers
        self._syncs = syncs
        self._done = 0
        self._leases, self._results = Sizes(), Sizes()
        self._trips_us: list[float] = []
        self._blocks: list[RecordedBlock] = []
        self._rss: dict[float, int] = {}
        self._looks = [(round(share * plan.tasks), share) for share in reversed(_EARLY + _LATE)]
        self._sent_at = self._consumed_at = 0.0
        self._slots = 0
        self._grown_at = time.monotonic()
        self._first: _Moment | None = None
        self._last: _Moment | None = None
        self._service: MasterService | None = None
        self._is_finishing = False
        self._give_up_at = time.monotonic() + _WORKERS_WAIT_S

    def sent(self, message: AnyFromMaster | AnyToClient) -> None:
        """The clock starts with the first tasks that leave for a controller."""
        if type(message) is not Tasks:
            return
        if self._first is None:
            self._first = self._moment()
        self._leases.add(sum(count for batch in message.batches for _, count in batch.runs))
        self._sent_at = time.perf_counter()

    def recorded(self, block: RecordedBlock) -> None:
        """Note a trip, the memory, and the end."""
        if self._plan.in_flight:
            self._trips_us.append((time.perf_counter() - self._sent_at) * 1e6)
        if self._plan.mode == "mixed":
            self._blocks.append(block)
        count = block.count()
        self._done += count
        self._results.add(count)
        while self._looks and self._done >= self._looks[-1][0]:
            self._rss[self._looks.pop()[1]] = _resident_bytes()
        if self._done == self._plan.tasks:
            self._last = self._moment()

    def turn(self, service: "MasterService") -> None:
        """Start the generator in time, and see to its end."""
        self._service = service
        if service.source is None:
            if self._is_complete(service):
                service.start_generator()
        elif self._last:
            self._follow_generator(self._last, service)

    def measured(self) -> Measured:
        """All of it. The caller owes a run in which every task was recorded."""
        first, last = self._first, self._last
        assert first and last
        traffic = replace(
            last.traffic,
            sent=last.traffic.sent - first.traffic.sent,
            sent_bytes=last.traffic.sent_bytes - first.traffic.sent_bytes,
            received=last.traffic.received - first.traffic.received,
            received_bytes=last.traffic.received_bytes - first.traffic.received_bytes,
        )
        return Measured(
            seconds=last.at - first.at,
            generator_s=self._consumed_at - first.at,
            slots=self._slots,
            cpu=cpu.used(first.look, last.look),
            traffic=traffic,
            syncs=last.syncs - first.syncs,
            leases=self._leases,
            results=self._results,
            rss_early_bytes=self._median_rss_bytes(_EARLY),
            rss_late_bytes=self._median_rss_bytes(_LATE),
            trips_us=self._trips_us,
            blocks=self._blocks,
        )

    def _is_complete(self, service: "MasterService") -> bool:
        """Whether everybody has come that is waited for: those of other hosts as long as it takes."""
        sessions = service.scheduler.state.sessions.by_id.values()
        now, before = time.monotonic(), self._slots
        self._slots = sum(session.slots for session in sessions)
        if self._slots != before:
            self._grown_at = now
        if self._plan.listen:
            ready = [session for session in sessions if session.slots]
            return len(ready) >= self._plan.controllers and now > self._grown_at + _SETTLED_S
        return self._slots >= self._plan.slots or now > self._give_up_at

    def _follow_generator(self, last: _Moment, service: "MasterService") -> None:
        """What it still makes of the last results is work for these tasks, too."""
        assert service.source
        if not self._is_finishing:
            feed = service.source.feed
            last.look["generator"] = cpu.used_s([feed.pid]) or last.look["generator"]
            self._consumed_at = time.monotonic()
            self._is_finishing = service.scheduler.all_done
            if self._is_finishing and self._plan.listen:
                service.source.finish()
        elif self._plan.listen and (service.source.feed.summary is not None or service.source.failure):
            service.leave()

    def _moment(self) -> _Moment:
        service = self._service
        assert service and service.source
        at = time.monotonic()
        look = cpu.look(os.getpid(), service.source.feed.pid, self._controllers())
        return _Moment(at, look, replace(service.traffic), self._syncs())

    def _median_rss_bytes(self, shares: Sequence[float]) -> int:
        return round(statistics.median(self._rss[share] for share in shares))


def _resident_bytes() -> int:
    """This process's, which is the master."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
