"""Leased tasks as a controller holds them: pieces of consecutive ids, queued in the order in which they came. PURE."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from cyclone.protocol import limits
from cyclone.protocol.messages import TaskRange
from cyclone.protocol.runs import Runs, job_at, merge_runs, slice_runs

NO_LIMITS: Mapping[int, float] = {}


class Piece:
    """Tasks ``first .. first+count-1`` of one lease; ``runs`` is their run-length column of jobs.

    ``limits_s`` are the time limits, by task id, of those that have one of their own, here or in a piece that this one
    was cut from.
    """

    __slots__ = ("_bytes", "args", "attempt", "epoch", "first", "limits_s", "runs")

    def __init__(
        self,
        first: int,
        epoch: int,
        attempt: int,
        runs: Runs,
        args: list[bytes],
        limits_s: Mapping[int, float] = NO_LIMITS,
    ) -> None:
        self.first = first
        self.epoch = epoch
        self.attempt = attempt
        self.runs = runs
        self.args = args
        self.limits_s = limits_s
        self._bytes: int | None = None

    def __len__(self) -> int:
        return len(self.args)

    def range(self, start: int, stop: int) -> TaskRange:
        """The ids of the rows from start up to stop."""
        return TaskRange(self.first + start, stop - start, self.epoch, self.attempt)

    def part(self, start: int, stop: int) -> "Piece":
        """A piece of the rows from start up to stop."""
        if start == 0 and stop == len(self.args):
            return self
        runs, args = slice_runs(self.runs, start, stop), self.args[start:stop]
        return Piece(self.first + start, self.epoch, self.attempt, runs, args, self.limits_s)

    def time_limits(self) -> list[tuple[int, float]]:
        """Row and time limit of each task here that has one of its own."""
        first, count = self.first, len(self.args)
        return [(at - first, limit_s) for at, limit_s in self.limits_s.items() if first <= at < first + count]

    def absorb(self, other: "Piece") -> bool:
        """Grow by a piece of the same attempt that goes on where this one ends; False if it does not."""
        follows = (self.first + len(self.args), self.epoch, self.attempt) == (other.first, other.epoch, other.attempt)
        if not follows or len(self.args) + len(other.args) > limits.TASKS_PER_BATCH_MAX:
            return False
        # A batch to a worker is never more than a piece, and has to fit a frame.
        both_bytes = self._size_bytes() + other._size_bytes()
        if both_bytes > limits.BATCH_BYTES_TARGET:
            return False
        self.runs = merge_runs(self.runs, other.runs)
        self.args = self.args + other.args
        if other.limits_s:
            self.limits_s = {**self.limits_s, **other.limits_s}
        self._bytes = both_bytes
        return True

    def _size_bytes(self) -> int:
        # Known once: many small leases may come to grow one piece, and each row is 20 ns.
        if self._bytes is None:
            self._bytes = sum(map(len, self.args))
        return self._bytes

    def job_at(self, row: int) -> int:
        """The job of a row."""
        return job_at(self.runs, row)


class WorkQueue:
    """Pieces that wait for a worker. ``len`` counts tasks."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._pieces)

    def append(self, piece: Piece) -> None:
        """Behind all others; joined to the last that it goes on from: small leases must not make small batches."""
        if not (self._pieces and self._pieces[-1].absorb(piece)):
            self._pieces.append(piece)
        self._count += len(piece)

    def prepend(self, piece: Piece) -> None:
        """In front: it was handed out and came back."""
        self._pieces.appendleft(piece)
        self._count += len(piece)

    def head(self) -> Piece:
        """The piece whose turn is next. IndexError when empty."""
        return self._pieces[0]

    def take(self, count: int) -> Piece:
        """Up to count tasks off the front, all of one piece."""
        piece = self._pieces.popleft()
        if count < len(piece):
            self._pieces.appendleft(piece.part(count, len(piece)))
            piece = piece.part(0, count)
        self._count -= len(piece)
        return piece

    def take_back(self, count: int) -> list[Piece]:
        """Up to count tasks off the end, where they would wait longest."""
        taken = []
        while count > 0 and self._pieces:
            piece = self._pieces.pop()
            if count < len(piece):
                cut = len(piece) - count
                self._pieces.append(piece.part(0, cut))
                piece = piece.part(cut, len(piece))
            count -= len(piece)
            self._count -= len(piece)
            taken.append(piece)
        return taken

    def discard(self, ranges: Iterable[TaskRange]) -> list[TaskRange]:
        """Forget what a master said is no longer ours; what of it was here."""
        unwanted = [(part.first, part.first + part.count, part.epoch, part.attempt) for part in ranges]
        kept: deque[Piece] = deque()
        gone: list[TaskRange] = []
        for piece in self._pieces:
            left = _without(piece, unwanted)
            if sum(map(len, left)) < len(piece):
                gone += _between(piece, left)
            kept.extend(left)
        self._pieces = kept
        self._count = sum(map(len, kept))
        return gone

    def clear(self) -> None:
        """Forget everything."""
        self._pieces.clear()
        self._count = 0


