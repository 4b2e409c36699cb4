"""``cyclone export``: what of a task is written in which form, and that whoever is interrupted goes on."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclone.cli import export as command
from cyclone.cli import export_files
from cyclone.cli.main import _run
from cyclone.errors import ConfigError, CycloneError, NoSuchJob, UsageError
from cyclone.json_values import text_of
from cyclone.protocol.job_messages import NamespaceSummary, TaskRow
from cyclone.protocol.job_spec import Namespace
from tests.support.client_double import ClientDouble, client, job, task

__all__ = ["client"]
Printed = pytest.CaptureFixture[str]
FORMATS = tuple(export_files.FORMATS)
OF_COMMAND = {"exit_code": 0, "stdout": "said\n", "stderr": "grumbled", "stdout_bytes": 5}


def of_command(index: int) -> TaskRow:
    return task(index, value=msgspec.msgpack.encode(OF_COMMAND), args=msgspec.msgpack.encode([f"in{index}"]))


@pytest.fixture
def server(client: ClientDouble) -> ClientDouble:
    client.summaries = [job(5, tasks={"completed": 2, "failed": 1}), job(6, namespace="night", tasks={"completed": 1})]
    client.rows = {5: [of_command(0), task(1, "failed"), task(2)], 6: [task(0)]}
    client.spaces = [NamespaceSummary(Namespace(name="night"), 0, {})]
    return client


def files(folder: Path, form: str, number: int = 5) -> dict[str, bytes]:
    """What is there of a job, by index and part."""
    if form == "dir":
        top = folder / f"job-{number}"
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
    if form == "tar":
        with tarfile.open(folder / f"job-{number}.tar") as archive:
            members = {member.name.split("/", 1)[1]: archive.extractfile(member) for member in archive}
            return {name: found.read() for name, found in members.items() if found}
    found = {}
    for line in (folder / f"job-{number}.jsonl").read_bytes().splitlines():
        parts = msgspec.json.decode(line)
        for name, content in parts.items():
            found[f"{parts['information']['index']}/{name}"] = export_files.file_bytes(text_of(content))
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_given_a_form_then_each_task_has_what_there_is_of_it(form: str, server: ClientDouble, tmp_path: Path) -> None:
    assert _run(["export", "5", str(tmp_path / "out"), "--format", form]) == 0
    found = files(tmp_path / "out", form)
    assert {name: content for name, content in found.items() if "information" not in name} == {
        "0/input": b'["in0"]\n',
        "0/output": b"said\n",
        "0/log": b"grumbled",
        "1/input": b"[1]\n",
        "1/error": b"ValueError: no\nmore of it",
        "2/input": b"[2]\n",
        "2/output": b"2\n",
    }
    told = json.loads(found["0/information"])
    assert (told["job"], told["index"], told["task_id"], told["state"], told["exit_code"]) == (
        5,
        0,
        1000,
        "completed",
        0,
    )
    assert (told["started"], told["finished"], told["node"]) == (
        "2023-11-14T22:13:21Z",
        "2023-11-14T22:13:21.500Z",
        "node1",
    )
    about = json.loads((tmp_path / "out" / "job-5.json").read_bytes())
    assert (about["schema"], about["count"], about["job"]["id"]) == ("cyclone.export/1", 3, 5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["job-5.json", f"job-5{export_files.FORMATS[form].suffix}"]
    )


LEFT = {"output": "in=one", "log": "a log line", "error": ""}
PRINTED = {"stdout": b"said\n", "stderr": b"\xffgrumbled"}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(
            {"value": OF_COMMAND | LEFT},
            {"output": b"in=one", "log": b"a log line"},
            id="a bundle's own files, not what it printed",
        ),
        pytest.param(
            {"value": OF_COMMAND | LEFT | {"output": None, "error": "careful"}},
            {"log": b"a log line", "error": b"careful"},
            id="a bundle's program that left no output and a warning",
        ),
        pytest.param(
            {"printed": PRINTED},
            {"output": b"said\n", "log": b"\xffgrumbled", "error": b"ValueError: no\nmore of it"},
            id="a command that failed",
        ),
        pytest.param(
            {"printed": PRINTED | {"log": b"why", "error": b"the reason"}},
            {"log": b"why", "error": b"ValueError: no\nmore of it"},
            id="a bundle's program that failed before its output was kept",
        ),
        pytest.param(
            {"printed": PRINTED | {"log": b"why", "error": b"the reason", "output": b"half\xff"}},
            {"output": b"half\xff", "log": b"why", "error": b"ValueError: no\nmore of it"},
            id="a bundle's program that failed",
        ),
    ],
)
def test_given_a_program_then_its_parts_are_what_it_left_or_printed(
    row: dict[str, Any], expected: dict[str, bytes], form: str, client: ClientDouble, tmp_path: Path
) -> None:
    fields = {name: msgspec.msgpack.encode(value) for name, value in row.items()}
    client.summaries = [job(5)]
    client.rows = {5: [task(0, "completed" if "value" in row else "failed", **fields)]}
    assert _run(["export", "5", str(tmp_path), "--format", form]) == 0
    found = {name.removeprefix("0/"): content for name, content in files(tmp_path, form).items()}
    assert {name: content for name, content in found.items() if name not in ("input", "information")} == expected


def test_given_a_million_tasks_then_they_are_one_file() -> None:
    assert all(issubclass(export_files.FORMATS[form], export_files._File) for form in ("jsonl", "tar"))


@pytest.mark.parametrize("form", FORMATS)
def test_given_an_export_that_is_interrupted_when_it_is_called_again_then_it_goes_on_and_nothing_is_twice(
    form: str, server: ClientDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [task(index) for index in range(9)]
    starts: list[int] = []

    def broken(job_id: int, *, start: int, **_: Any) -> Iterator[TaskRow]:
        starts.append(start)
        for row in rows[start:]:
            if row.index == 5 and len(starts) == 1:
                raise KeyboardInterrupt
            yield row

    server.tasks = broken  # type: ignore[assignment,method-assign]
    arguments = ["export", "5", str(tmp_path), "--format", form]
    with pytest.raises(KeyboardInterrupt):
        _run(arguments)
    assert not (tmp_path / "job-5.json").exists()
    if form != "dir":
        # As if it had been killed: more was written than was noted down.
        with (tmp_path / f"job-5{export_files.FORMATS[form].suffix}.part").open("ab") as part:
            part.write(b"half of a task")
    assert _run(arguments) == 0
    assert starts == [0, 5]
    interrupted = files(tmp_path, form)
    assert len([name for name in interrupted if name.endswith("/output")]) == 9
    whole = tmp_path / "whole"
    assert _run(["export", "5", str(whole), "--format", form]) == 0
    assert files(whole, form) == interrupted


def test_given_a_job_that_is_exported_then_it_is_left_alone_until_something_happens_to_it(
    server: ClientDouble, tmp_path: Path, capsys: Printed
) -> None:
    def export(*more: str) -> list[bool]:
        assert _run(["export", "5-6", str(tmp_path), "--json", *more]) == 0
        return [one["new"] for one in json.loads(capsys.readouterr().out)["jobs"]]

    assert export() == [True, True]
    assert export() == [False, False]
    server.summaries[0] = job(5, tasks={"completed": 1, "processed": 1, "failed": 1})
    assert export() == [False, True]
    assert export("--state", "failed") == [True, True]
    (tmp_path / "job-6.jsonl").unlink()
    assert export("--state", "failed") == [True, False]


def test_given_what_was_noted_for_another_export_then_it_begins_anew(server: ClientDouble, tmp_path: Path) -> None:
    (tmp_path / "job-5.progress").write_text('{"of": {"format": "tar"}, "next": 2, "position": 7, "count": 2}')
    (tmp_path / "job-5.jsonl.part").write_text("what it had")
    assert _run(["export", "5", str(tmp_path)]) == 0
    assert len((tmp_path / "job-5.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (["5"], [5]),
        (["5-6"], [6, 5]),
        (["last"], [6]),
        (["all"], [6, 5]),
        (["night"], [6]),
        (["all", "-n", "night"], [6]),
    ],
)
def test_given_jobs_or_a_namespace_then_those_are_exported(
    words: list[str], jobs: list[int], server: ClientDouble, tmp_path: Path, capsys: Printed
) -> None:
    assert _run(["export", words[0], str(tmp_path), *words[1:], "--json"]) == 0
    assert [one["job"] for one in json.loads(capsys.readouterr().out)["jobs"]] == jobs


def test_given_states_and_parts_then_only_those_are_written(server: ClientDouble, tmp_path: Path) -> None:
    assert _run(["export", "5", str(tmp_path), "-s", "bad", "--parts", "error"]) == 0
    assert (tmp_path / "job-5.jsonl").read_text() == '{"error":"ValueError: no\\nmore of it"}\n'


@pytest.mark.parametrize(
    ("words", "error", "reason"),
    [
        (["9"], NoSuchJob, "there is no job 9"),
        (["elsewhere"], CycloneError, "'elsewhere' is no namespace, and no selection of jobs"),
        (["night", "-n", "day"], ConfigError, "name one namespace"),
        (["5", "-s", "queued"], ConfigError, "queued has nothing to export yet"),
        (["5", "--parts", "inputs"], UsageError, "'inputs' is no part of a task"),
        (["5", "--parts", ","], UsageError, "',' is no part of a task"),
        (["5", "--format", "zip"], UsageError, "invalid choice"),
    ],
)
def test_given_what_cannot_be_exported_then_it_is_said(
    words: list[str], error: type[Exception], reason: str, server: ClientDouble, tmp_path: Path
) -> None:
    with pytest.raises(error, match=reason):
        _run(["export", words[0], str(tmp_path), *words[1:]])


def test_given_a_folder_that_cannot_be_written_then_it_is_named(server: ClientDouble, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CycloneError, match="file: "):
        _run(["export", "5", str(tmp_path / "file")])


def test_given_another_export_to_the_same_folder_then_it_is_refused(server: ClientDouble, tmp_path: Path) -> None:
    with command._folder(tmp_path), pytest.raises(CycloneError, match="another export is writing there"):
        _run(["export", "5", str(tmp_path)])
