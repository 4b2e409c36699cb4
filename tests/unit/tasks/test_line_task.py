"""LineTask with real programs: what they are asked, what comes of each way to answer, and that nothing is left."""

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cyclone import BaseTask
from cyclone.errors import CycloneError
from cyclone.programs import conversation, running
from cyclone.programs.command import CommandNotExecutable, CommandNotFound
from cyclone.programs.running import ANSWER_BYTES_MAX, SAID_BYTES_MAX, AnswerMalformed, ProgramDied
from tasks.line_protocol import InvalidDataFormat, InvalidParamCount, LineTask, LineTaskFailed, NoSuchTask

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "Configuration" / "examples" / "line-protocol"
DEADLINE_S = 20.0
# Answers with the line that it got.
ECHO = 'while IFS= read -r line; do printf "%s\\n" "$line"; done'
COUNT = 'while read -r line; do n=$((n + 1)); echo "[$$, $n]"; done'

Ask = Callable[..., Any]


@contextlib.contextmanager
def job(program: str | list[str], **options: bool) -> Iterator[Ask]:
    """Asks tasks of one job in one worker, as its worker would make and run them."""
    make = LineTask.prepared((program, options.get("socket", False), options.get("details", False)))

    def ask(name: str, *arguments: Any) -> Any:
        task = make(name, list(arguments))
        task.setup()
        return task.execute()

    try:
        yield ask
    finally:
        make.close()


def asked(program: str | list[str], *names: str, **options: bool) -> list[Any]:
    """What tasks with these names give."""
    with job(program, **options) as ask:
        return [ask(name) for name in names]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.002)


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


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
        ("read line; echo", AnswerMalformed, "answered '', which is no JSON"),
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


def test_given_a_program_that_says_one_line_more_then_it_is_started_anew_and_no_task_gets_that_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    program = "read line; printf '1\\n2\\n'; read line; printf '3\\n4\\n'"

    assert asked(program, "a", "b", "c") == [1, 1, 1]
    assert "has said '2\\n' without being asked; it is started anew" in caplog.text


def test_given_a_program_that_dies_in_each_task_then_what_watches_it_does_not_grow() -> None:
    before = threading.active_count()
    with job("read line; exit 1") as ask:
        for _ in range(5):
            with pytest.raises(ProgramDied):
                ask("x")
        assert threading.active_count() <= before + 1


def test_given_the_program_of_the_documentation_then_it_does_what_the_page_says() -> None:
    page = (ROOT / "docs" / "line-protocol.md").read_text(encoding="utf-8")
    program = page.partition("```bash\n")[2].partition("```")[0]

    with job(["bash", "-c", program]) as ask:
        assert ask("add", 2, 3) == {"sum": 5}
        with pytest.raises(NoSuchTask):
            ask("other")


@pytest.mark.parametrize("death", ["exit 3", "kill -KILL $$"])
def test_given_a_program_that_died_in_a_task_then_the_next_task_has_a_new_one(death: str) -> None:
    program = f'while read -r line; do case $line in *die*) {death} ;; esac; echo "$$"; done'
    with job(program) as ask:
        first = ask("x")
        with pytest.raises(ProgramDied):
            ask("die")
        assert ask("x") not in (first, None)
        assert not is_running(first)


def test_given_a_program_that_died_between_two_tasks_then_no_task_fails(tmp_path: Path) -> None:
    with job('read line; echo "$$"; exit 0') as ask:
        first = ask("x")
        wait_until(lambda: Path(f"/proc/{first}/stat").read_bytes().rpartition(b") ")[2][:1] == b"Z")
        assert ask("x") != first


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


def test_given_nobody_who_asks_then_the_program_ends_by_the_end_of_its_input_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation.Program.__init__, "__defaults__", (0.05,))
    with job(f"{COUNT}; touch {tmp_path / 'over'}") as ask:
        pid, _ = ask("x")
        wait_until(lambda: not is_running(pid))
        assert (tmp_path / "over").exists()
        assert ask("x")[1] == 1


def test_given_a_task_that_is_set_up_then_its_program_does_not_end_before_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation.Program.__init__, "__defaults__", (0.0,))
    waits = threading.Semaphore(0)
    wait = threading.Event.wait

    def noting(event: threading.Event, timeout: float | None = None) -> bool:
        waits.release()
        return wait(event, 0.001 if timeout == 0.0 else timeout)

    monkeypatch.setattr(threading.Event, "wait", noting)
    make = LineTask.prepared((COUNT, False, False))
    try:
        task = make("x")
        task.setup()
        for _ in range(20):  # what watches the program has looked at it, and looks again
            assert waits.acquire(timeout=DEADLINE_S)
        assert task.execute()[1] == 1
    finally:
        make.close()


def test_given_an_end_of_the_task_then_its_program_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(BaseException):
        pass

    heard: list[bytes] = []

    def end_at_first(said: running.Said, block: bytes) -> None:
        """As a signal that arrives while the program has the line."""
        heard.append(block)
        if len(heard) == 1:
            raise Ended

    monkeypatch.setattr(running.Said, "hear", end_at_first)
    with job("read line; echo $$ >&2; sleep 100") as ask:
        with pytest.raises(Ended):
            ask("x")
        assert not is_running(int(heard[0]))


def test_given_programs_of_every_end_then_no_child_no_descriptor_and_no_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, services: dict[str, list[str]]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    asked(ECHO, "x")
    before = len(list(Path("/proc/self/fd").iterdir()))

    asked(ECHO, "x")
    asked(services["perl over a socket"], "count", socket=True)
    for program in ("read line; exit 1", "read line; echo garbage", ["no-such-program"]):
        with pytest.raises(CycloneError):
            asked(program, "x")

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert list(tmp_path.iterdir()) == []


def test_given_the_environment_of_a_program_then_it_knows_the_job_and_no_single_task() -> None:
    [seen] = asked('read line; echo "[\\"$CYCLONE_JOB_ID\\", \\"$CYCLONE_CPUS\\", \\"${CYCLONE_TASK_ID-none}\\"]"', "x")

    assert seen == ["0", "1", "none"]


@pytest.mark.parametrize(("program", "name"), [("", "x"), ([], "x"), ("cat", "")])
def test_given_nothing_to_run_or_to_ask_then_the_task_cannot_be_made(program: Any, name: str) -> None:
    with pytest.raises(ValueError, match="the command is empty|the name is empty"):
        LineTask(program, name=name)


def test_given_another_slot_than_the_program_was_started_for_then_it_is_started_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with job('while read -r line; do echo "[$$, $CYCLONE_SLOT]"; done') as ask:
        first, second = ask("x"), ask("x")
        monkeypatch.setattr(BaseTask.current, "slot", 3)
        third = ask("x")

    assert first == second
    assert (first[1], third[1]) == (0, 3)
    assert third[0] != first[0]