def _without(piece: Piece, unwanted: list[tuple[int, int, int, int]]) -> list[Piece]:
    parts = [piece]
    for first, end, epoch, attempt in unwanted:
        if (epoch, attempt) != (piece.epoch, piece.attempt):
            continue
        cut = []
        for part in parts:
            low, high = max(part.first, first), min(part.first + len(part), end)
            if low >= high:
                cut.append(part)
                continue
            if low > part.first:
                cut.append(part.part(0, low - part.first))
            if high < part.first + len(part):
                cut.append(part.part(high - part.first, len(part)))
        parts = cut
    return parts


def _between(piece: Piece, left: list[Piece]) -> list[TaskRange]:
    """What of a piece is not left."""
    gone = []
    at = piece.first
    for first, end in [(part.first, part.first + len(part)) for part in left] + [(piece.first + len(piece), 0)]:
        if at < first:
            gone.append(TaskRange(at, first - at, piece.epoch, piece.attempt))
        at = end
    return gone


def overlap(ranges: Iterable[TaskRange], part: TaskRange) -> bool:
    """Whether one of the ranges has a task of this one, in the same lease."""
    return any(
        (other.epoch, other.attempt) == (part.epoch, part.attempt)
        and other.first < part.first + part.count
        and part.first < other.first + other.count
        for other in ranges
    )


def coalesce(ranges: Iterable[TaskRange]) -> list[TaskRange]:
    """The same ids in as few ranges as possible, in id order."""
    merged: list[TaskRange] = []
    for part in sorted(ranges, key=lambda part: (part.epoch, part.attempt, part.first)):
        last = merged[-1] if merged else None
        same = last is not None and (last.epoch, last.attempt) == (part.epoch, part.attempt)
        if last and same and part.first <= last.first + last.count:
            count = max(last.count, part.first + part.count - last.first)
            merged[-1] = TaskRange(last.first, count, part.epoch, part.attempt)
        else:
            merged.append(part)
    return merged


class Pace:
    """Running means of how long tasks take, which size batches and credit. Seconds."""

    # How much one report of a worker moves a mean: a few reports are enough to follow a change.
    _WEIGHT = 0.3
    # A report counts for no more than so many times the mean: a single long task among short ones says little about the
    # next, and must not turn the batches of all others into single tasks.
    _OUTLIER_MEANS = 4.0

    def __init__(self) -> None:
        self.overall_s: float | None = None
        self._by_job: dict[int, float] = {}
        self._rows: dict[int | None, int] = {}

    def learn(self, runs: Runs, count: int, busy_s: float) -> None:
        """``count`` tasks of these runs took ``busy_s`` in all."""
        mean_s = max(busy_s / count, 1e-7)
        self.overall_s = self._mix(None, self.overall_s, mean_s, count)
        if len(runs) == 1:
            job = runs[0][0]
            self._by_job[job] = self._mix(job, self._by_job.get(job), mean_s, count)
        else:
            for job, _ in runs:
                self._by_job.setdefault(job, mean_s)

    def mean_s(self, job: int) -> float | None:
        """The mean of a job, None before its first result."""
        return self._by_job.get(job)

    def rows_within(self, piece: Piece, budget_s: float, rows_max: int) -> int:
        """How many tasks off the front of a piece take about that long: at least one, and one of an unknown job."""
        rows = 0
        for job, count in piece.runs:
            mean_s = self._by_job.get(job)
            if mean_s is None:
                return rows or 1
            fit = int(budget_s / mean_s)
            rows += min(fit, count)
            budget_s -= count * mean_s
            if fit < count or rows >= rows_max:
                break
        return max(1, min(rows, rows_max))

    def _mix(self, of: int | None, old: float | None, new: float, count: int) -> float:
        # A worker's first task pays for imports: it must not count for as much as the many that come next.
        rows = self._rows[of] = self._rows.get(of, 0) + count
        if old is None:
            return new
        return old + max(self._WEIGHT, count / rows) * (min(new, self._OUTLIER_MEANS * old) - old)
