"""The Executor beside the standard library's process pool and joblib, in one run on one machine, with two workers.

    python -m benchmarks.executor [--workers 2] [--items 100000] [--futures 20000] [--lazy 1000000]

Each does nothing, ``abs`` of a small number, so that what is measured is the way there and back. Every figure is the
best of three rounds, in which all take turns; a private cluster, its workers and the other pools are started, and have
done some work, before.
"""

import argparse
import collections
import concurrent.futures
import gc
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cyclone

_ROUNDS = 3
_TRIPS = 2000
_PAGE_BYTES = 4096
_MIB = 1 << 20


class Figure(NamedTuple):
    """A line of the table: ours beside another's, and what has to come out. ``unit`` of both."""

    name: str
    ours: float
    other: float | None
    unit: str
    must: str
    ok: bool

    def cells(self) -> tuple[str, ...]:
        """For the table."""
        ratio = f"{self.ours / self.other:.1f} x" if self.other else ""
        other = f"{self.other:,.0f}" if self.other else ""
        ours = f"{self.ours:,.0f}" if self.ours >= 100 else f"{self.ours:.2f}"
        return self.name, ours, other, self.unit, ratio, self.must, "yes" if self.ok else "NO"


def rate(count: int, work: Callable[[], object]) -> float:
    """So many a second."""
    gc.collect()
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def drain(iterator: Iterator[Any]) -> None:
    """To the end, without keeping anything."""
    collections.deque(iterator, maxlen=0)


def map_rate(pool: Executor, items: int) -> float:
    """Items a second, through ``map`` as it is."""
    return rate(items, lambda: drain(pool.map(abs, range(items))))


def submit_rate(pool: Executor, futures: int) -> float:
    """Futures a second, submitted one by one and waited for."""

    def work() -> None:
        made = [pool.submit(abs, number) for number in range(futures)]
        concurrent.futures.wait(made)

    return rate(futures, work)


def joblib_rate(workers: int, items: int) -> Callable[[], float] | None:
    """Items a second of joblib with its automatic batches; None where it is not installed."""
    try:
        import joblib
    except ModuleNotFoundError:
        return None
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
    call = joblib.delayed(abs)
    drain(parallel(call(number) for number in range(1000)))
    return lambda: rate(items, lambda: drain(parallel(call(number) for number in range(items))))


def round_trips_s(pool: Executor) -> list[float]:
    """How long ``submit().result()`` takes, one after the other."""
    took = []
    for number in range(_TRIPS):
        began = time.perf_counter()
        pool.submit(abs, number).result()
        took.append(time.perf_counter() - began)
    return sorted(took)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def growth_bytes(pool: cyclone.Executor, items: int) -> tuple[int, int]:
    """What the client and the master take more at the end of a lazy map than after a tenth of it."""
    pids = (os.getpid(), pool.cluster_pid)
    results = pool.map(abs, itertools.islice(itertools.count(), items))
    drain(itertools.islice(results, items // 10))
    before = [resident_bytes(pid) for pid in pids]
    drain(results)
    client, master = (resident_bytes(pid) - had for pid, had in zip(pids, before, strict=True))
    return client, master


def start_s(workers: int) -> float:
    """From nothing to the first result, and to the end."""
    began = time.perf_counter()
    with cyclone.Executor(workers=workers) as pool:
        pool.submit(abs, 1).result()
        return time.perf_counter() - began


def figures(args: argparse.Namespace) -> Iterator[Figure]:
    """All of them, as they are measured."""
    yield Figure("start, to the first result", start_s(args.workers), None, "s", "", ok=True)
    with cyclone.Executor(workers=args.workers) as ours, ProcessPoolExecutor(args.workers) as pool:
        for each in (ours, pool):
            drain(each.map(abs, range(2000)))
        joblib = joblib_rate(args.workers, args.items)
        maps, pools, joblibs = [], [], [0.0]
        for _ in range(_ROUNDS):
            maps.append(map_rate(ours, args.items))
            pools.append(map_rate(pool, args.items // 5))
            joblibs.append(joblib() if joblib else 0.0)
        best = max(maps)
        yield Figure(
            "map, against ProcessPoolExecutor", best, max(pools), "items/s", ">= 15 x", best >= 15 * max(pools)
        )
        if joblib:
            yield Figure("map, against joblib", best, max(joblibs), "items/s", ">= 0.3 x", best >= 0.3 * max(joblibs))
        submits = [(submit_rate(ours, args.futures), submit_rate(pool, args.futures)) for _ in range(_ROUNDS)]
        mine, other = (max(column) for column in zip(*submits, strict=True))
        yield Figure("submit one by one", mine, other, "futures/s", ">= 3 x", mine >= 3 * other)
        trips, others = round_trips_s(ours), round_trips_s(pool)
        p50, their_p50 = (statistics.median(times) * 1e6 for times in (trips, others))
        yield Figure("submit().result(), p50", p50, their_p50, "us", "< 1000", p50 < 1000)
        p99, their_p99 = (times[len(times) * 99 // 100] * 1e6 for times in (trips, others))
        yield Figure("submit().result(), p99", p99, their_p99, "us", "", ok=True)
        client, master = growth_bytes(ours, args.lazy)
        for name, grown in (("client", client), ("master", master)):
            text = f"{args.lazy:,} by a lazy map: the {name} grows by"
            yield Figure(text, grown / _MIB, None, "MiB", "< 16", grown < 16 * _MIB)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--futures", type=int, default=20_000)
    parser.add_argument("--lazy", type=int, default=1_000_000)
    found = list(figures(parser.parse_args()))
    rows = [("figure", "Cyclone", "other", "unit", "ratio", "must", "is"), *(figure.cells() for figure in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0 if all(figure.ok for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
