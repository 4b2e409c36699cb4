"""What a migration has decided and what has come of it: moves to be yielded, under way, to be tried again, and counts.

Stands between the plan, which knows OSTs, and the input, which knows paths, and owns each path from where it is taken
until it has its outcome. ``cursor`` is all of that, small enough to be recorded with each batch of decisions;
``resume`` takes it up in a new process. Knows no clock and no task.

Decisions are for the generator alone to ask for; what ends is told by ``finish``, also for a move that the generator of
before had yielded and this one has yet to pass over.
"""

import heapq
import logging
import struct
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from cyclone.errors import ConfigError
from cyclone.lustre.failed_list import FailedList
from cyclone.lustre.input_folder import InputFolder
from cyclone.lustre.migration_input import BadRecord
from cyclone.lustre.migration_plan import MigrationPlan, Pair

log = logging.getLogger("cyclone.generator")

_VERSION = 1
# Place, source, target, tries before, charged KiB.
_MOVE = struct.Struct("<QHHBI")
# Place, source, tries, seconds until it is due.
_RETRY = struct.Struct("<QHBf")
_KIB = 1024
_KIB_MAX = (1 << 32) - 1
# Files in use that wait for another try. Beyond that the one that has waited longest is due at once.
RETRIES_MAX = 1024

Key = tuple[str, int, int]
"""By which the result of a move is known: path, source, target."""


class Move(NamedTuple):
    """A path on its way, tried so often before; ``decided_at`` is 0 for one that was decided before a crash."""

    place: int
    path: str
    pair: Pair
    tries: int
    decided_at: float = 0.0

    @property
    def key(self) -> Key:
        """See ``Key``."""
        return self.path, self.pair.source, self.pair.target


class Ended(NamedTuple):
    """What a task says of a move. ``moved_bytes`` left the source, ``arrived_bytes`` of them are on the target.

    ``busy`` when the file was in use, ``begun`` unless a pause came first.
    """

    outcome: str
    moved_bytes: int = 0
    arrived_bytes: int = 0
    seconds: float = 0.0
    busy: bool = False
    begun: bool = True


@dataclass(slots=True)
class Tally:
    """Paths by outcome, and what was moved. ``retried`` counts tries of files in use that were not the last."""

    success: int = 0
    displaced: int = 0
    failed: int = 0
    ignored: int = 0
    skipped: int = 0
    retried: int = 0
    moved_bytes: int = 0

    @property
    def ended(self) -> int:
        """Paths that have their outcome."""
        return self.success + self.displaced + self.failed + self.ignored + self.skipped


OUTCOMES = tuple(field.name.upper() for field in fields(Tally))[:5]


class _Head(NamedTuple):
    """The path of a source that is next."""

    place: int
    path: str
    size_bytes: int | None
    tries: int
    again: bool


