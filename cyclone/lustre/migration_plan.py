"""Which OST may give a file to which other one now: the rules of a migration. PURE.

Owns, of each source and each target OST, its fill level, what is on the way from or to it, and its state. Knows no
paths, no clock and no ``lfs``: what was asked and answered, begun and finished goes in, pairs of OSTs come out. The
caller owes: ``levels_asked`` before ``lfs df`` is called and ``set_levels`` with its answer, ``set_waiting`` when a
source gets its first path and when it has none any more, and ``finish`` once for each pair that ``next_pair`` gave.

The state of an OST follows from three questions: may its level have it at work, is a stream of it free, is anything on
the way?

    READY         level and streams permit it: it is taken in turn
    BLOCKED       all its streams are in use
    LOCKED        its level says no: a source at or below its threshold, a target at or above, or unknown; or it is a
                  target on which move after move failed, which gets one more with the next levels
    PENDING_LOCK  its level says no, and something is still on the way; LOCKED when that has ended, or BLOCKED or READY
                  again when the level recovers
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cyclone.lustre.stream_window import StreamWindow

# Moves that fail in a row on a target before it has to wait for the next levels.
FAILURES_MAX = 5


class State(enum.StrEnum):
    """What an OST may do. Spelled so in logs, status and documentation."""

    READY = "READY"
    BLOCKED = "BLOCKED"
    LOCKED = "LOCKED"
    PENDING_LOCK = "PENDING_LOCK"


class Level(NamedTuple):
    """What ``lfs df`` says of an OST. ``capacity_bytes`` is what is used and available; 0 where that is not known."""

    used_bytes: int
    capacity_bytes: int
    gives: bool = True
    takes: bool = True


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration decides. Thresholds in per cent; a limit of 0 is none."""

    source_threshold: float
    target_threshold: float
    targets: frozenset[int]
    streams_per_source: int = 1
    streams_per_target: int = 1
    adapts: bool = False
    streams_max: int = 0


@dataclass(slots=True, eq=False)
class Ost:
    """One OST in one of its two roles. ``sign`` is 1 for a target, which fills up, and -1 for a source."""

    index: int
    sign: int
    threshold: float
    window: StreamWindow
    level: Level | None = None
    streams: int = 0
    under_way_bytes: int = 0
    # Moved since the level was asked for, and the part of that before it was asked for again.
    moved_bytes: int = 0
    moved_before_bytes: int = 0
    failures: int = 0
    waits: bool = True

    @property
    def expected_percent(self) -> float | None:
        """Its level when all that is on the way has arrived; None where it is not known."""
        level = self.level
        if level is None or level.capacity_bytes <= 0:
            return None
        change = self.sign * (self.under_way_bytes + self.moved_bytes)
        return 100 * (level.used_bytes + change) / level.capacity_bytes

    @property
    def permitted(self) -> bool:
        """Whether its level has it at work."""
        level, expected = self.level, self.expected_percent
        if level is None or expected is None:
            return False
        if self.sign > 0:
            return level.takes and expected < self.threshold and self.failures < FAILURES_MAX
        return level.gives and expected > self.threshold

    @property
    def through(self) -> bool:
        """Whether it has reached its threshold, by what ``lfs df`` said and nothing that is only expected."""
        level = self.level
        if level is None or level.capacity_bytes <= 0:
            return False
        return self.sign * (100 * level.used_bytes - self.threshold * level.capacity_bytes) >= 0

    @property
    def state(self) -> State:
        """See the module."""
        if not self.permitted:
            return State.PENDING_LOCK if self.streams else State.LOCKED
        return State.READY if self.streams < self.window.limit else State.BLOCKED


@dataclass(frozen=True, slots=True)
class Pair:
    """A move that is permitted now: ``charged_bytes`` is what is counted for it until its size is known."""

    source: int
    target: int
    charged_bytes: int


@dataclass(slots=True)
class _Ring:
    """OSTs that may be taken, the one that has waited longest first."""

    osts: dict[int, Ost] = field(default_factory=dict)

    def refresh(self, ost: Ost) -> None:
        """Its turn comes when it can be taken, at the end of the queue; it keeps its place while it waits."""
        if ost.waits and ost.state is State.READY:
            self.osts.setdefault(ost.index, ost)
        else:
            self.osts.pop(ost.index, None)

    def to_the_end(self, ost: Ost) -> None:
        """It was taken."""
        self.osts.pop(ost.index, None)
        self.refresh(ost)


