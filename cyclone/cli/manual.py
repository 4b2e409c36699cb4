"""``cyclone manual``: manual pages and the reference of the verbs, from the same parsers as ``--help``.

Owns how these are written: roff for man(1), Markdown for docs/commands.md. Nothing is said here about a verb that its
parser does not say.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cyclone.cli import common, connecting, output, parsing
from cyclone.errors import CycloneError
from cyclone.version import __version__

_HELP = ("-h", "--help")


class _Page(NamedTuple):
    """A verb, or an action of one: how it is called, what it is about in a line, and its parser."""

    name: str
    summary: str
    parser: argparse.ArgumentParser

    @property
    def about(self) -> str:
        """What it does, in full."""
        return " ".join((self.parser.description or f"{self.summary[:1].upper()}{self.summary[1:]}.").split())

    @property
    def remark(self) -> str:
        """What is said at its end."""
        return " ".join((self.parser.epilog or "").split())


def manual(args: argparse.Namespace) -> int:
    """The verb; returns the exit code. Raises CycloneError where the folder cannot be written to."""
    program = parsing.parser()
    if args.markdown:
        output.write(markdown(program).rstrip("\n"))
        return common.EXIT_OK
    folder: Path = args.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages(program).items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CycloneError(f"{folder}: cannot be written to: {error.strerror}") from None
    output.note(f"{folder}: {len(parsing.VERBS) + 1} pages")
    return common.EXIT_OK


def pages(program: argparse.ArgumentParser) -> dict[str, str]:
    """The roff text of each manual page, by the name of its file."""
    verbs = list(_children(program, "cyclone"))
    found = {"cyclone.1": _overview(program, verbs)}
    for verb in verbs:
        found[f"{verb.name.replace(' ', '-')}.1"] = "\n".join([*_roff_page(verb), ""])
    return found


def markdown(program: argparse.ArgumentParser) -> str:
    """The reference of all verbs."""
    verbs = {page.name.split()[1]: page for page in _children(program, "cyclone")}
    shared = argparse.ArgumentParser(add_help=False)
    connecting.add_options(shared)
    lines = [
        "# Commands",
        "",
        "Made from the code by `cyclone manual --markdown`: do not edit. `cyclone VERB --help` says the same, "
        "`cyclone manual DIR` writes it as manual pages. [coming-from.md](coming-from.md) has the commands of others "
        "beside ours.",
        "",
        f"## {_sentence(connecting.TITLE)}",
        "",
        "All verbs that ask a master have these.",
    ]
    for _, actions in _groups(shared):
        lines += ["", *_table("option", actions, shared)]
    for name, group in parsing.GROUPS.items():
        lines += ["", f"## {_sentence(parsing.TITLES[name])}"]
        for verb in group:
            lines += _markdown_verb(verbs[verb.name], "###")
    return "\n".join([*lines, ""])


def _children(parser: argparse.ArgumentParser, name: str) -> Iterator[_Page]:
    """The verbs of the program, or the actions of a verb, in their order."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action._choices_actions:
                yield _Page(f"{name} {one.dest}", one.help or "", action.choices[one.dest])


