"""BundleTask: a program out of an archive, and the files by which it talks."""

from pathlib import Path
from typing import Any

import pytest

from cyclone import BaseTask, values
from cyclone.bundles import BundleError
from cyclone.programs.command import OUTPUT_BYTES, CommandFailed, CommandNotExecutable, CommandNotFound
from cyclone.protocol.messages import OUTPUT_RECORD
from tasks.bundle import OUTPUT_BYTES_MAX, BundleTask, OutputUnusable
from tests.support.archives import Entry, make_zip
from tests.support.job_of import job_of

EXAMPLE = Path(__file__).parents[3] / "Configuration" / "examples" / "bundle"
RUN = b"""#!/bin/sh
cat input > output
echo logged > log
"""


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where bundles are kept."""
    folder = tmp_path / "store"
    monkeypatch.setenv("CYCLONE_BUNDLES", str(folder))
    return folder


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The task's folder."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(BaseTask.current, "scratch_dir", lambda: folder)
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> str:
    entries = [Entry("run", RUN, 0o755), Entry("bin/tool", b"#!/bin/sh\necho tool\n", 0o755), Entry("text", b"words")]
    return str(make_zip(tmp_path / "bundle.zip", *entries))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("entry", "output"),
    [
        ("a b\n", "a b\n"),
        (b"\xff\0", b"\xff\0"),
        ({"k": [1, None]}, '{"k":[1,null]}'),
        (None, ""),
        ("x" * 1_000_000, "x" * 1_000_000),
    ],
)
def test_given_an_entry_then_the_program_finds_it_as_input_and_its_output_is_the_value(
    archive: str, entry: Any, output: str | bytes
) -> None:
    value = job_of(BundleTask, archive, "", None)(entry)

    assert value == {
        "output": output,
        "log": "logged\n",
        "error": "",
        "log_truncated": False,
        "error_truncated": False,
        "exit_code": 0,
        "stdout": "",
        "stderr": "",
        "stdout_bytes": 0,
        "stderr_bytes": 0,
        "stdout_truncated": False,
        "stderr_truncated": False,
    }


@pytest.mark.parametrize(
    ("command", "stdout"),
    [
        (["bin/tool"], "tool\n"),
        ("run; cat output", "7"),
        (["cat", "{bundle}/text"], "words"),
        ("cat $CYCLONE_BUNDLE/text {bundle}/text", "wordswords"),
        (["sh", "-c", 'cat "$CYCLONE_INPUT"; echo " $CYCLONE_ENTRY"'], "7 7\n"),
        ("pwd", "SCRATCH\n"),
    ],
)
def test_given_a_command_then_it_finds_the_bundle_its_input_and_a_folder_of_its_own(
    archive: str, scratch: Path, command: Any, stdout: str
) -> None:
    assert job_of(BundleTask, archive, "", command)(7)["stdout"] == stdout.replace("SCRATCH", str(scratch))


def test_given_more_in_log_and_error_than_is_kept_then_the_beginning_is(archive: str) -> None:
    value = job_of(BundleTask, archive, "", "seq 1 100000 | tee log > error")(None)

    assert value["log"] == value["error"] == "".join(f"{n}\n" for n in range(1, 20_000))[:OUTPUT_BYTES]
    assert value["log_truncated"] and value["error_truncated"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo the reason > error; echo more >&2; exit 3", "exit code 3; its file 'error' ends with:\nthe reason$"),
        ("echo more >&2; exit 3", "exit code 3; standard error ends with:\nmore$"),
    ],
)
def test_given_another_exit_code_than_0_then_the_failure_has_what_the_program_says(
    archive: str, command: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[tuple[str, bytes]] = []
    monkeypatch.setattr(BaseTask.current, "records", records)

    with pytest.raises(CommandFailed, match=message):
        job_of(BundleTask, archive, "", command)(None)

    [(name, kept)] = records
    error = b"the reason\n" if "error" in command else b""
    assert name == OUTPUT_RECORD
    assert values.decode(kept) == {"stdout": b"", "stderr": b"more\n", "log": b"", "error": error}


@pytest.mark.parametrize(("words", "output"), [("one two  three\nfour", "4\n"), ("", None)])
def test_given_the_example_then_it_counts_words(tmp_path: Path, words: str, output: str | None) -> None:
    archive = make_zip(tmp_path / "words.zip", Entry("run", (EXAMPLE / "run").read_bytes(), 0o755))
    run = job_of(BundleTask, str(archive))

    if output is None:
        with pytest.raises(CommandFailed, match="'error' ends with:\nthere is no word in the input$"):
            run("", None, words)
    else:
        assert run("", None, words)["output"] == output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"head -c {OUTPUT_BYTES_MAX + 1} /dev/zero > output", "left more than 2097152 bytes in 'output'"),
        ("mkfifo output", "left as 'output' is no file"),
        ("mkdir error", "left as 'error' is no file"),
        ("ln -s /etc/passwd output", "left as 'output' cannot be read: Too many levels"),
    ],
)
def test_given_an_output_that_is_none_then_the_failure_says_so(archive: str, command: str, message: str) -> None:
    with pytest.raises(OutputUnusable, match=message):
        job_of(BundleTask, archive, "", command)(None)


@pytest.mark.parametrize(
    ("url", "sha256", "command", "kind", "message"),
    [
        ("/no/such.zip", "", ["run"], BundleError, "No such file"),
        ("BUNDLE", "0" * 64, ["run"], BundleError, "where 0{64} was expected"),
        ("http://127.0.0.1:1/a.zip", "", ["run"], BundleError, "its sha256 must be given"),
        ("BUNDLE", "", ["nothing"], CommandNotFound, "^nothing is a program neither of the bundle .*BUNDLE nor of"),
        ("BUNDLE", "", ["text"], CommandNotExecutable, "^text of the bundle .* is not executable"),
    ],
)
def test_given_what_cannot_even_start_then_set_up_fails_and_the_bundle_is_given_back(
    archive: str, store: Path, url: str, sha256: str, command: Any, kind: type[Exception], message: str
) -> None:
    before = descriptors()
    make = BundleTask.prepared((url.replace("BUNDLE", archive), sha256, command))

    with pytest.raises(kind, match=message.replace("BUNDLE", archive)):
        make(None).setup()

    assert descriptors() == before


def test_given_a_bundle_that_changes_then_the_next_task_of_the_job_runs_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    run = job_of(BundleTask, str(path), "", ["run"])
    outputs = []
    for word in ("old", "new"):
        make_zip(tmp_path / "next", Entry("run", f"#!/bin/sh\nprintf {word} > output\n".encode(), 0o755)).replace(path)
        outputs += [run(None)["output"], run(None)["output"]]

    assert outputs == ["old", "old", "new", "new"]


def test_given_a_task_by_itself_then_it_finds_its_bundle_too(archive: str) -> None:
    assert job_of(BundleTask)(archive, "", ["run"], "x")["output"] == "x"


@pytest.mark.parametrize("command", ["", []])
def test_given_an_empty_command_then_the_task_cannot_be_made(command: Any) -> None:
    with pytest.raises(ValueError, match="the command is empty"):
        BundleTask("/a.zip", "", command)
