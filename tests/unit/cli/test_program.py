"""The program as a whole: its verbs, its help, its errors, its manual, and what it costs to ask for them."""

import argparse
import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cyclone.cli import main, manual, parsing
from cyclone.cli.main import _run
from cyclone.errors import UsageError
from tests.support import parts

ROOT = Path(__file__).parents[3]
HEAVY = ("zmq", "apsw", "msgspec", "tqdm", "ClusterShell", "argcomplete", "cyclone.protocol.messages")


def test_given_the_table_of_verbs_then_each_has_a_command_line_and_a_function() -> None:
    program = parsing.parser()
    [verbs] = [action for action in program._actions if isinstance(action, argparse._SubParsersAction)]
    assert sorted(verbs.choices) == sorted(parsing.VERBS)
    for verb in parsing.VERBS.values():
        assert callable(parsing.function(verb.name)), verb
        assert getattr(importlib.import_module(verb.module), "add_parser", None), verb


def test_given_help_then_every_verb_stands_in_its_group_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        _run(["--help"])
    text = capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        _run(["help"])
    assert capsys.readouterr().out == text
    for name in parsing.VERBS:
        assert len(re.findall(rf"^  {name} +\S", text, re.MULTILINE)) == 1, name
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("verb", parsing.VERBS)
def test_given_a_verb_then_its_help_says_what_it_does_and_how_it_ends(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        _run([verb, "--help"])
    text = capsys.readouterr().out
    assert text.startswith(f"usage: cyclone {verb}")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("squeue", "jobs"),
        ("sbatch", "submit"),
        ("scancel", "cancel"),
        ("sinfo", "nodes"),
        ("kill", "cancel"),
        ("worker", "nodes"),
        ("jbos", "jobs"),
        ("resluts", "results"),
    ],
)
def test_given_a_verb_of_others_or_a_slip_then_ours_is_named(word: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"there is no verb '{word}': is `cyclone {meant}` meant"):
        _run([word, "5"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["jobs", "--stat", "x"], "is no state here"),
        (["jobs", "--nmae", "y"], "jobs does not take '--nmae': is --name meant"),
        (["jobs", "--xyzzy=y", "z"], "jobs does not take '--xyzzy': `cyclone jobs --help` lists"),
        (["namespaces", "set", "--wieght", "3"], "namespaces set does not take '--wieght': is --weight meant"),
        (["submit", "--cpus", "0", "job.py", "--foo"], "argument -c/--cpus: '0' is not a number of things"),
        (["status", "--jsno"], "status does not take '--jsno': is --json meant"),
        (["--profile", "admin", "pause", "night"], "^--profile belongs behind the verb: cyclone pause --profile ...$"),
        (["-f", "x.conf"], "^-f belongs behind the verb: cyclone VERB -f ...$"),
        (["--json=1", "xyzzy"], "^--json belongs behind the verb: cyclone VERB --json ...$"),
        (["status", "5"], "status does not take '5': `cyclone status --help` lists what it takes"),
    ],
)
def test_given_an_option_that_is_not_there_then_the_one_that_may_be_meant_is_named(words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _run(words)


def test_given_nothing_like_a_verb_then_help_is_named() -> None:
    with pytest.raises(UsageError, match="there is no verb 'xyzzy': `cyclone --help` lists them"):
        _run(["xyzzy"])
    with pytest.raises(UsageError, match="what is to be done\\? `cyclone --help` lists"):
        _run([])
    with pytest.raises(UsageError, match="required: ID; `cyclone show --help` lists"):
        _run(["show"])
    with pytest.raises(UsageError, match="expected one argument; `cyclone jobs --help` lists"):
        _run(["jobs", "-n"])


@pytest.mark.parametrize(
    ("words", "wants"),
    [
        (["submit", "--json", "--", "x"], True),
        (["submit", "--", "x", "--json"], False),
        (["submit", "job.py", "--json"], False),
        (["jobs", "--jsn", "--json"], True),
        (["submit", "--nmae", "--", "--json"], False),
        (["run", "--json", "--", "x"], True),
    ],
)
def test_given_json_behind_the_command_then_it_is_the_commands_own(words: list[str], wants: bool) -> None:
    assert main._wants_json(words) == wants


@pytest.mark.parametrize(
    ("redirection", "code", "says"),
    [
        (">/dev/full", 1, "cyclone: standard output cannot be written: No space left on device\n"),
        ("--help >/dev/full", 0, ""),
        (">&-", 0, ""),
        ("<&- 2>&- >&-", 0, ""),
    ],
)
def test_given_a_standard_stream_that_is_full_or_closed_then_it_is_said_in_a_line_or_does_not_matter(
    redirection: str, code: int, says: str
) -> None:
    command = ["sh", "-c", f'"$0" -c "from cyclone.cli.main import main; main()" completion bash {redirection}']
    done = subprocess.run([*command, sys.executable], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (code, says)


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["jobs", "5,"], 2, "UsageError"),
        (["jobs", "-o", "nothing"], 2, "UsageError"),
        (["jobs", "-n", "two words"], 2, "UsageError"),
        (["drain", "n[1-"], 2, "UsageError"),
        (["jobs", "-o", "{id}", "--profile", "nosuch"], 78, "ConfigError"),
        (["jobs", "--connect", "http://here"], 78, "ConfigError"),
        (["cancel"], 2, "UsageError"),
        (["jobs", "--connect", "tcp://127.0.0.1:1", "--connect-timeout", "50ms"], 69, "Unreachable"),
    ],
)
def test_given_a_mistake_then_the_exit_code_and_the_error_say_which(
    words: list[str], code: int, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for more in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["cyclone", *words, *more])
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert ended.value.code == code
        printed = capsys.readouterr()
        assert printed.out == ""
        if more:
            error = json.loads(printed.err)["error"]
            assert (error["exit_code"], error["type"]) == (code, kind)
        else:
            assert "cyclone: " in printed.err