class MigrationBook:
    """See the module. ``busy_delay_s`` and ``busy_tries`` say how files in use are tried again."""

    def __init__(
        self,
        run: str,
        plan: MigrationPlan,
        folder: InputFolder,
        failed: FailedList,
        busy_delay_s: float,
        busy_tries: int,
    ) -> None:
        self._run = run
        self._plan = plan
        self._folder = folder
        self._failed = failed
        self._busy_delay_s = busy_delay_s
        self._busy_tries = busy_tries
        self._heads: dict[int, _Head] = {}
        self._under_way: dict[Key, list[Move]] = {}
        # (when it is due, place, source, tries), the first one first.
        self._retries: list[tuple[float, int, int, int]] = []
        # (place, tries) of those that are due again, by source.
        self._due: dict[int, deque[tuple[int, int]]] = {}
        self.batch: deque[Move] = deque()
        self.tally = Tally()

    def begin(self) -> None:
        """A first start."""
        self._folder.begin(self._run)
        self._failed.begin()

    @property
    def under_way(self) -> int:
        """Moves that were decided and have not ended."""
        return self._plan.streams

    @property
    def retrying(self) -> int:
        """Files that are to be tried again: they were in use, or a pause came first."""
        return len(self._retries) + sum(map(len, self._due.values()))

    @property
    def next_retry_at(self) -> float | None:
        """When the next file in use is due."""
        return self._retries[0][0] if self._retries else None

    def waiting_sources(self) -> set[int]:
        """Those of which a path waits, also where it is to be tried again."""
        waiting = {source for source, count in self._folder.queues.sources().items() if count}
        return waiting.union(self._due, (source for _, _, source, _ in self._retries))

    def index(self, bytes_max: int) -> None:
        """Index about so much more of the input."""
        for source in self._folder.index(bytes_max):
            self._load(source)

    def decide(self, now: float, count_max: int) -> None:
        """Put the moves that are permitted now into the batch, at most so many."""
        self._wake(now)
        while len(self.batch) < count_max:
            pair = self._plan.next_pair(self._size_of_next)
            if pair is None:
                break
            head = self._heads[pair.source]
            move = Move(head.place, head.path, pair, head.tries, now)
            self._take(pair.source)
            self._under_way.setdefault(move.key, []).append(move)
            self.batch.append(move)

    def finish(self, key: Key, ended: Ended, now: float) -> Move | None:
        """A move has ended: which, None where there is none such."""
        moves = self._under_way.get(key)
        if not moves:
            return None
        move = moves.pop(0)
        if not moves:
            del self._under_way[key]
        # A file that is in use says nothing about the OST.
        failed = ended.outcome == "FAILED" and not ended.busy
        self._plan.finish(move.pair, ended.moved_bytes, ended.arrived_bytes, ended.seconds, failed)
        if not ended.begun:
            self._again(move.pair.source, move.place, move.tries)
            return move
        if ended.busy and move.tries + 1 < self._busy_tries:
            self.tally.retried += 1
            retry = (now + self._busy_delay_s, move.place, move.pair.source, move.tries + 1)
            heapq.heappush(self._retries, retry)
            if len(self._retries) > RETRIES_MAX:
                self._make_due()
            return move
        name = ended.outcome.lower()
        setattr(self.tally, name, getattr(self.tally, name) + 1)
        self.tally.moved_bytes += ended.moved_bytes
        if ended.outcome == "FAILED":
            self._failed.add(move.pair.source, move.path)
        self._folder.settled(move.place)
        return move

    def cursor(self, now: float) -> list[Any]:
        """All of it, as a msgpack value."""
        taken = self._folder.queues.taken()
        tally = [getattr(self.tally, field.name) for field in fields(Tally)]
        retries = [(place, source, tries, max(0.0, due - now)) for due, place, source, tries in self._retries]
        retries += [(place, source, tries, 0.0) for source, due in self._due.items() for place, tries in due]
        return [
            _VERSION,
            self._run,
            array("H", taken).tobytes(),
            array("Q", taken.values()).tobytes(),
            _packed(move for moves in self._under_way.values() for move in moves),
            _packed(self.batch),
            b"".join(_RETRY.pack(*retry) for retry in retries),
            tally,
            self._failed.size,
        ]

    def resume(self, cursor: list[Any], now: float) -> None:
        """Take up the state of a ``cursor``. Raises ConfigError, CycloneError."""
        if cursor[0] != _VERSION:
            raise ConfigError(f"this migration was begun by another version of Cyclone ({cursor[0]}): end it there")
        _, self._run, osts, counts, under_way, batch, retries, tally, failed_size = cursor
        self.tally = Tally(*tally)
        self._failed.resume(failed_size)
        self._folder.resume(self._run, dict(zip(array("H", osts), array("Q", counts), strict=True)))
        for place, source, tries, left_s in _RETRY.iter_unpack(retries):
            if left_s > 0:
                heapq.heappush(self._retries, (now + left_s, place, source, tries))
            else:
                self._due.setdefault(source, deque()).append((place, tries))
        for move in self._unpacked(under_way):
            self._under_way.setdefault(move.key, []).append(move)
            self._plan.begin(move.pair)
        self.batch.extend(self._unpacked(batch))
        places = [move.place for moves in self._under_way.values() for move in moves]
        places += [place for place, *_ in _RETRY.iter_unpack(retries)]
        self._folder.recall(places)
        for source in self._folder.queues.sources():
            self._load(source)

    def _unpacked(self, packed: bytes) -> Iterator[Move]:
        for place, source, target, tries, charged_kib in _MOVE.iter_unpack(packed):
            yield Move(place, self._folder.entry(place).path, Pair(source, target, charged_kib * _KIB), tries)

    def _size_of_next(self, source: int) -> int | None:
        return self._heads[source].size_bytes

    def _take(self, source: int) -> None:
        """The head of this source is on its way."""
        self._drop(source, self._heads.pop(source).again)
        self._load(source)

    def _drop(self, source: int, again: bool) -> None:
        """The first path of this source, of those that are due again or of the others, waits no longer."""
        if not again:
            self._folder.queues.take(source)
            return
        due = self._due[source]
        due.popleft()
        if not due:
            del self._due[source]

    def _load(self, source: int) -> None:
        """Have the next path of this source at hand, if there is one: a file in use that is due goes first."""
        if source in self._heads:
            return
        while (found := self._first(source)) is not None:
            place, tries, again = found
            try:
                entry = self._folder.entry(place)
                if entry.ost != source:
                    raise BadRecord(f"the path is of OST {entry.ost} now")
            except BadRecord as error:
                log.error("a path of OST %d is lost, its input file was changed: %s", source, error)
                self.tally.failed += 1
                self._drop(source, again)
                self._folder.settled(place)
            else:
                self._heads[source] = _Head(place, entry.path, entry.size_bytes, tries, again)
                break
        self._plan.set_waiting(source, source in self._heads)

    def _first(self, source: int) -> tuple[int, int, bool] | None:
        if source in self._due:
            return *self._due[source][0], True
        place = self._folder.queues.first(source)
        return None if place is None else (place, 0, False)

    def _wake(self, now: float) -> None:
        while self._retries and self._retries[0][0] <= now:
            self._make_due()

    def _make_due(self) -> None:
        _, place, source, tries = heapq.heappop(self._retries)
        self._again(source, place, tries)

    def _again(self, source: int, place: int, tries: int) -> None:
        self._due.setdefault(source, deque()).append((place, tries))
        self._load(source)


def _packed(moves: "Iterator[Move] | deque[Move]") -> bytes:
    return b"".join(
        _MOVE.pack(place, pair.source, pair.target, tries, min(pair.charged_bytes // _KIB, _KIB_MAX))
        for place, _, pair, tries, _ in moves
    )
