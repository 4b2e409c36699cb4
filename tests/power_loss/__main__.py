"""``python -m tests.power_loss --cuts 10000 --seed 7``: the whole proof, with the counts printed."""

import argparse
import sys
from collections import Counter

from tests.power_loss.proof import prove


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.power_loss", description=__doc__)
    parser.add_argument("--cuts", type=int, default=10_000, help="how often the power fails (default: 10000)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the run and the cuts (default: 1)")
    parser.add_argument("--turns", type=int, default=120, help="appends of the run (default: 120)")
    args = parser.parse_args()
    judged: Counter[str] = Counter()
    failed = 0
    for cut, problem in prove(args.cuts, args.seed, args.turns):
        judged[cut.fate] += 1
        if problem:
            failed += 1
            print(problem)
    fates = ", ".join(f"{count} {fate}" for fate, count in sorted(judged.items()))
    print(
        f"power loss: {judged.total()} cuts ({fates}), seed {args.seed}: {failed} lost something or left a bad journal"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