@pytest.mark.parametrize("words", [[], ["jobs"]], ids=["program", "verb"])
def test_given_help_then_nothing_heavy_is_imported(words: list[str]) -> None:
    code = (
        "import sys; from cyclone.cli.main import _run\n"
        f"try: _run({[*words, '--help']!r})\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == "[]\n"


ENDLESS = """
import itertools
from cyclone.cli import connecting, main
from tests.support.client_double import ClientDouble, task
double = ClientDouble()
double.rows[5] = map(task, itertools.count())
connecting.client = lambda _, **__: double
main.main()
"""


@pytest.mark.parametrize("form", ["--json", "--parsable", "--no-header"])
def test_given_an_endless_list_when_nobody_reads_it_any_more_then_it_ends_without_a_word(form: str) -> None:
    command = [sys.executable, "-c", ENDLESS, "tasks", "5", form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(10) == 0


def commands_of(page: str) -> list[str]:
    """Our commands in the text of a page, up to a pipe or a redirection."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").replace(r"\|", "|")
    found = re.findall(r"(?:`[^`]*?\b|^    \$ )(cyclone [a-z][^`\n]*)", text, re.MULTILINE)
    return [re.split(r" [|>] |; ", command)[0] for command in dict.fromkeys(found) if "squeue" not in command]


@pytest.mark.parametrize("command", [*commands_of("coming-from.md"), *commands_of("jobs.md")])
def test_given_a_command_on_a_page_then_it_is_one(command: str) -> None:
    words = ["5" if word == "ID" else word for word in shlex.split(command)[1:]]
    args = parsing.parse(words)
    assert args.verb in parsing.VERBS


def test_given_the_reference_then_it_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == manual.markdown(parsing.parser()), "write it anew: cyclone manual --markdown > docs/commands.md"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("man")
    assert _run(["manual", str(folder)]) == 0
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_given_the_manual_then_there_is_a_page_for_each_verb_with_all_its_options(pages: dict[str, str]) -> None:
    assert sorted(pages) == sorted(["cyclone.1", *(f"cyclone-{verb}.1" for verb in parsing.VERBS)])
    for name in (r"\-\-before", r"\-\-namespace", r"\-\-connect", r"\-\-format"):
        assert rf"\fB{name}\fR" in pages["cyclone-jobs.1"]
    assert ".SH EXIT STATUS" in pages["cyclone-jobs.1"]
    assert r".BR cyclone\-jobs (1)" in pages["cyclone.1"]
    assert not any(line.startswith("'") for text in pages.values() for line in text.splitlines())


@pytest.mark.slow
def test_given_the_manual_then_groff_has_nothing_to_say_against_it(pages: dict[str, str]) -> None:
    done = subprocess.run(
        [parts.program("groff"), "-man", "-Tutf8", "-ww", "-z"],
        input="\n".join(pages.values()),
        capture_output=True,
        text=True,
        check=True,
        env=parts.environment(),
    )
    assert done.stderr == ""
