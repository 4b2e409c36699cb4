"""What a program is told of its task, and where in its command that may stand."""

import os
import subprocess
from typing import Any

import pytest

from cyclone import BaseTask
from cyclone.programs.invocation import entry_bytes, entry_text, environment, filled, variables

# What would do harm, or fall apart, if a shell read it.
NASTY = ["a b", "'", '"', "$(touch /nowhere)", "`false`", "; exit 3", "*", "\\", "a\nb", "", "-n", "ä", "${HOME}", "{}"]


@pytest.mark.parametrize(
    ("entry", "text", "content"),
    [
        ("a b", "a b", b"a b"),
        ("a\udcff", "a\udcff", b"a\xff"),
        (b"a\xff", "a\udcff", b"a\xff"),
        (7, "7", b"7"),
        (True, "true", b"true"),
        (1.5, "1.5", b"1.5"),
        ({"k": [1, None, "ä"]}, '{"k":[1,null,"ä"]}', '{"k":[1,null,"ä"]}'.encode()),
        ([], "[]", b"[]"),
    ],
)
def test_given_an_entry_then_it_has_one_form_as_text_and_one_as_a_file(entry: Any, text: str, content: bytes) -> None:
    assert entry_text(entry) == text
    assert entry_bytes(entry) == content
    assert variables(entry)["CYCLONE_ENTRY"] == text


def test_given_no_entry_then_there_is_no_variable_and_an_empty_file() -> None:
    assert "CYCLONE_ENTRY" not in variables()
    assert "CYCLONE_ARRAY_INDEX" not in variables()
    assert entry_bytes(None) == b""


@pytest.mark.parametrize(("entry", "index"), [(0, "0"), (41, "41"), ("41", None), (True, None), (4.0, None)])
def test_given_a_whole_number_then_it_is_an_index_too(entry: Any, index: str | None) -> None:
    assert variables(entry).get("CYCLONE_ARRAY_INDEX") == index


@pytest.mark.parametrize("entry", ["a line", 41, None])
def test_given_an_index_then_it_is_that(entry: Any) -> None:
    assert variables(entry, 0)["CYCLONE_ARRAY_INDEX"] == "0"


def test_given_a_task_then_its_variables_say_which(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"job_id": 3, "job_name": "count", "namespace": "ns", "node": "n1", "slot": 5}.items():
        monkeypatch.setattr(BaseTask.current, name, value)
    monkeypatch.setattr(BaseTask.current, "cpus", 2)

    assert variables(9) == {
        "CYCLONE_JOB_ID": "3",
        "CYCLONE_JOB_NAME": "count",
        "CYCLONE_NAMESPACE": "ns",
        "CYCLONE_TASK_ID": "0",
        "CYCLONE_ATTEMPT": "1",
        "CYCLONE_NODE": "n1",
        "CYCLONE_SLOT": "5",
        "CYCLONE_CPUS": "2",
        "CYCLONE_TASK_DIR": str(BaseTask.current.scratch_dir()),
        "CYCLONE_ENTRY": "9",
        "CYCLONE_ARRAY_INDEX": "9",
    }


def test_given_an_environment_then_what_is_told_comes_last_and_a_former_entry_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CYCLONE_ENTRY", "of another task")
    monkeypatch.setenv("CYCLONE_ARRAY_INDEX", "3")
    monkeypatch.setenv("KEPT", "1")

    around = environment({"CYCLONE_TASK_ID": "7"}, {"CYCLONE_TASK_ID": "8", "GIVEN": "2"})

    assert around == {
        **{name: value for name, value in os.environ.items() if name not in ("CYCLONE_ENTRY", "CYCLONE_ARRAY_INDEX")},
        "GIVEN": "2",
        "CYCLONE_TASK_ID": "7",
    }


