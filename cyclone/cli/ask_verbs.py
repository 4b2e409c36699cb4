"""The command lines of ``cyclone status``, ``cancel`` and ``drain``; ``cyclone.cli.ask`` has what they do."""

import argparse
from pathlib import Path

_TIMEOUT_MAX_S = 86400


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Their command lines."""
    asked = verbs.add_parser(
        "status", help="what a running master is doing", description="Print what a running master is doing."
    )
    asked.add_argument("--json", action="store_true", help="print one JSON object")
    asked.add_argument("--each", action="store_true", help="a line for each controller, also where there are many")
    cancelled = verbs.add_parser(
        "cancel",
        help="end tasks before their time",
        description="Cancel tasks: what waits ends at once; what runs gets SIGTERM, after a grace SIGKILL, and is "
        "cancelled when its controller says that it is gone. A task that completes before that is completed.",
    )
    cancelled.add_argument("ids", metavar="ID", nargs="?", help="a task id such as 17, or a range such as 17-42")
    cancelled.add_argument("--class", metavar="MODULE:CLASS", dest="task_class", help="only tasks of this class")
    cancelled.add_argument("--state", choices=("queued", "leased"), help="only those that wait, or that are at work")
    cancelled.add_argument("--all", action="store_true", help="every task that has no result")
    drained = verbs.add_parser(
        "drain",
        help="give controllers no new tasks",
        description="Give controllers no new tasks; what they run is finished, what they have not started goes "
        "elsewhere.",
    )
    drained.add_argument(
        "names",
        metavar="CONTROLLERS",
        help="their names, as `cyclone status` prints them: node7, node[001-176], node[1-9]!node3, @group",
    )
    drained.add_argument("--undo", action="store_true", help="give them tasks again")
    for verb in (asked, cancelled, drained):
        verb.epilog = "Exit codes: 0 done, 1 not granted, 69 no master answers, 78 bad arguments or keys."
        verb.add_argument("--connect", metavar="tcp://HOST:PORT", help="the master (default: $CYCLONE_SERVER, or here)")
        verb.add_argument("-f", "--config-file", metavar="CONF", type=Path, help="the master's configuration")
        verb.add_argument("--key-file", metavar="FILE", type=Path, help="our key, where the master wants one")
        verb.add_argument(
            "--timeout", metavar="SECONDS", type=_seconds, default=5.0, help="how long to wait (default: 5)"
        )
        verb.add_argument("--insecure", action="store_true", help="ask a master on another host without a key")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _TIMEOUT_MAX_S:
        raise argparse.ArgumentTypeError(f"{text}: expected seconds, more than 0 and at most {_TIMEOUT_MAX_S}")
    return seconds
