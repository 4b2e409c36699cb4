"""How good a schedule was: a run's results against the best one, and what a long task did to the short ones around it.

Owns the two figures of ``cyclone bench --mode mixed``; must not know how the run was made. All functions are pure. The
caller owes the results of all tasks, of workers whose clocks agree: those of one machine.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from cyclone.results import OpenBlock, RecordedBlock

# What runs ten times as long as the median is the long task among short ones.
_LONG_TIMES = 10.0


class Ran(NamedTuple):
    """One task of a run: how long it was meant to take, and when and where it ran. ``task_id`` is its turn."""

    task_id: int
    wanted_s: float
    started_s: float
    seconds: float
    worker: tuple[str, int]

    @property
    def finished_s(self) -> float:
        """When it ended."""
        return self.started_s + self.seconds


def ran(blocks: Iterable[RecordedBlock]) -> list[Ran]:
    """The tasks of recorded results, in first-come order. Their first property is a duration in milliseconds."""
    found = [
        Ran(
            result.task_id,
            result.args[0] / 1000,
            result.started,
            result.seconds,
            (result.controller, result.worker_pid),
        )
        for block in blocks
        for result in OpenBlock(block)
    ]
    return sorted(found)


def best_s(durations_s: Sequence[float], workers: int) -> float:
    """A time that no schedule can beat: the longest task, and the even share of all work.

    The bounds of R. L. Graham, Bounds on Multiprocessing Timing Anomalies (SIAM J. Appl. Math. 17, 1969). With a few
    hundred tasks they are nearly the optimum: longest first, a schedule that exists, comes within 0.01 % of them.
    """
    return max(max(durations_s), sum(durations_s) / workers)


def listed_s(durations_s: Iterable[float], workers: int) -> float:
    """The time of Graham's list schedule: each task in its turn, at once on the first free worker, at no cost.

    Who does not know how long the tasks are can do no better in this order. In longest-first order it is his LPT rule.
    """
    free_at = [0.0] * workers
    for seconds in durations_s:
        heapq.heapreplace(free_at, free_at[0] + seconds)
    return max(free_at)


def schedule(tasks: Sequence[Ran], workers: int, wall_s: float) -> dict[str, Any]:
    """The wall time of a run over that of the best schedule, and over that of the ideal first-come one."""
    durations_s = [task.wanted_s for task in tasks]
    best, listed = best_s(durations_s, workers), listed_s(durations_s, workers)
    return {
        "best_s": round(best, 4),
        "wall_s": round(wall_s, 4),
        "wall_over_best": round(wall_s / best, 4),
        "first_come_over_best": round(listed / best, 4),
        "wall_over_first_come": round(wall_s / listed, 4),
    }


def head_of_line(tasks: Sequence[Ran]) -> dict[str, Any]:
    """How much one long task has delayed any other: ``head_of_line_delay_ms``, the worst of all short tasks.

    A short task is delayed while it waits although a worker is there that could have run it: from the moment on at
    which a task that came later is started before it, or for as long as a worker has nothing to do. Its delay is the
    longer of the two, counted from the start of the long task, which can delay nobody before. It is the delay by the
    long task or by anything else: that of ordinary batching, which hands out tasks by the dozen and so starts the last
    of one worker's after the first of another's, is in it, and shown by itself as ``batching_delay_ms``, the worst of
    the tasks that were over when the long one began.
    """
    median_s = sorted(task.wanted_s for task in tasks)[len(tasks) // 2]
    long = max(tasks, key=lambda task: task.wanted_s)
    if long.wanted_s < _LONG_TIMES * median_s:
        raise ValueError(f"no long task among these: the longest has {long.wanted_s} s, the median {median_s} s")
    # The first start of any task that came later, for each.
    overtaken_s = list(accumulate((task.started_s for task in reversed(tasks)), min))[::-1][1:] + [float("inf")]
    gaps = _Gaps(tasks, long.started_s)
    delays_s, before_s = [0.0], [0.0]
    for task, later_s in zip(tasks, overtaken_s, strict=True):
        if task is long:
            continue
        if task.started_s >= long.started_s:
            delays_s.append(max(task.started_s - max(later_s, long.started_s), gaps.longest_before(task.started_s)))
        elif task.finished_s <= long.started_s:
            before_s.append(task.started_s - later_s)
    delays_s.sort()
    return {
        "head_of_line_delay_ms": round(delays_s[-1] * 1000, 3),
        "head_of_line_delay_p99_ms": round(delays_s[int(len(delays_s) * 0.99)] * 1000, 3),
        "batching_delay_ms": round(max(before_s) * 1000, 3),
        "short_after_long": len(delays_s) - 1,
    }


class _Gaps:
    """When workers had nothing to do, from a moment on."""

    def __init__(self, tasks: Sequence[Ran], from_s: float) -> None:
        by_worker: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for task in tasks:
            by_worker.setdefault(task.worker, []).append((task.started_s, task.finished_s))
        self._of: list[tuple[list[float], list[float], list[float]]] = []
        for spans in by_worker.values():
            spans.sort()
            begins = [max(from_s, end) for _, end in spans]
            ends = [start for start, _ in spans[1:]] + [float("inf")]
            widest = list(accumulate((end - begin for begin, end in zip(begins, ends, strict=True)), max))
            self._of.append((begins, ends, widest))

    def longest_before(self, moment_s: float) -> float:
        """The longest time that one worker had nothing to do, as far as it lies before this moment."""
        longest = 0.0
        for begins, ends, widest in self._of:
            # Gaps that are over by then, and the one that is not.
            over = bisect_left(ends, moment_s)
            whole = widest[over - 1] if over else 0.0
            part = moment_s - begins[over] if over < len(begins) else 0.0
            longest = max(longest, whole, part)
        return longest
