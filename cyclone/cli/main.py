"""``cyclone``: one program, a verb for each thing that people do. ``cyclone.cli.parsing`` has the table of them.

Owns what happens around a verb: completion, errors, a pipe that nobody reads any more.
"""

import itertools
import os
import sys
from collections.abc import Sequence

from cyclone.cli import common, output, parsing
from cyclone.errors import CycloneError, UsageError

_COMPLETING = "_ARGCOMPLETE"


def _run(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if _COMPLETING in os.environ:
        from cyclone.cli.completion import complete

        complete(parsing.parser())
    args = parsing.parse(words)
    code: int = parsing.function(args.verb)(args)
    return code


def _say(prog: str, error: CycloneError, exit_code: int) -> None:
    ours = itertools.takewhile(lambda word: word != "--", sys.argv[1:])
    as_json = "--json" in ours
    if isinstance(error, UsageError) and not as_json:
        sys.stderr.write(error.usage)
    output.say_error(prog, error, exit_code, as_json)


def main() -> None:
    """Entry point."""
    code = common.guarded("cyclone", _run, say=_say)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads it any more, as behind `| head`: Python would complain about what is left in its buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
