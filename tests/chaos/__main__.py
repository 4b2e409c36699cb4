"""``python -m tests.chaos --minutes M --seed S``: a run of real processes under faults, and the verdict on it.

The folder of a run is kept when the verdict is not clean, or with ``--keep``. Exit status 1 when it is not clean; the
line that runs the same seed again is printed then.
"""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from cyclone import BaseTask
from tests.chaos.cluster import ClusterOptions
from tests.chaos.faults import WEIGHTS
from tests.chaos.plan import Plan
from tests.chaos.run import RunOptions, run

# So many tasks a second keep a machine with two cores busy for as long as the faults last.
TASKS_PER_SECOND = {"mixed": 60, "dense": 1500}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="of faults at most (default %(default)s)")
    parser.add_argument("--seed", type=int, help="of the faults and the tasks (default: a random one)")
    parser.add_argument("--tasks", type=int, help="how many (default: enough for the time)")
    parser.add_argument("--faults-per-second", type=float, default=5.0, help="on average (default %(default)s)")
    parser.add_argument("--pace", choices=sorted(TASKS_PER_SECOND), default="mixed", help="how long tasks take")
    parser.add_argument("--follow", action="store_true", help="every tenth result makes another task")
    parser.add_argument("--controllers", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="of each controller (default %(default)s)")
    parser.add_argument("--clients", type=int, default=2, help="that submit jobs all the time (default %(default)s)")
    parser.add_argument("--only", metavar="KIND,...", help=f"faults of these kinds only: {', '.join(WEIGHTS)}")
    parser.add_argument("--keys", action="store_true", help="encrypt; the witness on the wire sees nothing then")
    parser.add_argument("--bug", default="", help="plant this one, see tests/chaos/planted")
    parser.add_argument("--folder", type=Path, help="where the run's folder is made (default: for temporary files)")
    parser.add_argument("--keep", action="store_true", help="keep the run's folder in any case")
    args = parser.parse_args()
    unknown = set(args.only.split(",")) - set(WEIGHTS) if args.only else set()
    if unknown:
        parser.error(f"there is no fault {', '.join(sorted(unknown))}; there are {', '.join(WEIGHTS)}")
    return args


def main() -> int:
    """One run."""
    args = arguments()
    seed = random.randrange(1 << 31) if args.seed is None else args.seed
    tasks = args.tasks or max(1, int(args.minutes * 60 * TASKS_PER_SECOND[args.pace]))
    # Where a task class can be exclusive, some are.
    plan = Plan(tasks, seed, args.pace, args.follow, hasattr(BaseTask, "exclusive"))
    cluster = ClusterOptions(plan, args.controllers, args.workers, args.keys, args.bug, args.clients)
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-", dir=args.folder))
    print(f"seed {seed}: {tasks} tasks, {args.faults_per_second:g} faults a second, in {folder}", flush=True)
    weights = {kind: WEIGHTS[kind] for kind in args.only.split(",")} if args.only else WEIGHTS
    options = RunOptions(cluster, seed, args.minutes * 60, args.faults_per_second, weights=weights)
    counts, code = run(folder, options)
    print(f"{sum(counts.values())} faults over {tasks} tasks: {'clean' if code == 0 else 'NOT CLEAN'}")
    if code:
        print(f"kept {folder}; again by: python -m tests.chaos {' '.join(_again(sys.argv[1:], seed))}")
    elif args.keep:
        print(f"kept {folder}")
    else:
        shutil.rmtree(folder)
    return code


def _again(words: list[str], seed: int) -> list[str]:
    return words if "--seed" in words else [*words, "--seed", str(seed)]


if __name__ == "__main__":
    sys.exit(main())
