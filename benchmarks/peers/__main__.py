"""``make bench-peers``: Cyclone beside what others use, alternately in one session.

    python -m benchmarks.peers [--only NAME ...] [--quick] [--json FILE] [--write docs/peers.md]

To be run in the sources' folder. Makes the peers' environment first; the report goes to standard output, progress to
standard error. That a peer fails or is ahead is a result: the exit code is 0.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import machine
from benchmarks.peers import report
from benchmarks.peers.catalogue import BUSY_TASKS, PEERS, ROUND_TRIPS, reduced
from benchmarks.peers.environment import Environment
from benchmarks.peers.session import ROOT, RunError, Session, cyclone_runs, peer_command
from cyclone import __version__

_TASKS = 1_000_000
_TASKS_QUICK = 50_000
_ROUNDS = 3
_TIMEOUT_S = 60.0


def main() -> None:
    args = _arguments()
    found = machine()
    peers = [peer for peer in PEERS if not args.only or peer.module in args.only]
    environment = Environment(args.environment, _say)
    environment.make()
    reasons = {peer: environment.install(peer) for peer in peers}
    missing = [(peer, reason) for peer, reason in reasons.items() if reason is not None]
    present = [peer for peer, reason in reasons.items() if reason is None]
    ours = cyclone_runs(_TASKS, ROUND_TRIPS, BUSY_TASKS)
    if args.quick:
        present, ours = list(reduced(present)), cyclone_runs(_TASKS_QUICK, 20, BUSY_TASKS // 20)
    session = Session(
        ours,
        lambda peer, case: peer_command(environment.python, peer, case),
        1 if args.quick else args.rounds,
        args.timeout,
        _say,
    )
    try:
        outcomes = session.measure(present)
    except RunError as error:
        raise SystemExit(f"bench-peers: a run of Cyclone failed: {error}") from error
    found |= {"cyclone": __version__, "rounds": 1 if args.quick else args.rounds}
    commands = [_shown(run.command) for run in ours]
    commands += [_shown(peer_command(environment.python, peer, case)) for peer in present for case in peer.cases]
    text = report.page(found, outcomes, missing, commands)
    print(text)
    if args.json:
        args.json.write_text(json.dumps(report.as_json(found, outcomes, missing), indent=1) + "\n", encoding="utf-8")
    if args.write:
        report.replace_measured(args.write, text)


def _arguments() -> argparse.Namespace:
    names = [peer.module for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Measure Cyclone beside others.")
    parser.add_argument("--only", action="append", choices=names, help="this peer; may be repeated")
    parser.add_argument("--quick", action="store_true", help="so little of each that the figures mean nothing")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"pairs of each case (default: {_ROUNDS})")
    parser.add_argument("--timeout", type=float, default=_TIMEOUT_S, help="seconds for one run of a peer (default: 60)")
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv-peers", help="where the peers are installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what each run reported")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the report into this page; of a full run only")
    args = parser.parse_args()
    if args.write and (args.quick or args.only):
        parser.error("--write is for a full run: leave out --quick and --only")
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least 1")
    return args


def _shown(command: Sequence[str]) -> str:
    """As a reader would type it in the sources' folder, with the environments where make has them."""
    programs = {"python": ".venv-peers/bin/python", "cyclone": ".venv/bin/cyclone"}
    return shlex.join([programs[Path(command[0]).name], *command[1:]])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
