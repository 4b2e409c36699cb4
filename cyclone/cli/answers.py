"""How the answers of a master to what changes something are printed, and what exit code follows.

Owns that: granted is standard output and 0, not granted standard error and 1, with ``--json`` one value for all of it.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cyclone.cli import columns, common, output

if TYPE_CHECKING:
    from cyclone.protocol.client_messages import Answer

SCHEMA = "cyclone.answers/1"


def say(answers: "Sequence[tuple[str, Answer]]", args: argparse.Namespace) -> int:
    """Print answers, each about something that has a name or about all (""); the exit code.

    Those that say the same of several names share a line.
    """
    if args.json:
        found = [
            {"about": name, "granted": one.granted, "count": one.count, "text": one.text, "names": one.names}
            for name, one in answers
        ]
        output.print_json(SCHEMA, {"answers": found})
    elif len(answers) == 1:
        _, answer = answers[0]
        _print(_text(answer), answer.granted)
    else:
        for granted, names, text in _alike(answers):
            _print(f"{len(names)}: {_fold(names)}: {text}", granted)
    return common.EXIT_OK if all(answer.granted for _, answer in answers) else common.EXIT_FAILED


def _alike(answers: "Iterable[tuple[str, Answer]]") -> list[tuple[bool, list[str], str]]:
    alike: dict[tuple[bool, str], list[str]] = {}
    for name, answer in answers:
        text = _text(answer).removeprefix(f"{name} ").replace(repr(name), "that")
        alike.setdefault((answer.granted, text), []).append(name)
    return [(granted, names, text) for (granted, text), names in alike.items()]


def _text(answer: "Answer") -> str:
    return f"{answer.text} {_fold(answer.names)}" if answer.names else answer.text


def _fold(names: Sequence[str]) -> str:
    from cyclone.ranges import fold_nodes

    return fold_nodes(names)


def _print(text: str, granted: bool) -> None:
    print(columns.safe(text), file=sys.stdout if granted else sys.stderr)
