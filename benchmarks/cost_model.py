"""The cost model of docs/scaling.md: what was measured, and what follows from it. Nothing here is measured anew.

    python -m benchmarks.cost_model                # the page's tables, in Markdown
    python -m benchmarks.cost_model --controllers 2000 --tasks-per-s 5000 --batch 64

The constants are of one machine, named in the page; ``make bench-scale``, ``make bench-growth`` and ``cyclone bench``
give yours. All else is arithmetic: shares of one core of the master, messages, bytes, descriptors, fsyncs. How long a
message waits for the master's loop is ``queueing.py``'s.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cyclone.master.leases.admission import Terms


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured. CPU of the master in us; ``loop`` is Python's thread, ``io`` ZeroMQ's, which may have its own core.

    ``turn``: a turn of the loop. ``heartbeat``: a State and its Pong. ``batch``: one Results with what follows from it,
    Recorded, Tasks, and what goes to and from the generator. ``task``: each task in it, in columns.
    """

    turn_loop_us: float = 12.0
    heartbeat_loop_us: float = 38.0
    heartbeat_io_us: float = 29.0
    batch_loop_us: float = 120.0
    batch_io_us: float = 45.0
    task_loop_us: float = 0.22
    journal_task_us: float = 0.2
    generator_task_us: float = 0.6
    controller_task_us: float = 0.25
    worker_task_us: float = 0.6
    # Memory of the master, and what a task is on the wire: its arguments and its result without what they hold.
    session_bytes: int = 31_000
    task_bytes: int = 25
    batch_bytes: int = 150
    heartbeat_bytes: int = 120


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is to be served: so many controllers, so many tasks a second, which travel in batches of this mean size."""

    controllers: int
    tasks_per_s: float
    batch: float
    terms: Terms = Terms("", 1.0, 15.0)

    @property
    def heartbeats_per_s(self) -> float:
        """Of all controllers together."""
        return self.controllers / self.terms.pace_s(self.controllers)

    @property
    def batches_per_s(self) -> float:
        """Messages with results."""
        return self.tasks_per_s / self.batch


@dataclass(frozen=True, slots=True)
class Load:
    """Of the master. Shares are of one core."""

    loop_share: float
    io_share: float
    heartbeat_share: float
    network_bytes_per_s: float
    memory_bytes: float
    descriptors: int


def load(cluster: Cluster, costs: Costs, journalled: bool = True) -> Load:
    """What the model predicts."""
    heartbeats, batches = cluster.heartbeats_per_s, cluster.batches_per_s
    task_us = costs.task_loop_us + (costs.journal_task_us if journalled else 0.0)
    # Each message has a turn of its own as long as there are few; many share one, and the model errs on the safe side.
    loop_us = heartbeats * (costs.turn_loop_us + costs.heartbeat_loop_us)
    loop_us += batches * (costs.turn_loop_us + costs.batch_loop_us) + cluster.tasks_per_s * task_us
    io_us = heartbeats * costs.heartbeat_io_us + batches * costs.batch_io_us
    heartbeat_us = heartbeats * (costs.turn_loop_us + costs.heartbeat_loop_us + costs.heartbeat_io_us)
    network = heartbeats * costs.heartbeat_bytes + batches * costs.batch_bytes + cluster.tasks_per_s * costs.task_bytes
    return Load(
        loop_us * 1e-6,
        io_us * 1e-6,
        heartbeat_us * 1e-6,
        network,
        50e6 + cluster.controllers * costs.session_bytes,
        cluster.controllers + 50,
    )


PAGE = (
    Cluster(176, 1_000_000, 4096),
    Cluster(176, 17.6, 1),
    Cluster(1_000, 1_000_000, 4096),
    Cluster(1_000, 100, 1),
    Cluster(10_000, 1_000, 1),
    Cluster(10_000, 10_000, 1),
    Cluster(10_000, 1_000_000, 1000),
)


def table(clusters: Sequence[Cluster], costs: Costs) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| controllers | tasks/s | a batch | heartbeats/s | heartbeats, core | loop, core | I/O, core | MB/s | RSS |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for cluster in clusters:
        found = load(cluster, costs)
        cells = [
            f"{cluster.controllers:,}",
            f"{cluster.tasks_per_s:,.0f}",
            f"{cluster.batch:,.0f}",
            f"{cluster.heartbeats_per_s:,.0f}",
            f"{found.heartbeat_share:.1%}",
            f"{found.loop_share:.0%}",
            f"{found.io_share:.0%}",
            f"{found.network_bytes_per_s / 1e6:.1f}",
            f"{found.memory_bytes / 2**20:.0f} MiB",
        ]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], prog="python -m benchmarks.cost_model")
    parser.add_argument("--controllers", type=int)
    parser.add_argument("--tasks-per-s", type=float, default=1000.0)
    parser.add_argument("--batch", type=float, default=1.0, help="tasks in a message (default: 1)")
    args = parser.parse_args()
    clusters = [Cluster(args.controllers, args.tasks_per_s, args.batch)] if args.controllers else PAGE
    print(*table(clusters, Costs()), sep="\n")


if __name__ == "__main__":
    main()