def _groups(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Arguments and options, as --help groups them; "" for those that stand in no group of their own."""
    usual: list[argparse.Action] = []
    others: list[tuple[str, list[argparse.Action]]] = []
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if not isinstance(action, argparse._SubParsersAction) and tuple(action.option_strings) != _HELP
        ]
        if group in (parser._positionals, parser._optionals):
            usual += actions
        elif actions:
            others.append((group.title or "", actions))
    if usual:
        yield "", usual
    yield from others


def _called(action: argparse.Action) -> tuple[list[str], str]:
    """How an argument is written: its names (none for a positional one), and what stands for its value."""
    if action.nargs == 0:
        return list(action.option_strings), ""
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices is not None else ""
    metavar = action.metavar if isinstance(action.metavar, str) else choices or action.dest.upper()
    return list(action.option_strings), metavar if action.option_strings else _repeated(metavar, action.nargs)


def _repeated(name: str, nargs: int | str | None) -> str:
    forms = {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ...", argparse.REMAINDER: f"{name} ..."}
    return forms.get(str(nargs), name)


def _explained(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    return " ".join(((action.help or "") % {**vars(action), "prog": parser.prog}).split())


def _synopsis(page: _Page) -> list[str]:
    """The forms of a command line, without the names of options."""
    if page.parser.usage:
        return [line.strip() for line in (page.parser.usage % {"prog": page.name}).splitlines()]
    actions = [action for _, group in _groups(page.parser) for action in group]
    words = ["[OPTION ...]"] if any(action.option_strings for action in actions) else []
    words += [_called(action)[1] for action in actions if not action.option_strings]
    names = [child.name.rpartition(" ")[2] for child in _children(page.parser, page.name)]
    return [" ".join([page.name, *words]), *(f"{page.name} {name} ..." for name in names)]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


# roff


def _overview(program: argparse.ArgumentParser, verbs: Sequence[_Page]) -> str:
    by_name = {page.name.split()[1]: page for page in verbs}
    lines = [_heading("cyclone"), ".SH NAME", rf"cyclone \- {_roff(_lower(program.description or ''))}"]
    lines += [".SH SYNOPSIS", r".B cyclone", r".I VERB", "[OPTION ...]", ".SH DESCRIPTION"]
    lines += [_roff(" ".join((program.epilog or "").split())), ".SH VERBS"]
    for name, group in parsing.GROUPS.items():
        lines.append(f".SS {_roff(_sentence(parsing.TITLES[name]))}")
        for verb in group:
            lines += [".TP", rf".BR cyclone\-{verb.name} (1)", _roff(by_name[verb.name].summary)]
    return "\n".join([*lines, ""])


def _roff_page(page: _Page) -> Iterator[str]:
    name = page.name.replace(" ", "-")
    yield _heading(name)
    yield from (".SH NAME", rf"{_roff(name)} \- {_roff(page.summary)}", ".SH SYNOPSIS")
    for number, line in enumerate(_synopsis(page)):
        yield from ([".br"] if number else [])
        yield f".B {_roff(line)}"
    yield from (".SH DESCRIPTION", _roff(page.about))
    yield from _roff_options(page, ".SH OPTIONS")
    for child in _children(page.parser, page.name):
        yield f".SH {_roff(child.name.rpartition(' ')[2].upper())}"
        yield f".B {_roff(_synopsis(child)[0])}"
        yield from (".PP", _roff(child.about))
        yield from _roff_options(child, "")
        yield from ((".PP", _roff(child.remark)) if child.remark else ())
    yield from _roff_examples(parsing.examples(page.parser))
    if page.remark:
        title, text = _titled(page.remark)
        yield from (f".SH {title}", _roff(text))
    yield from (".SH SEE ALSO", r".BR cyclone (1)")


def _roff_options(page: _Page, heading: str) -> Iterator[str]:
    groups = list(_groups(page.parser))
    if groups and heading:
        yield heading
    for title, actions in groups:
        if title:
            yield f".SS {_roff(_sentence(title))}"
        for action in actions:
            names, value = _called(action)
            parts = [rf"\fB{_roff(name)}\fR" for name in names]
            yield ".TP"
            yield ", ".join(parts) + (rf" \fI{_roff(value)}\fR" if value and names else rf"\fI{_roff(value)}\fR")
            yield _roff(_explained(action, page.parser))


def _roff_examples(examples: Sequence[parsing.Example]) -> Iterator[str]:
    yield from ([".SH EXAMPLES"] if examples else [])
    for command, about in examples:
        # Not filled: a line that is broken would not be what is to be typed.
        yield from (".PP", ".nf", rf"\fB{_roff(command)}\fR", ".fi", ".RS 4", _roff(f"{_sentence(about)}."), ".RE")


def _heading(name: str) -> str:
    return f'.TH {_roff(name.upper())} 1 "" "Cyclone {__version__}" "Cyclone"'


def _titled(remark: str) -> tuple[str, str]:
    """The title of what is said at the end of a page."""
    start = "Exit codes: "
    return ("EXIT STATUS", _sentence(remark.removeprefix(start))) if remark.startswith(start) else ("NOTES", remark)


def _lower(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")


def _roff(text: str) -> str:
    """Text as roff prints it: no line of it is a request."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    return re.sub(r"^\.", r"\\&.", escaped).replace("^", r"\(ha").replace("~", r"\(ti")


# Markdown


def _markdown_verb(page: _Page, level: str) -> Iterator[str]:
    yield from ("", f"{level} {page.name}", "", _escaped(page.about), "")
    yield from (f"    {line}" for line in _synopsis(page))
    groups = list(_groups(page.parser))
    for title, actions in groups:
        if title != connecting.TITLE:
            yield from ("", *_table(title or "argument", actions, page.parser))
    if any(title == connecting.TITLE for title, _ in groups):
        yield from ("", f"And those of [{connecting.TITLE}](#{_anchor(connecting.TITLE)}).")
    if examples := parsing.own_examples(page.parser):
        yield from ("", "Examples:", "", *(f"    {line}" for line in parsing.example_lines(examples)))
    for child in _children(page.parser, page.name):
        yield from _markdown_verb(child, f"{level}#")
    if page.remark:
        yield from ("", _escaped(page.remark))


def _table(title: str, actions: Sequence[argparse.Action], parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (f"| {title} | |", "|---|---|")
    for action in actions:
        names, value = _called(action)
        written = ", ".join(f"`{name}`" for name in names) + (f" `{value}`" if value else "")
        yield f"| {_cell(written.strip())} | {_cell(_escaped(_explained(action, parser)))} |"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _escaped(text: str) -> str:
    """Text in which nothing but what stands in backquotes is meant for Markdown."""
    parts = text.split("`")
    return "`".join(part if number % 2 else re.sub(r"([*_<>\[\]])", r"\\\1", part) for number, part in enumerate(parts))