class MigrationPlan:
    """See the module. ``sources`` are those that were spoken of, ``streams`` is how many moves are under way."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.sources: dict[int, Ost] = {}
        self.targets: dict[int, Ost] = {}
        self.streams = 0
        self._levels: Mapping[int, Level] = {}
        self._ready_sources = _Ring()
        self._ready_targets = _Ring()
        self._finished = 0
        self._finished_bytes = 0
        for index in sorted(rules.targets):
            self.targets[index] = Ost(index, 1, rules.target_threshold, self._target_window())

    def levels_asked(self) -> None:
        """``lfs df`` is called now: what ends from here on may be missing in its answer."""
        for ost in self._osts():
            ost.moved_before_bytes = ost.moved_bytes

    def set_levels(self, levels: Mapping[int, Level]) -> None:
        """The answer. An OST that it does not have is of unknown level."""
        self._levels = levels
        for ost in self._osts():
            ost.level = levels.get(ost.index)
            ost.moved_bytes -= ost.moved_before_bytes
            ost.moved_before_bytes = 0
            ost.failures = min(ost.failures, FAILURES_MAX - 1)
            self._refresh(ost)

    def set_waiting(self, source: int, waits: bool) -> None:
        """Whether paths of this source wait."""
        ost = self._source(source)
        ost.waits = waits
        self._ready_sources.refresh(ost)

    def next_pair(self, size_of: Callable[[int], int | None]) -> Pair | None:
        """The next move in turn, which has begun herewith; None where none is permitted.

        ``size_of`` is told a source, and tells how large its next file is, None where nobody knows.
        """
        if self.rules.streams_max and self.streams >= self.rules.streams_max:
            return None
        for source in self._ready_sources.osts.values():
            for target in self._ready_targets.osts.values():
                if source.index != target.index:
                    size = size_of(source.index)
                    pair = Pair(source.index, target.index, self._mean_bytes if size is None else size)
                    self.begin(pair)
                    return pair
        return None

    def begin(self, pair: Pair) -> None:
        """This move is under way: one that ``next_pair`` gave, or that a plan before this one had given."""
        for ost, ring in self._both(pair):
            ost.streams += 1
            ost.under_way_bytes += pair.charged_bytes
            ring.to_the_end(ost)
        self.streams += 1

    def finish(
        self, pair: Pair, left_bytes: int, arrived_bytes: int, seconds: float = 0.0, failed: bool = False
    ) -> None:
        """This move has ended: so many bytes are no longer on the source, so many are on the target."""
        self.streams -= 1
        if target := self.targets.get(pair.target):
            target.failures = target.failures + 1 if failed else 0
        for (ost, ring), moved_bytes in zip(self._both(pair), (left_bytes, arrived_bytes), strict=True):
            ost.streams -= 1
            ost.under_way_bytes -= pair.charged_bytes
            ost.moved_bytes += moved_bytes
            if arrived_bytes:
                ost.window.finished(seconds, arrived_bytes)
            ring.refresh(ost)
        if arrived_bytes:
            self._finished += 1
            self._finished_bytes += arrived_bytes

    def is_through(self, source: int) -> bool:
        """Whether its paths stay where they are: it has reached its threshold, or each target its own.

        An OST that is not available, or is in trouble, may come back.
        """
        ost = self.sources[source]
        return ost.through or all(target.through for target in self.targets.values() if target.index != source)

    @property
    def lacking(self) -> str:
        """Of what there is none that may work, "sources" or "targets", though paths wait; "" where all goes on."""
        waiting = [] if self.streams else [ost for ost in self.sources.values() if ost.waits]
        if not waiting:
            return ""
        if not any(ost.permitted for ost in waiting):
            return "sources"
        return "" if any(ost.permitted for ost in self.targets.values()) else "targets"

    def states(self, osts: Iterable[Ost]) -> dict[State, list[int]]:
        """The indices in each state."""
        found: dict[State, list[int]] = {state: [] for state in State}
        for ost in osts:
            found[ost.state].append(ost.index)
        return found

    @property
    def _mean_bytes(self) -> int:
        """What a file of unknown size is taken for."""
        return self._finished_bytes // self._finished if self._finished else 0

    def _osts(self) -> Iterable[Ost]:
        yield from self.sources.values()
        yield from self.targets.values()

    def _both(self, pair: Pair) -> tuple[tuple[Ost, _Ring], tuple[Ost, _Ring]]:
        target = self.targets.get(pair.target)
        if target is None:
            # Of a plan before this one, whose targets were others: it may end, and gets nothing more.
            target = self.targets[pair.target] = Ost(pair.target, 1, 0.0, StreamWindow.fixed(1))
        return (self._source(pair.source), self._ready_sources), (target, self._ready_targets)

    def _source(self, index: int) -> Ost:
        ost = self.sources.get(index)
        if ost is None:
            window = StreamWindow.fixed(self.rules.streams_per_source)
            ost = Ost(index, -1, self.rules.source_threshold, window, self._levels.get(index), waits=False)
            self.sources[index] = ost
        return ost

    def _refresh(self, ost: Ost) -> None:
        (self._ready_targets if ost.sign > 0 else self._ready_sources).refresh(ost)

    def _target_window(self) -> StreamWindow:
        make = StreamWindow.adaptive if self.rules.adapts else StreamWindow.fixed
        return make(self.rules.streams_per_target)
