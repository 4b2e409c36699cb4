"""LineTask with real programs: what they are asked, and what comes of each way to answer."""

import json
import logging
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from cyclone.errors import CycloneError
from cyclone.programs import running
from cyclone.programs.command import CommandNotExecutable, CommandNotFound
from cyclone.programs.running import ANSWER_BYTES_MAX, SAID_BYTES_MAX, AnswerMalformed, ProgramDied
from tasks.line_protocol import InvalidDataFormat, InvalidParamCount, LineTask, LineTaskFailed, NoSuchTask
from tests.support.line_tasks import COUNT, ECHO, EXAMPLES, asked, is_running, job

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The examples of the documentation, ready to run."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler and shutil.which("perl"), "no C compiler or no Perl: on Debian, sudo apt install gcc libc6-dev perl"
    compiled = tmp_path_factory.mktemp("service") / "service"
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *warnings, "-o", str(compiled), str(EXAMPLES / "service.c")], check=True)
    return {
        "python": [sys.executable, str(EXAMPLES / "service.py")],
        "bash": ["bash", str(EXAMPLES / "service.sh")],
        "perl": ["perl", str(EXAMPLES / "service.pl")],
        "perl over a socket": ["perl", str(EXAMPLES / "service.pl"), "--socket"],
        "c": [str(compiled)],
    }


@pytest.mark.parametrize("language", ["python", "bash", "perl", "perl over a socket", "c"])
def test_given_the_example_of_a_language_then_it_keeps_the_contract(
    services: dict[str, list[str]], language: str
) -> None:
    with job(services[language], socket="socket" in language) as ask:
        assert ask("add", 2, -3) == {"sum": -1}
        assert ask("count") == {"calls": 2}
        for name, arguments, kind in (
            ("add", [1], InvalidParamCount),
            ("add", [1, 2, 3], InvalidParamCount),
            ("count", [1], InvalidParamCount),
            ("add", ["1", 2], InvalidDataFormat),
            ("add", [1, 2.5], InvalidDataFormat),
            ("subtract", [1, 2], NoSuchTask),
        ):
            with pytest.raises(kind, match=f"to '{name}'"):
                ask(name, *arguments)
        assert ask("count") == {"calls": 9}


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ((), b'["x",[]]'),
        ((1, -2.5, None, True, "a b"), b'["x",[1,-2.5,null,true,"a b"]]'),
        (('ä\n\t"\\',), '["x",["ä\\n\\t\\"\\\\"]]'.encode()),
        (({"k": [1, {}]}, b"\xff"), b'["x",[{"k":[1,{}]},{"base64":"/w=="}]]'),
    ],
)
def test_given_arguments_then_the_program_gets_them_as_one_line_without_blanks(
    tmp_path: Path, arguments: tuple[Any, ...], sent: bytes
) -> None:
    with job(f"tee {tmp_path / 'sent'} | {ECHO}") as ask:
        answer = ask("x", *arguments)

    assert (tmp_path / "sent").read_bytes() == sent + b"\n"
    assert answer == json.loads(sent)


def test_given_details_then_a_third_part_says_which_task_it_is() -> None:
    [answer] = asked(ECHO, "x", details=True)

    about = {"task_id": 0, "attempt": 1, "job_id": 0, "job_name": "", "time_left": None}
    assert answer == ["x", [], about]


@pytest.mark.parametrize("answer", ["null", "[1, 2.5]", '{"a": {"b": "ä"}}', ' "text" \r', '{"error": 3}'])
def test_given_any_json_then_it_is_the_value(answer: str) -> None:
    assert asked(f"read line; printf '%s\\n' '{answer}'", "x") == [json.loads(answer)]


def test_given_many_tasks_then_one_process_answers_them_all() -> None:
    answers = asked(COUNT, "a", "b", "c")

    assert [count for _, count in answers] == [1, 2, 3]
    assert len({pid for pid, _ in answers}) == 1


def test_given_tasks_of_a_generator_then_those_with_the_same_program_share_it_and_few_are_kept() -> None:
    make = LineTask.prepared(())

    def ask(program: str) -> list[int]:
        task = make(program, False, False, "x", [])
        task.setup()
        answer: list[int] = task.execute()
        return answer

    try:
        first, other = ask(COUNT), ask(COUNT + " # other")
        assert ask(COUNT) == [first[0], 2]
        for number in range(3):
            ask(f"{COUNT} # {number}")
        assert not is_running(other[0])
        assert ask(COUNT) == [first[0], 3]
    finally:
        make.close()


def test_given_an_error_without_a_name_of_ours_then_the_failure_is_its_text() -> None:
    with pytest.raises(LineTaskFailed, match="answered 'disk full' to 'store'$"):
        asked('read line; echo \'{"error": "disk full"}\'', "store")


