"""``python -m tests.simulation --seeds N`` runs many seeds over processes; ``--seed n --verbose`` one, readable.

A seed is two worlds: one with faults, one without. Exit status 1 when a seed failed; each is printed with its replay.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.recovery import EXECUTED_AGAIN
from tests.simulation.seeds import corpus_seeds
from tests.simulation.world import SimulationFailure, World

CHUNK = 10
LINE_EVERY_S = 5.0


class Tally:
    """What came out of a number of seeds."""

    def __init__(self) -> None:
        self.seeds = 0
        self.cpu_s = 0.0
        self.events = 0
        self.tasks = 0
        self.doubles = 0
        self.adopted = 0
        self.loads = 0
        self.faults_min = 1 << 30
        self.faults: Counter[str] = Counter()
        self.failures: list[tuple[int, str]] = []

    def add(self, other: "Tally") -> None:
        """Sum up."""
        for name in ("seeds", "cpu_s", "events", "tasks", "doubles", "adopted", "loads"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults_min = min(self.faults_min, other.faults_min)
        self.faults += other.faults
        self.failures += other.failures


def run_seed(seed: int, *, verbose: bool = False) -> list[World]:
    """Both worlds of a seed. Raises SimulationFailure."""
    return [World(seed, faulty=faulty, verbose=verbose).run() for faulty in (True, False)]


def run_chunk(seeds: list[int]) -> Tally:
    """Some seeds in this process."""
    tally = Tally()
    for seed in seeds:
        begun = time.process_time()
        tally.seeds += 1
        try:
            worlds = run_seed(seed)
        except SimulationFailure as failure:
            tally.failures.append((seed, str(failure)))
            continue
        tally.cpu_s += time.process_time() - begun
        tally.events += sum(world.events for world in worlds)
        tally.tasks += sum(world.ledger.outputs.produced for world in worlds)
        tally.doubles += worlds[0].ledger.doubles
        tally.adopted += sum(world.ledger.recovery.adopted for world in worlds)
        tally.loads += sum(world.loads for world in worlds)
        tally.faults_min = min(tally.faults_min, worlds[0].faults.injected)
        tally.faults += worlds[0].counts
    return tally


def run_many(seeds: list[int], jobs: int) -> Tally:
    """All seeds, with a line about the progress now and then."""
    total, shown_at = Tally(), time.monotonic()
    for tally in _in_processes(seeds, jobs):
        total.add(tally)
        for seed, text in tally.failures:
            print(f"\nFAILED  make sim SEED={seed}\n{text}", flush=True)
        if time.monotonic() - shown_at > LINE_EVERY_S:
            shown_at = time.monotonic()
            cpu_s = total.cpu_s / max(1, total.seeds)
            print(f"{total.seeds}/{len(seeds)} seeds, {len(total.failures)} failed, {cpu_s:.3f} CPU s each", flush=True)
    return total


def _in_processes(seeds: list[int], jobs: int) -> Iterator[Tally]:
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    if jobs == 1:
        yield from map(run_chunk, chunks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run_chunk, chunks)


def report(total: Tally) -> None:
    """The counts."""
    done = max(1, total.seeds - len(total.failures))
    print("faults by kind:")
    for kind, count in total.faults.most_common():
        print(f"  {count:8} {kind}")
    print(
        f"{total.seeds} seeds, {len(total.failures)} failed; per seed {total.cpu_s / done:.3f} CPU s, "
        f"{total.events / done:.0f} events, {total.tasks / done:.0f} tasks, at least {total.faults_min} faults; "
        f"{total.doubles} second starts, all of them under faults"
    )
    again = sum(EXECUTED_AGAIN in text for _, text in total.failures)
    print(
        f"{total.adopted} leases adopted after a restart, {total.loads} blocks loaded; "
        f"executed again after a master crash while the controller lived and said hello in time: {again}"
    )
    if total.failures:
        print("failed; each again by:\n" + "\n".join(f"  make sim SEED={seed}" for seed, _ in total.failures))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default %(default)s)")
    parser.add_argument("--start", type=int, default=0, help="the first one (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default %(default)s)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--verbose", action="store_true", help="with --seed: every message and decision")
    options = parser.parse_args()
    if options.seed is not None:
        for world in run_seed(options.seed, verbose=options.verbose):
            name = "with faults" if world.faulty else "without faults"
            print(
                f"seed {options.seed} {name}: {world.events} events, trace {world.trace_hash:08x}, {dict(world.counts)}"
            )
        return 0
    seeds = list(dict.fromkeys([*corpus_seeds(), *range(options.start, options.start + options.seeds)]))
    total = run_many(seeds, options.jobs)
    report(total)
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
