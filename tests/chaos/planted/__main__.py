"""``python -m tests.chaos.planted``: the checker is worth what it finds, so it must find each of the planted bugs.

Each bug gets a short run with the faults that bring it to light, a few seeds at most, and one run without any bug is
the proof that the same faults alone are no violation. Exit status 1 when a bug was not found.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.checker import VERDICT
from tests.chaos.cluster import ClusterOptions
from tests.chaos.plan import Plan
from tests.chaos.planted.bugs import BUGS
from tests.chaos.run import RunOptions, run

TRIES = 3
FAULTS_S = 8.0
FAULTS_PER_SECOND = 1.5
TASKS = {"mixed": 800, "dense": 6000}


def hunt(bug: str, faults: tuple[str, ...], pace: str, seed: int, tasks: int = 0) -> tuple[set[str], dict[str, object]]:
    """The invariants that a run with this bug violates, and its verdict."""
    plan = Plan(tasks or TASKS[pace], seed, pace)
    options = RunOptions(
        ClusterOptions(plan, controllers=2, workers=2, bug=bug),
        seed,
        FAULTS_S,
        FAULTS_PER_SECOND,
        weights=dict.fromkeys(faults, 1.0),
        stuck_after_s=15.0,
        quiet=True,
    )
    folder = Path(tempfile.mkdtemp(prefix=f"planted-{bug or 'none'}-"))
    run(folder, options)
    verdict = json.loads((folder / VERDICT).read_text())
    shutil.rmtree(folder)
    return set(verdict["violations"]), verdict


def found(bug: str) -> set[str]:
    """What gave it away; nothing when it was not found."""
    known = BUGS[bug]
    for seed in range(TRIES):
        violated, _ = hunt(bug, known.faults, known.pace, seed, known.tasks)
        if violated & set(known.invariants):
            return violated
    return set()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.planted", description=__doc__)
    parser.add_argument("bugs", nargs="*", choices=[[], *BUGS], help="only these (default: all)")
    parser.add_argument("--no-control", action="store_true", help="without the runs that have no bug")
    args = parser.parse_args()
    chosen = args.bugs or list(BUGS)
    missed = []
    if not args.no_control:
        for faults, pace in dict.fromkeys((BUGS[bug].faults, BUGS[bug].pace) for bug in chosen):
            violated, verdict = hunt("", faults, pace, 0)
            print(f"{'NOT CLEAN' if violated else 'clean':<10} no bug, {pace}, {', '.join(faults)}", flush=True)
            if violated:
                print(json.dumps(verdict["violations"], indent=1))
                missed.append("control")
    for bug in chosen:
        violated = found(bug)
        print(f"{'found' if violated else 'MISSED':<10} {bug}: {', '.join(sorted(violated))}", flush=True)
        if not violated:
            missed.append(bug)
    print(f"{len(chosen)} planted bugs, missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