def test_given_an_environment_of_another_process_of_cyclones_then_the_program_does_not_pass_for_one_of_its(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CYCLONE_WORKER", "own")

    around = environment({}, {"CYCLONE_WORKER": "its", "CYCLONE_OWNER": "its"})

    assert (around["CYCLONE_WORKER"], around.get("CYCLONE_OWNER")) == ("own", os.environ.get("CYCLONE_OWNER"))


def test_given_variables_about_a_task_that_this_controller_was_started_by_then_they_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CYCLONE_TASK_ID", "CYCLONE_BUNDLE", "CYCLONE_TASK_DIR"):
        monkeypatch.setenv(name, "another's")

    assert environment({}).keys().isdisjoint({"CYCLONE_TASK_ID", "CYCLONE_BUNDLE", "CYCLONE_TASK_DIR"})


TOLD = {"CYCLONE_ENTRY": "e", "CYCLONE_ARRAY_INDEX": "4", "CYCLONE_JOB_ID": "3", "CYCLONE_TASK_DIR": "/t"}


@pytest.mark.parametrize(
    ("argument", "becomes"),
    [
        ("{}", "e"),
        ("a{}b{}", "aebe"),
        ("{index}/{job_id}/{task_dir}", "4/3//t"),
        ("{attempt}", "{attempt}"),  # not told here
        ("{other}", "{other}"),
        ("{{}}", "{}"),
        ("{{index}}", "{index}"),
        ("{{{}}}", "{{}}"),
        ("${index}", "${index}"),
        ("{ }", "{ }"),
        ("", ""),
    ],
)
def test_given_an_argument_then_its_placeholders_are_filled_in(argument: str, becomes: str) -> None:
    assert filled(["p", argument], TOLD) == ["p", becomes]


def test_given_an_entry_with_a_placeholder_in_it_then_that_is_left_alone() -> None:
    assert filled(["{}"], {"CYCLONE_ENTRY": "{index}", "CYCLONE_ARRAY_INDEX": "1"}) == ["{index}"]


def test_given_no_entry_then_the_braces_of_a_command_are_its_own() -> None:
    command = ["find", ".", "-exec", "rm", "{}", "+"]

    assert filled(command, {"CYCLONE_JOB_ID": "3"}) == command
    assert filled("find . -exec rm {} +", {"CYCLONE_JOB_ID": "3"}) == "find . -exec rm {} +"


@pytest.mark.parametrize(
    ("entry", "why"), [("ü" * 32_769, "takes 65,538 bytes of at most 65,536"), ("a\0b", "has a NUL byte")]
)
@pytest.mark.parametrize("command", [["wc", "-c"], "wc -c"])
def test_given_an_entry_that_no_variable_can_take_then_only_a_command_that_wants_it_fails(
    command: str | list[str], entry: str, why: str
) -> None:
    told = {"CYCLONE_ENTRY": entry, "CYCLONE_ARRAY_INDEX": "1"}
    assert filled(command, told) == command
    assert environment(told)["CYCLONE_ARRAY_INDEX"] == "1"
    assert "CYCLONE_ENTRY" not in environment(told)
    with pytest.raises(ValueError, match=rf"its entry {why}, and \{{\}} is in its command: put that in a file"):
        filled([*command, "{}"] if isinstance(command, list) else command + " {}", told)


@pytest.mark.parametrize("entry", NASTY)
@pytest.mark.parametrize(
    ("script", "around"),
    [
        ("printf '[%s]' {}", "[{}]"),
        ("printf '[%s]' a{}b", "[a{}b]"),
        ("printf '[%s]' \"a {} b\"", "[a {} b]"),
        ("printf '[%s]' 'a {} b'", "[a {} b]"),
        ("printf '[%s]' \\'{}\\\"", "['{}\"]"),
        ("printf '[%s]' \"\\\"{}\" '\\'{}", '["{}][\\{}]'),
        ("printf '[%s]' {} {}", "[{}][{}]"),
        ("printf '[%s]' \"a $(printf '%s.' {} 'b c') {}\"", "[a {}.b c. {}]"),
        ("printf '[%s]' \"$(printf '%s.' \"{}\" $((1 + (2))) {})\" {}", "[{}.3.{}.][{}]"),
        ("printf '[%s]' \"`printf '%s.' {}`{}\"", "[{}.{}]"),
        ("(case x in x) printf '[%s]' {};; esac)", "[{}]"),
        ("# don't \"\nprintf '[%s#]' {} # it's the \"end\nprintf $#%s '{}'", "[{}#]0{}"),
    ],
)
def test_given_a_script_then_any_entry_is_one_word_in_it_and_never_read_by_the_shell(
    script: str, around: str, entry: str
) -> None:
    told = {"CYCLONE_ENTRY": entry}
    script_filled = filled(script, told)
    assert isinstance(script_filled, str)

    done = subprocess.run(["sh", "-c", script_filled], env=os.environ | told, capture_output=True, check=True)

    assert done.stdout.decode() == entry.join(around.split("{}"))


@pytest.mark.parametrize(
    ("script", "becomes"),
    [
        ("echo {index}", 'echo "${CYCLONE_ARRAY_INDEX}"'),
        ('echo "${index}" {{}}', 'echo "${index}" {}'),
        ("awk '{print}' {}", "awk '{print}' \"${CYCLONE_ENTRY}\""),
        ("echo {attempt}", "echo {attempt}"),
        ("a\\", "a\\"),
    ],
)
def test_given_a_script_then_only_placeholders_become_variables(script: str, becomes: str) -> None:
    assert filled(script, TOLD) == becomes