@pytest.mark.parametrize(
    ("program", "kind", "message"),
    [
        ("read line; echo hello", AnswerMalformed, "answered 'hello', which is no JSON"),
        ("read line; echo", AnswerMalformed, "answered an empty line"),
        (
            r"""read line; printf '%s\n' '"\ud800"'""",
            AnswerMalformed,
            "which is no JSON: it has half of a surrogate pair",
        ),
        (r"""read line; printf '%s\n' '"abc'""", AnswerMalformed, "which is no JSON: Input data was truncated"),
        ("read line; echo '[1] [2]'", AnswerMalformed, r"answered '\[1\] \[2\]', which is no JSON"),
        (r"read line; printf '\377\n'", AnswerMalformed, r"answered '\\\\xff', which is no JSON"),
        (r"""read line; printf '"\344"\n'""", AnswerMalformed, r"""answered '"\\\\xe4"', which is no JSON"""),
        ("read line; echo NaN", AnswerMalformed, "answered 'NaN', which is no JSON"),
        ("read line; head -c 100000 /dev/zero | tr '\\0' '['; echo", AnswerMalformed, "'\\[+', which is no JSON"),
        ("read line; exit 3", ProgramDied, "ended with exit code 3 and gave no answer$"),
        ("read line; printf '[1'; exit 0", ProgramDied, "ended with exit code 0 and gave no answer"),
        ("read line; kill -SEGV $$", ProgramDied, "was killed by SIGSEGV and gave no answer"),
        ("read line; echo the reason >&2; exit 1", ProgramDied, "its standard error ends with:\nthe reason$"),
        ("exit 5", ProgramDied, "ended with exit code 5 and gave no answer"),
    ],
)
def test_given_an_answer_that_is_none_then_the_failure_says_what_happened(
    program: str, kind: type[CycloneError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        asked(program, "x")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("read line; exec >&-; read line; read line", "closed its output$"),
        ("read line; printf '[1, 2'; exec >&-; read line; read line", r"closed its output after the part '\[1, 2' of"),
        ("exec <&-; trap '' PIPE; sleep 100", "closed its input$"),
    ],
)
def test_given_a_program_that_closes_its_end_and_lives_on_then_the_failure_says_so(
    monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    monkeypatch.setattr(running, "_GRACE_S", 0.05)
    with job(program) as ask, pytest.raises(ProgramDied, match=message):
        ask("x", "y" * 200_000)


def test_given_a_line_that_does_not_end_then_no_more_of_it_is_read_than_an_answer_may_have() -> None:
    with pytest.raises(AnswerMalformed, match=f"a line of more than {ANSWER_BYTES_MAX} bytes: '0000+'\\.\\.\\.$"):
        asked("read line; tr '\\0' 0 < /dev/zero", "x")


def test_given_an_answer_as_long_as_is_allowed_then_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "ANSWER_BYTES_MAX", 100_000)
    echo = [sys.executable, "-ISc", "import sys\nfor line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"]
    with job(echo) as ask:
        assert ask("x", "y" * 99_990) == ["x", ["y" * 99_990]]
        with pytest.raises(AnswerMalformed, match="more than 100000 bytes"):
            ask("x", "y" * 99_991)


def test_given_an_answer_before_the_line_was_read_then_it_is_not_taken_for_one() -> None:
    with job("echo 1; sleep 100") as ask, pytest.raises(CycloneError, match="answered '1' before it had read"):
        ask("x", "y" * 1_000_000)


def test_given_the_program_of_the_documentation_then_it_does_what_the_page_says() -> None:
    page = (ROOT / "docs" / "line-protocol.md").read_text(encoding="utf-8")
    program = page.partition("```bash\n")[2].partition("```")[0]

    with job(["bash", "-c", program]) as ask:
        assert ask("add", 2, 3) == {"sum": 5}
        with pytest.raises(NoSuchTask):
            ask("other")


@pytest.mark.parametrize(
    ("program", "kind", "message"),
    [
        (["no-such-program"], CommandNotFound, "^no-such-program cannot be started"),
        (["/etc/passwd"], CommandNotExecutable, "^/etc/passwd cannot be started"),
    ],
)
def test_given_a_program_that_cannot_start_then_set_up_fails(
    program: list[str], kind: type[CycloneError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        LineTask.prepared((program,))(False, False, "x").setup()


def test_given_a_program_that_does_not_connect_then_set_up_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProgramDied, match="(?s)ended with exit code 4.*its standard error ends with:\nsorry$"):
        LineTask.prepared(("echo sorry >&2; exit 4", True, False))("x").setup()

    monkeypatch.setattr(running, "_CONNECT_S", 0.02)
    monkeypatch.setattr(running, "_GRACE_S", 0.02)
    with pytest.raises(ProgramDied, match="has not connected to its socket, .CYCLONE_SOCKET, within 0.02 s"):
        LineTask.prepared(("sleep 100", True, False))("x").setup()


def test_given_a_long_path_for_temporary_files_then_the_socket_is_elsewhere(
    services: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))

    assert asked(services["perl over a socket"], "count", socket=True) == [{"calls": 1}]
    assert list(deep.iterdir()) == []


def test_given_what_a_program_says_then_the_log_has_it_with_the_task(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    asked("read line; printf 'one\\ntwo' >&2; echo 1", "x")

    said = [record.getMessage().partition(" ")[0::2] for record in caplog.records]
    assert [(task, text[-3:]) for task, text in said] == [("task=0", "one"), ("task=0", "two")]


def test_given_a_program_that_says_very_much_then_the_log_has_a_part_and_the_answer_comes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    answers = asked("while read line; do head -c 300000 /dev/zero | tr '\\0' x >&2; echo 1; done", "x", "y")

    assert answers == [1, 1]
    assert f"({300_000 - SAID_BYTES_MAX} bytes more, discarded)" in caplog.text
    assert sum(len(record.getMessage()) for record in caplog.records) < 2.5 * SAID_BYTES_MAX


@pytest.mark.parametrize(("program", "name"), [("", "x"), ([], "x"), ("cat", "")])
def test_given_nothing_to_run_or_to_ask_then_the_task_cannot_be_made(program: Any, name: str) -> None:
    with pytest.raises(ValueError, match="the command is empty|the name is empty"):
        LineTask(program, name=name)
