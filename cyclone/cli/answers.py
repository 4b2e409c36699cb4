"""How the answers of a master to what changes something are printed, and what exit code follows.

Owns that: what is granted is standard output, with ``--json`` one value for all of it; what is not is an error like any
other, on standard error, and with ``--json`` an object for each. Where something was refused, the exit code is that of
the refusals, and where they differ the general one.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cyclone.cli import columns, common, output
from cyclone.errors import CycloneError, NotAllowed, NotGranted

if TYPE_CHECKING:
    from cyclone.protocol.client_messages import Answer

SCHEMA = "cyclone.answers/1"
_PROGRAM = "cyclone"


def say(answers: "Sequence[tuple[str, Answer]]", args: argparse.Namespace) -> int:
    """Print answers, each about something that has a name or about all (""); the exit code.

    Those that say the same of several names share a line. Raises NotAllowed or NotGranted where the only one is a
    refusal.
    """
    if len(answers) == 1 and not answers[0][1].granted:
        raise refusal(answers[0][1], _text(answers[0][1]))
    granted = [(name, one) for name, one in answers if one.granted]
    refused = [(name, one) for name, one in answers if not one.granted]
    if args.json:
        _print_json(granted, refused)
    elif len(answers) == 1:
        output.write(columns.safe(_text(answers[0][1])))
    else:
        for line in _lines(granted):
            output.write(columns.safe(line))
        sys.stdout.flush()
        for line in _lines(refused):
            output.note(f"{_PROGRAM}: {line}")
    codes = {common.exit_code(refusal(one, "")) for _, one in refused}
    return codes.pop() if len(codes) == 1 else common.EXIT_FAILED if codes else common.EXIT_OK


def _print_json(granted: "list[tuple[str, Answer]]", refused: "list[tuple[str, Answer]]") -> None:
    if granted or not refused:
        found = [
            {"about": name, "granted": True, "count": one.count, "text": one.text, "names": one.names}
            for name, one in granted
        ]
        output.print_json(SCHEMA, {"answers": found})
    for name, one in refused:
        error = refusal(one, f"{name}: {_text(one)}")
        output.say_error(_PROGRAM, error, common.exit_code(error), as_json=True)


def refusal(answer: "Answer", text: str) -> CycloneError:
    """The error that an answer is which is not granted."""
    from cyclone.protocol.job_messages import NOT_ALLOWED

    return NotAllowed(text) if answer.code == NOT_ALLOWED else NotGranted(text)


def _lines(answers: "Iterable[tuple[str, Answer]]") -> list[str]:
    """A line for those that say the same."""
    alike: dict[str, list[str]] = {}
    for name, answer in answers:
        text = _text(answer).removeprefix(f"{name} ").replace(repr(name), "that")
        alike.setdefault(text, []).append(name)
    return [f"{len(names)}: {_fold(names)}: {text}" for text, names in alike.items()]


def _text(answer: "Answer") -> str:
    return f"{answer.text} {_fold(answer.names)}" if answer.names else answer.text


def _fold(names: Sequence[str]) -> str:
    from cyclone.ranges import fold_nodes

    return fold_nodes(names)
