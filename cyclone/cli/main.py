"""``cyclone``: one program, a verb for each thing that people do. ``cyclone.cli.parsing`` has the table of them.

Owns what happens around a verb: completion, how errors are said, standard streams that are closed or cannot be written.
"""

import io
import itertools
import os
import sys
from collections.abc import Sequence
from typing import Any

from cyclone import standard_files
from cyclone.cli import common, output, parsing
from cyclone.errors import CycloneError, UsageError

_COMPLETING = "_ARGCOMPLETE"
_STDIN, _STDOUT, _STDERR = range(3)


def _run(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if _COMPLETING in os.environ:
        from cyclone.cli.completion import complete

        complete(parsing.parser())
    args = parsing.parse(words)
    try:
        code: int = parsing.function(args.verb)(args)
        sys.stdout.flush()
    except BrokenPipeError:
        if args.verb not in parsing.LOOKING:
            raise
        # Whoever reads has seen enough, as `head` has: a short list, which fits into the pipe, ends no other way.
        return common.EXIT_OK
    return code


def _say(prog: str, error: CycloneError, exit_code: int) -> None:
    output.say_error(prog, error, exit_code, _wants_json(sys.argv[1:]))


def _wants_json(words: Sequence[str]) -> bool:
    """Whether ``--json`` is ours, and no word of the command that is submitted."""
    try:
        return getattr(parsing.parse(words), "json", False)
    except UsageError:
        return "--json" in itertools.takewhile(lambda word: word != "--", words)


def main() -> None:
    """Entry point."""
    _open_streams()
    try:
        code = common.guarded("cyclone", _run, say=_say)
    finally:
        try:
            sys.stdout.flush()
        except (OSError, output.OutputLost):
            # Nobody takes it, as behind `| head`: Python would complain about what is left in its buffer.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


class _StandardOutput(io.FileIO):
    """Where it takes no more, as on a full disk, that is an error with a name, and no mistake of ours."""

    def write(self, data: Any, /) -> int:
        """Raises OutputLost, and BrokenPipeError where nobody reads it."""
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise output.OutputLost(f"standard output cannot be written: {error.strerror}") from None


def _open_streams() -> None:
    """Streams that were closed, as by `>&-`, are /dev/null."""
    standard_files.fill()
    sys.stdin = sys.stdin or os.fdopen(_STDIN)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w")
    told = sys.stdout
    if told is None or told is sys.__stdout__:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_StandardOutput(_STDOUT, "w", closefd=False)),
            encoding=told.encoding if told else None,
            errors=told.errors if told else None,
            line_buffering=os.isatty(_STDOUT),
        )
