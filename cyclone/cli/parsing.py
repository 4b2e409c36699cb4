"""The program ``cyclone`` as a tree of argparse: the table of its verbs, and how its help shows them.

Owns which verbs there are, in which group they stand, where their code is, and what an example of one is. A verb's
module has ``add_parser(verbs)``, which adds its command line and its examples, and its function takes what was parsed
and returns the exit code. Only the module of the verb that is called is imported; for ``--help``, completion and the
manual the modules of all verbs are, which must therefore import nothing heavy before their function runs.
"""

import argparse
import difflib
import importlib
import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from cyclone.cli import common, elsewhere
from cyclone.errors import UsageError

Verbs = Any
"""What ``add_parser`` of a module gets: the action of ``add_subparsers``."""


class Verb(NamedTuple):
    """``module`` has its command line, ``function`` ("module:name") what it does."""

    name: str
    module: str
    function: str


class Example(NamedTuple):
    """A line for a shell, whose first word is ``cyclone``, and what it does: without a capital and a full stop."""

    command: str
    about: str


def _verbs(module: str, *names: str, code: str = "") -> tuple[Verb, ...]:
    """Verbs of one module, whose functions are called like them."""
    code = f"cyclone.cli.{code or module}"
    return tuple(Verb(name, f"cyclone.cli.{module}", f"{code}:{name}") for name in names)


GROUPS: dict[str, tuple[Verb, ...]] = {
    "work": (
        *_verbs("submit_options", "submit", code="submit"),
        *_verbs("run_options", "run"),
        *_verbs("retry", "retry"),
    ),
    "look": (
        *_verbs("jobs", "jobs"),
        *_verbs("tasks", "tasks"),
        *_verbs("show", "show"),
        *_verbs("explain", "explain"),
        *_verbs("results", "results"),
        *_verbs("logs", "logs"),
        *_verbs("export", "export"),
        *_verbs("wait", "wait"),
        *_verbs("stats", "stats"),
        *_verbs("events", "events"),
        *_verbs("top", "top"),
    ),
    "steer": (*_verbs("cancel", "cancel"), *_verbs("control", "hold", "release", "seal", "requeue")),
    "cluster": (
        *_verbs("status", "status"),
        *_verbs("nodes", "nodes", "drain"),
        *_verbs("namespaces", "namespaces", "pause", "resume"),
        *_verbs("keys_options", "keys", code="keys"),
    ),
    "files": (
        *_verbs("journal", "journal"),
        *_verbs("config", "config"),
        *_verbs("taskfile", "taskfile"),
        *_verbs("lustre", "lustre"),
    ),
    "tools": (
        *_verbs("bench_options", "bench", code="bench"),
        *_verbs("completion", "completion"),
        *_verbs("manual_options", "manual", code="manual"),
    ),
}
TITLES = {
    "work": "submit and run",
    "look": "look at jobs and tasks",
    "steer": "steer jobs and tasks",
    "cluster": "the master and its nodes",
    "files": "journals, configuration, task files",
    "tools": "tools",
}
VERBS = {verb.name: verb for verbs in GROUPS.values() for verb in verbs}
# These change nothing, and have nothing to say that their output does not: it is enough when its reader says so.
LOOKING = {verb.name for verb in GROUPS["look"]} - {"export", "wait"} | {"status", "nodes"}

# From how much likeness on a word may be a slip of another: below it most guesses mislead.
_LIKENESS = 0.75
_INDENT = "  "
_NAME_WIDTH = 12
_TEXT_WIDTH = 100


class Parser(argparse.ArgumentParser):
    """Raises UsageError where argparse would end the process, so that errors have one way out. Its help ends with its
    examples, as the end is what a terminal shows.
    """

    examples: tuple[Example, ...] = ()

    def format_help(self) -> str:
        """argparse's, and the examples."""
        lines = [f"{_INDENT}{line}" for line in example_lines(examples(self))]
        return super().format_help() + ("\n".join(["", "examples:", *lines, ""]) if lines else "")

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(_hint(message, self.prog))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Raises UsageError, of an option that is not there where what follows it was taken for something else."""
        try:
            return super().parse_known_args(args, namespace)
        except UsageError:
            if strange := self._strange(args or ()):
                raise self.does_not_take([strange]) from None
            raise

    def does_not_take(self, unknown: Sequence[str]) -> UsageError:
        """The error about words that are no options of this verb."""
        hint = meant(unknown[0], self) or f"`{self.prog} --help` lists what it takes"
        return UsageError(f"{self.prog.removeprefix('cyclone ')} does not take {' '.join(unknown)!r}: {hint}")

    def _strange(self, words: Sequence[str]) -> str:
        """The first word that looks like an option and is none; '' where words of others may follow ours."""
        if any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in self._actions):
            return ""
        for word in itertools.takewhile(lambda word: word != "--", words):
            name = word.partition("=")[0] if word.startswith("--") else word[:2]
            is_option = len(name) > 1 and name[0] == "-" and not name[1].isdigit()
            if is_option and not any(one.startswith(name) for one in self._option_string_actions):
                return name
        return ""


class _Program(Parser):
    """The program itself: its help shows the verbs in their groups."""

    def format_help(self) -> str:
        """Not argparse's: forty verbs in one list are found by nobody."""
        actions = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        texts = {one.dest: one.help or "" for action in actions for one in action._choices_actions}
        lines = ["usage: cyclone VERB ...", "", self.description or ""]
        for name, group in GROUPS.items():
            lines += ["", f"{TITLES[name]}:"]
            for verb in group:
                text = textwrap.wrap(texts[verb.name], _TEXT_WIDTH, break_on_hyphens=False)
                lines += [f"{_INDENT}{verb.name:<{_NAME_WIDTH}}{text[0]}"]
                lines += [f"{_INDENT}{'':<{_NAME_WIDTH}}{more}" for more in text[1:]]
        return "\n".join([*lines, "", self.epilog or "", ""])


