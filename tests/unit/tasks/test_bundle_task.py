"""BundleTask: a program out of an archive, and the files by which it talks."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from cyclone import BaseTask, values
from cyclone.bundles import BundleError
from cyclone.programs.command import OUTPUT_BYTES, CommandFailed, CommandNotExecutable, CommandNotFound
from cyclone.protocol.limits import RECORDS_BYTES_MAX
from cyclone.protocol.messages import OUTPUT_RECORD
from tasks.bundle import FAILED_OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX, BundleTask, OutputUnusable
from tests.support.archives import Entry, make_zip
from tests.support.job_of import job_of
from tests.support.web import serving

UP = "/".join([".."] * 40)
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
        (["/bin/echo", "absolute"], "absolute\n"),
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


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """What the task has recorded."""
    found: list[tuple[str, bytes]] = []
    monkeypatch.setattr(BaseTask.current, "records", found)
    return found


@pytest.mark.parametrize(
    ("command", "message", "left"),
    [
        (
            "echo half > output; echo the reason > error; echo more >&2; exit 3",
            "exit code 3; its file 'error' ends with:\nthe reason$",
            {"output": b"half\n", "error": b"the reason\n"},
        ),
        ("echo more >&2; exit 3", "exit code 3; standard error ends with:\nmore$", {}),
        ("echo why > log; mkfifo output; echo more >&2; exit 3", "exit code 3; standard error", {"log": b"why\n"}),
    ],
)
def test_given_another_exit_code_than_0_then_the_failure_has_what_the_program_says_and_leaves(
    archive: str, command: str, message: str, left: dict[str, bytes], records: list[tuple[str, bytes]]
) -> None:
    with pytest.raises(CommandFailed, match=message):
        job_of(BundleTask, archive, "", command)(None)

    [(name, kept)] = records
    assert name == OUTPUT_RECORD
    nothing = {"log": b"", "error": b"", "output": b""}
    assert values.decode(kept) == {"stdout": b"", "stderr": b"more\n", **nothing, **left}


def test_given_a_failure_that_leaves_much_then_the_beginning_of_each_file_is_kept(
    archive: str, records: list[tuple[str, bytes]]
) -> None:
    with pytest.raises(CommandFailed):
        job_of(BundleTask, archive, "", "head -c 3000000 /dev/zero | tee output log > error; exit 1")(None)

    [(_, kept)] = records
    fields = values.decode(kept)
    assert {name: len(fields[name]) for name in ("output", "log", "error")} == {
        "output": FAILED_OUTPUT_BYTES_MAX,
        "log": OUTPUT_BYTES,
        "error": OUTPUT_BYTES,
    }
    for name in ("output", "log", "error"):
        assert (fields[f"{name}_truncated"], fields[f"{name}_bytes"]) == (True, 3_000_000)


def test_given_the_most_that_is_kept_of_a_failure_then_it_fits_what_a_task_may_record() -> None:
    kept = dict.fromkeys(("stdout", "stderr", "log", "error"), bytes(OUTPUT_BYTES)) | {
        "output": bytes(FAILED_OUTPUT_BYTES_MAX)
    }
    lengths = {f"{name}_bytes": 1 << 62 for name in kept} | {f"{name}_truncated": True for name in kept}
    assert len(OUTPUT_RECORD) + len(values.encode(kept | lengths)) <= RECORDS_BYTES_MAX


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
def test_given_an_output_that_is_none_then_the_failure_says_so_and_the_rest_is_kept(
    archive: str, command: str, message: str, records: list[tuple[str, bytes]]
) -> None:
    with pytest.raises(OutputUnusable, match=message):
        job_of(BundleTask, archive, "", f"echo why > log; {command}")(None)

    [(name, kept)] = records
    assert (name, values.decode(kept)["log"]) == (OUTPUT_RECORD, b"why\n")


@pytest.mark.parametrize(
    ("url", "sha256", "command", "kind", "message"),
    [
        ("/no/such.zip", "", ["run"], BundleError, "No such file"),
        ("BUNDLE", "0" * 64, ["run"], BundleError, "where 0{64} was expected"),
        ("http://127.0.0.1:1/a.zip", "", ["run"], BundleError, "its sha256 must be given"),
        ("ftp://host/a.zip", "", ["run"], BundleError, "names no bundle: expected"),
        ("BUNDLE", "abc", ["run"], BundleError, "'abc' is no SHA-256"),
        ("BUNDLE", "", [], ValueError, "the command is empty"),
        ("BUNDLE", "", ["nothing"], CommandNotFound, "^nothing is a program neither of the bundle .*BUNDLE nor of"),
        ("BUNDLE", "", ["bin/nothing"], CommandNotFound, "^bin/nothing is a program neither of the bundle"),
        ("BUNDLE", "", ["../../../bin/true"], CommandNotFound, "^../../../bin/true is a program neither of the bundle"),
        ("BUNDLE", "", [UP + "/bin/true"], CommandNotFound, "/bin/true is a program neither of the bundle"),
        ("BUNDLE", "", ["/no/such/program"], CommandNotFound, "^/no/such/program is a program neither of the bundle"),
        ("BUNDLE", "", ["/etc/passwd"], CommandNotExecutable, "^/etc/passwd of this host is not executable"),
        ("BUNDLE", "", ["text"], CommandNotExecutable, "^text of the bundle .* is not executable"),
    ],
)
def test_given_what_cannot_even_start_then_set_up_fails_and_the_bundle_is_given_back(
    archive: str, store: Path, url: str, sha256: str, command: Any, kind: type[Exception], message: str
) -> None:
    before = descriptors()
    task = BundleTask.prepared((url.replace("BUNDLE", archive), sha256, command))(None)

    with pytest.raises(kind, match=message.replace("BUNDLE", archive)):
        task.setup()

    assert descriptors() == before


@pytest.mark.parametrize("program", ["nothing", "text"])
def test_given_a_secret_in_a_url_then_what_is_said_of_a_program_has_it_not(archive: str, program: str) -> None:
    content = Path(archive).read_bytes()
    with serving() as web:
        web.pages["/b.zip?token=secret"] = content
        task = BundleTask(f"{web.url}/b.zip?token=secret", hashlib.sha256(content).hexdigest(), [program])
        with pytest.raises(CommandFailed, match=f"{program} .*of the bundle {web.url}/b.zip ") as caught:
            task.setup()

    assert "secret" not in str(caught.value)


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


@pytest.mark.parametrize(
    ("properties", "kind", "message"),
    [
        (("/a.zip", "", ""), ValueError, "the command is empty"),
        (("/a.zip", "", []), ValueError, "the command is empty"),
        (("",), BundleError, "'' names no bundle: expected a path, or a URL of file, http or https"),
        ((7,), BundleError, "7 names no bundle: expected a path, or a URL of file, http or https"),
        (("ftp://host/a.zip",), BundleError, "'ftp://host/a.zip' names no bundle"),
        (("https://user:secret@host/a.zip", "0" * 64), BundleError, "^https://host/a.zip has a user in it"),
        (("http://host/a.zip",), BundleError, "comes over a network: its sha256 must be given"),
        (("/a.zip", "abc"), BundleError, "'abc' is no SHA-256: expected 64 hexadecimal digits"),
        (("/a.zip", None), BundleError, "None is no SHA-256"),
    ],
)
def test_given_impossible_properties_then_the_task_cannot_be_made(
    properties: tuple[Any, ...], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        BundleTask(*properties)


@pytest.mark.parametrize("entry", ["x" * 65_537, "a\0b"])
def test_given_an_entry_that_no_argument_can_take_then_set_up_fails_for_a_command_that_wants_it(
    archive: str, entry: str
) -> None:
    with pytest.raises(ValueError, match="its entry .* is in its command"):
        job_of(BundleTask, archive, "", ["cat", "{}"])(entry)

    assert job_of(BundleTask, archive, "", ["cat", "input"])(entry)["stdout_bytes"] == len(entry)
