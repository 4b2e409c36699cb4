"""What verbs print of text that is not UTF-8, and what is in files that they write: any parser takes it."""

import io
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclone.cli import output
from cyclone.cli.main import _run
from cyclone.cli.submit_plan import COMMAND_CLASS
from cyclone.errors import ConfigError
from cyclone.values import encode
from tests.support.client_double import ClientDouble, client, job, task

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]
strict = msgspec.json.decode

ENTRY, ENTRY_FORM = "caf\udce9", {"base64": "Y2Fm6Q=="}
SAID = {"exit_code": 0, "stdout": "\udcff\0\n", "stderr": "said"}
SAID_FORM = SAID | {"stdout": {"base64": "/wAK"}}
LEFT = {"stdout": b"said\n", "log": b"", "error": b"caf\xe9", "output": b"\xff"}
LEFT_FORM = {"stdout": "said\n", "log": "", "error": ENTRY_FORM, "output": {"base64": "/w=="}}


@pytest.fixture
def looked_at(client: ClientDouble) -> ClientDouble:
    """A command that has printed bytes, a program that failed and left some, and a task with half a surrogate pair."""
    client.summaries = [job(5, task_class=COMMAND_CLASS, tasks={"completed": 2, "failed": 1})]
    client.rows[5] = [
        task(0, args=encode([ENTRY, 0]), value=encode(SAID)),
        task(1, "failed", args=encode([[ENTRY], 1]), printed=encode(LEFT)),
        task(2, args=encode([b"caf\xe9", 2]), value=encode(["a\ud800", "caf\xe9"])),
    ]
    return client


VALUES = [SAID_FORM, None, ["a\\ud800", "caf\xe9"]]
ENTRIES = [ENTRY_FORM, [ENTRY_FORM], ENTRY_FORM]
ARGS = [[one, number] for number, one in enumerate(ENTRIES)]


@pytest.mark.parametrize(
    ("words", "key", "fields"),
    [
        ("results 5 --json", "results", {"value": VALUES, "printed": [None, LEFT_FORM, None]}),
        ("results 5", "", {"value": VALUES, "printed": [None, LEFT_FORM, None]}),
        ("tasks 5 --args --values --json", "tasks", {"args": ARGS, "value": VALUES}),
        ("tasks 5 -o id,entry --json", "tasks", {"entry": ENTRIES}),
        ("show 5.0 --json", "task", {"entry": ENTRIES[:1], "args": ARGS[:1], "value": VALUES[:1]}),
    ],
)
def test_given_bytes_in_values_and_entries_then_any_parser_takes_what_verbs_print(
    words: str, key: str, fields: dict[str, list[Any]], looked_at: ClientDouble, capsys: Printed
) -> None:
    assert _run(words.split()) == 0
    printed = capsys.readouterr().out
    found = strict(printed)[key] if key else [strict(line) for line in printed.splitlines()]
    rows = found if isinstance(found, list) else [found]
    assert {name: [row[name] for row in rows] for name in fields} == fields


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("tasks 5.0 -o {entry}", '{"base64":"Y2Fm6Q=="}'),
        ("tasks 5.0 -o entry --parsable --no-header", '{"base64":"Y2Fm6Q=="}'),
        ("tasks 5.0 -o entry --no-header", r'"caf\\udce9"'),
        ("tasks 5.0 -o value --no-header", r'{"exit_code":0,"stdout":"\\udcff\u0000\n","stderr":"said"}'),
        (
            "results 5 --format {printed} --state failed",
            '{"stdout":"said\\n","log":"","error":' + '{"base64":"Y2Fm6Q=="}',
        ),
        ("show 5.0", r'entry    "caf\\udce9"'),
    ],
)
def test_given_bytes_then_scripts_get_the_same_and_people_see_text(
    words: str, line: str, looked_at: ClientDouble, capsys: Printed
) -> None:
    assert _run(words.split()) == 0
    assert any(found.strip().startswith(line) for found in capsys.readouterr().out.splitlines())


def test_given_an_export_then_its_lines_have_bytes_and_its_files_are_them(
    looked_at: ClientDouble, tmp_path: Path, capsys: Printed
) -> None:
    folder = tmp_path / "caf\udce9"
    for form in ("jsonl", "dir"):
        assert _run(["export", "5", str(folder), "--json", "--format", form]) == 0
    told = [strict(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["jobs"][0]["path"] for one in told] == [f"{tmp_path}/caf\\udce9/job-5{end}" for end in (".jsonl", "")]
    first, second, third = (strict(line) for line in (folder / "job-5.jsonl").read_bytes().splitlines())
    assert (first["input"], first["output"], first["log"]) == (ARGS[0], SAID_FORM["stdout"], "said")
    assert (second["input"], second["output"], second["log"]) == (ARGS[1], {"base64": "/w=="}, "")
    assert (third["input"], third["output"]) == (ARGS[2], VALUES[2])
    assert [(folder / "job-5" / str(n) / "output").read_bytes() for n in (0, 1)] == [b"\xff\0\n", b"\xff"]


def test_given_a_dry_run_of_file_names_then_any_parser_takes_it(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "names").write_bytes(b"caf\xe9\n")
    assert _run(["submit", "--dry-run", "--json", "--each-line", str(tmp_path / "names"), "--", "cat", "{}"]) == 0
    assert strict(capsys.readouterr().out)["first"][0]["entry"] == ENTRY_FORM


def test_given_entries_that_were_printed_when_they_are_read_then_they_are_the_same(
    looked_at: ClientDouble, tmp_path: Path, capsys: Printed
) -> None:
    _run(["tasks", "5", "-o", "entry", "--json"])
    entries = [one["entry"] for one in strict(capsys.readouterr().out)["tasks"]]
    (tmp_path / "entries").write_bytes(msgspec.json.encode(entries))
    assert _run(["submit", "--from-json", str(tmp_path / "entries"), "--", "cat", "{}"]) == 0
    [(_, _, packed, _)] = looked_at.asked
    assert packed[0] == encode([ENTRY, 0])
    assert packed[2] == encode([ENTRY, 2])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16"])
def test_given_a_standard_error_of_any_encoding_then_errors_and_notes_are_json(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(taken, encoding, "backslashreplace", write_through=True))
    text = "\xe9 \u20ac \U0001f300"
    output.say_error("cyclone", ConfigError(f"{text} caf\udce9: no such file"), 78, as_json=True)
    output.note(f"{text} \ud800", as_json=True)
    error, note = map(strict, taken.getvalue().decode(encoding).splitlines())
    assert error == {"error": {"exit_code": 78, "type": "ConfigError", "message": f"{text} caf\\udce9: no such file"}}
    assert note == {"note": f"{text} \\ud800"}


def test_given_a_task_file_of_any_name_then_its_check_is_json(tmp_path: Path, capsys: Printed) -> None:
    path = tmp_path / "caf\udce9.xml"
    path.write_text('<tasks><task name="wrong"><class module="tasks.benchmark" name="NapTask"/></task></tasks>')
    assert _run(["taskfile", "check", str(path), "--json"]) == 1
    row = strict(capsys.readouterr().out)
    assert (row["file"], row["task"]) == (f"{tmp_path}/caf\\udce9.xml", "wrong")