def parser(names: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The program's command line with these verbs, or with all."""
    program = _Program(
        prog="cyclone",
        description="Run very many tasks and lose none of them.",
        epilog="`cyclone VERB --help` explains each. Jobs are meant by 5, 1,3,5-8, last or all, a task by 5.17. The\n"
        "master is that of --connect, -f, $CYCLONE_SERVER or your profile, else the one on this host.\n"
        "Coming from hq, Slurm, GNU parallel, Dask or Celery? docs/coming-from.md has your command and ours.",
    )
    common.add_version(program)
    verbs = program.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=Parser)
    for module in dict.fromkeys(VERBS[name].module for name in names or VERBS):
        importlib.import_module(module).add_parser(verbs)
    return program


def add_examples(parser: argparse.ArgumentParser, *examples: tuple[str, str]) -> None:
    """Say how a verb, or an action of one, is used: a command and what it does, each as an Example has it."""
    assert isinstance(parser, Parser)
    parser.examples = tuple(itertools.starmap(Example, examples))


def own_examples(parser: argparse.ArgumentParser) -> tuple[Example, ...]:
    """Those of a verb or of an action, without those of a verb's actions."""
    return parser.examples if isinstance(parser, Parser) else ()


def examples(parser: argparse.ArgumentParser) -> list[Example]:
    """Those of a verb, and behind them those of its actions."""
    found = list(own_examples(parser))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [example for child in action.choices.values() for example in examples(child)]
    return found


def example_lines(examples: Iterable[Example]) -> Iterator[str]:
    """Examples as text: each command, and indented below it what it does."""
    for command, about in examples:
        yield from (command, f"{_INDENT * 2}{about}")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What a command line says. Raises UsageError."""
    first, second = [*words[:2], "", ""][:2]
    is_word = not first.startswith("-") or first in ("-", "--")
    if words and is_word and first not in VERBS:
        raise UsageError(f"there is no verb {first!r}: {_meant_verb(first, second)}")
    program = parser(called(words))
    option = words[0].partition("=")[0] if words and words[0].startswith("-") else ""
    if option and not any(one.startswith(option) for one in program._option_string_actions):
        verb = next((word for word in words if word in VERBS), "VERB")
        raise UsageError(f"{option} belongs behind the verb: cyclone {verb} {option} ...")
    try:
        args, unknown = program.parse_known_args(words)
    except UsageError:
        if hint := elsewhere.command(first, second):
            raise UsageError(f"{first} does not take {second!r}: {hint}") from None
        raise
    if unknown:
        raise _innermost(program, args).does_not_take(unknown)
    return args


def _innermost(program: argparse.ArgumentParser, args: argparse.Namespace) -> Parser:
    """The parser of the verb, or of its action, that a command line names."""
    for action in program._actions:
        if isinstance(action, argparse._SubParsersAction) and (chosen := getattr(args, action.dest)):
            return _innermost(action.choices[chosen], args)
    assert isinstance(program, Parser)
    return program


def meant(word: str, verb: argparse.ArgumentParser) -> str:
    """Which option may be meant by one that is not there; '' where none is like it."""
    if hint := elsewhere.hint(word, verb._option_string_actions):
        return hint
    # Without the dashes, in which all are alike.
    names = [option.removeprefix("--") for option in verb._option_string_actions if option.startswith("--")]
    near = difflib.get_close_matches(word.partition("=")[0].lstrip("-"), names, 1, _LIKENESS)
    return f"is --{near[0]} meant?" if near else ""


def _meant_verb(word: str, second: str) -> str:
    if hint := elsewhere.command(word, second):
        return hint
    near = difflib.get_close_matches(word, VERBS, 1, _LIKENESS)
    return f"is `cyclone {near[0]}` meant?" if near else "`cyclone --help` lists them"


def called(argv: Sequence[str]) -> list[str]:
    """The verb of a command line, where it is one that we know."""
    first = next((word for word in argv if not word.startswith("-")), "")
    return [first] if first in VERBS and argv[0] == first else []


def function(name: str) -> Any:
    """What a verb does: takes what was parsed, returns the exit code."""
    module, _, found = VERBS[name].function.partition(":")
    return getattr(importlib.import_module(module), found)


def _hint(message: str, prog: str) -> str:
    """argparse's words, with what would be right."""
    if message == "the following arguments are required: VERB":
        return "what is to be done? `cyclone --help` lists the verbs"
    is_ours = message.startswith("argument ") and ": expected " not in message
    return message if is_ours else f"{message}; `{prog} --help` lists what it takes"
