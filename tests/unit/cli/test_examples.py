"""Examples of the verbs: there are some of each, their commands are taken as they stand, and all pages have them."""

import argparse
import itertools
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cyclone.cli import bench, common, keys, lustre, manual, parsing, run_command, selectors, submit, submit_values
from cyclone.cli.submit_plan import make_plan
from cyclone.client.connection import parse_address
from cyclone.config_check import ROLES, SCOPES
from cyclone.errors import CycloneError

PROGRAM = parsing.parser()
VERBS = {page.name: page.parser for page in manual._children(PROGRAM, "cyclone")}
EXAMPLES = [example for verb in VERBS.values() for example in parsing.examples(verb)]
# Indented in a manual page, they fit 80 columns.
CHARS_MAX = 71
OPERATORS = set("|&;<>")
PLACEHOLDER = re.compile(r"\{(?:|\d|index)\}")
FILES = {
    "files.txt": "a\nb\n",
    "hosts.txt": "node1\nnode2\n",
    "nightly.sh": "#!/bin/bash\n#CYCLONE -c 2 -t 1h\n",
    "checks.py": "from cyclone import BaseTask\n\n\nclass DiskCheck(BaseTask):\n"
    "    def __init__(self, path):\n        self.path = path\n",
}


def words_of(command: str) -> list[str]:
    """What the shell gives to our program: up to a pipe, a redirection or another command."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(itertools.takewhile(lambda word: not set(word) <= OPERATORS, lexer))


def _of_export(what: str) -> object:
    try:
        return selectors.jobs(what)
    except argparse.ArgumentTypeError:
        return submit_values.label(what)


def _keys(args: argparse.Namespace) -> None:
    common.names(getattr(args, "names", "any"))
    keys._endpoint(getattr(args, "address", None) or "here")


def _role(args: argparse.Namespace) -> None:
    assert args.role in (None, *(SCOPES if args.action == "check" else ROLES))


def _submitted(args: argparse.Namespace) -> None:
    assert list(make_plan(submit.asked_for(args)).tasks())


# What verbs look at only when they run.
LATER: dict[str, Callable[[argparse.Namespace], object]] = {
    "submit": _submitted,
    "run": lambda args: _submitted(args) if run_command.wants_command(args) else args.config_file or args.resume,
    "export": lambda args: _of_export(args.what),
    "keys": _keys,
    "config": _role,
    "lustre": lambda args: lustre._size(getattr(args, "rate", None) or "1", "--rate"),
    "bench": bench._plan,
}


def check(command: str) -> None:
    """Raises what our program would raise that is called so."""
    program, *words = words_of(command)
    assert program == "cyclone"
    args = parsing.parse(words)
    if later := LATER.get(args.verb):
        later(args)
    if connect := getattr(args, "connect", None):
        parse_address(connect)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the examples find what they name."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("CYCLONE_NAMESPACE", "CYCLONE_SERVER", "CYCLONE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    sys.modules.pop("checks", None)


@pytest.mark.parametrize("verb", parsing.VERBS)
def test_given_a_verb_then_it_has_examples_of_its_own(verb: str) -> None:
    commands = [words_of(example.command) for example in parsing.examples(VERBS[f"cyclone {verb}"])]
    assert commands
    assert [words[:2] for words in commands] == [["cyclone", verb]] * len(commands)


@pytest.mark.parametrize("command", [example.command for example in EXAMPLES])
def test_given_an_example_then_its_command_is_taken_as_it_stands(command: str, folder: Path) -> None:
    check(command)


@pytest.mark.parametrize(
    "command",
    [
        "cyclone jobs --nmae x",
        "cyclone jobs -o id,nothing | head",
        "cyclone jobs --since yesterdayish",
        "cyclone submit -t 1parsec -- true",
        "cyclone submit --array 9-1 -- true",
        "cyclone submit --each-line nothing.txt -- true",
        "cyclone submit --class checks:DiskCheck -p volume={} ::: /",
        "cyclone run --mem nothing -- true",
        "cyclone events --since 1fortnight > file",
        "cyclone export 'no such' out",
        "cyclone keys add 'node[1-' --role client",
        "cyclone keys init --address host:port",
        "cyclone lustre plan -f a.conf --rate fast",
        "cyclone bench --mode busy --limit",
        "cyclone status --connect http://head",
    ],
)
def test_given_a_command_that_is_none_then_the_check_finds_it(command: str, folder: Path) -> None:
    with pytest.raises((CycloneError, ValueError)):
        check(command)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.command)
def test_given_an_example_then_a_shell_and_a_reader_get_it_right(example: parsing.Example) -> None:
    command, about = example
    assert max(len(command), len(about)) <= CHARS_MAX
    assert not about.endswith(".")
    assert about[0] == about[0].lower()
    unquoted = PLACEHOLDER.sub("", re.sub(r"'[^']*'", "", command))
    # A name of nodes is a pattern of file names for a shell, and an error in some.
    assert not set('[]{}()$`\\"') & set(unquoted)


def test_given_examples_then_none_is_there_twice() -> None:
    commands = [example.command for example in EXAMPLES]
    assert sorted(set(commands)) == sorted(commands)


@pytest.mark.parametrize("words", [["jobs"], ["submit"], ["keys"], ["keys", "add"]])
def test_given_help_then_it_ends_with_the_examples(words: list[str]) -> None:
    program: argparse.ArgumentParser = PROGRAM
    for word in words:
        [actions] = [one for one in program._actions if isinstance(one, argparse._SubParsersAction)]
        program = actions.choices[word]
    lines = [line for command, about in parsing.examples(program) for line in (f"  {command}", f"      {about}")]
    assert lines
    assert program.format_help().endswith("\n".join(["", "", "examples:", *lines, ""]))


def test_given_the_manual_then_each_page_has_its_examples_before_its_end() -> None:
    pages = manual.pages(PROGRAM)
    for name, verb in VERBS.items():
        page = pages[f"{name.replace(' ', '-')}.1"]
        behind = page.partition("\n.SH EXAMPLES\n")[2]
        for command, about in parsing.examples(verb):
            shown = rf"\fB{manual._roff(command)}\fR"
            assert f".nf\n{shown}\n.fi\n.RS 4\n{manual._roff(manual._sentence(about))}.\n.RE\n" in behind
        assert "\n.SH OPTIONS" not in behind
        assert "\n.SH SEE ALSO" in behind
    assert ".SH EXIT STATUS" in pages["cyclone-jobs.1"].partition(".SH EXAMPLES")[2]


def test_given_the_reference_then_each_example_stands_once_under_its_own_heading() -> None:
    text = manual.markdown(PROGRAM)
    for command, about in EXAMPLES:
        assert text.count(f"\n    {command}\n        {about}\n") == 1
    section = text.partition("\n#### cyclone keys add\n")[2].partition("\n####")[0]
    assert "Examples:\n\n    cyclone keys add " in section
