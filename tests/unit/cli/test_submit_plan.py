"""From a command line to a job: its options, and the tasks that workers make of what is packed."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from cyclone.cli.submit_plan import COMMAND_CLASS
from cyclone.errors import ConfigError, CycloneError, PluginError, UsageError
from cyclone.protocol import limits
from cyclone.values import decode_properties
from tests.support.plans import plan, properties

MODULE = """from cyclone import BaseTask

class Probe(BaseTask):
    time_limit_s = 60.0
    retries = 2
    retry_on = (OSError,)

    def __init__(self, host: str, size: int = 1, weights: list[float] | None = None, note=None, deep: bool = False):
        self.host, self.size, self.weights, self.note, self.deep = host, size, weights, note, deep

class Pair(BaseTask):
    def __init__(self, first, second):
        self.first, self.second = first, second

class Odd(BaseTask):
    def __init__(self, what: object = object()):
        self.what = what
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("CYCLONE_NAMESPACE", "CYCLONE_SERVER", "CYCLONE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "planned_tasks.py").write_text(MODULE)
    return tmp_path


def test_given_a_command_then_it_is_one_task_that_runs_it_here(folder: Path) -> None:
    made = plan("-t", "10m", "--", "echo", "--", "-t", "x")
    assert made.spec.task_class == COMMAND_CLASS
    assert properties(made, "command", "entry", "stdin") == [(["echo", "--", "-t", "x"], None, None)]
    assert (made.spec.time_limit_s, made.spec.directory) == (600.0, str(folder))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--", "/usr/bin/gzip", "-k"], "gzip"),
        (["--wrap", "bin/gzip {} && rm {}"], "gzip"),
        (["job.py", "x"], "job.py"),
        (["--class", "planned_tasks:Odd", "-p", "what=1"], "Odd"),
        (["--name", "mine", "--", "true"], "mine"),
        (["--", "x" * 300], ""),
        (["--", "\udcff"], ""),
        (["--", "a\nb"], ""),
    ],
)
def test_given_no_name_then_a_job_has_that_of_what_it_runs(words: list[str], name: str, folder: Path) -> None:
    (folder / "job.py").write_text("pass\n")
    assert plan(*words).spec.name == name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--array", "0-4:2", "--", "echo", "{}"], [(["echo", "{}"], 0), (["echo", "{}"], 2), (["echo", "{}"], 4)]),
        (["--", "gzip", ":::", "a", "b"], [(["gzip", "{}"], "a"), (["gzip", "{}"], "b")]),
        (["--", "cp", "{}", "x", ":::", "a"], [(["cp", "{}", "x"], "a")]),
        (["--wrap", "cat {} | wc", ":::", "a"], [("cat {} | wc", "a")]),
        (["--", "cp", "{1}", "{1}.x", "${1}", ":::", "a"], [(["cp", "{}", "{}.x", "${1}"], "a")]),
        (["--wrap", "cat {1} ${1}", ":::", "a"], [("cat {} ${1}", "a")]),
        (["hostname", "-f"], [(["hostname", "-f"], None)]),
        (
            ["--", "cp", "{1}", "{2}.x", ":::", "a", "b", ":::", "c"],
            [(["cp", "a", "c.x"], ["a", "c"]), (["cp", "b", "c.x"], ["b", "c"])],
        ),
        (["--", "cp", ":::", "a", ":::", "c"], [(["cp", "a", "c"], ["a", "c"])]),
        (["--", "sh", "-c", "${1}", "{2}", ":::", "a", ":::", "c"], [(["sh", "-c", "${1}", "c"], ["a", "c"])]),
        (["--", "echo", "{}", "{3}", ":::", "a", ":::", "c"], [(["echo", "a c", "{3}"], ["a", "c"])]),
    ],
)
def test_given_a_command_and_an_array_then_each_task_has_its_entry(
    words: list[str], expected: list[tuple[Any, Any]]
) -> None:
    assert properties(plan(*words), "command", "entry") == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--array", "4-5", "--", "echo"], [{"entry": 4}, {"entry": 5}]),  # as its own index
        (["--", "echo", ":::", "a", "b"], [{"entry": "a", "index": 0}, {"entry": "b", "index": 1}]),
        (["--", "echo"], [{"entry": None}]),
    ],
)
def test_given_entries_then_each_but_a_number_has_its_place_in_the_array(
    words: list[str], expected: list[dict[str, Any]]
) -> None:
    made = plan(*words)
    assert [made.described(packed) for packed in made.tasks() if packed] == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--backoff", "1s"], True), (["--retry-on", "OSError"], True), (["--backoff", "1s", "--retries", "1"], False)],
)
def test_given_how_to_retry_without_retries_then_it_is_said_that_it_does_nothing(
    words: list[str], said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(*words, "--", "true")
    assert ("nothing is tried again without --retries" in capsys.readouterr().err) is said


def test_given_null_as_an_entry_then_its_text_stands_for_it(folder: Path) -> None:
    (folder / "entries.json").write_text("[1, null]")
    assert properties(plan("--from-json", "entries.json", "--", "echo", "{}"), "entry", "index") == [
        (1, None),
        ("null", 1),
    ]


def test_given_words_that_look_like_placeholders_then_a_worker_takes_them_as_they_are() -> None:
    from cyclone.programs.invocation import filled

    words = ["{}", "{index}", "{job_id}", "{task_id}", "{attempt}", "{task_dir}", "{1}", "{other}", "{{}}", "${}"]
    made = plan("--", "echo", "{1}", "{2}", ":::", *words, ":::", "x")
    told = dict.fromkeys(("CYCLONE_ENTRY", "CYCLONE_ARRAY_INDEX", "CYCLONE_JOB_ID", "CYCLONE_TASK_ID"), "wrong")
    told |= {"CYCLONE_ATTEMPT": "wrong", "CYCLONE_TASK_DIR": "wrong"}
    commands = [filled(command, told) for (command,) in properties(made, "command")]
    assert commands == [["echo", word, "x"] for word in words]


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["-n", "a"], "namespace", "a"),
        (["--tag", "a=1", "--tag", "b=2"], "tags", {"a": "1", "b": "2"}),
        (["--priority", "-5"], "priority", -5),
        (["--qos", "batch"], "qos", "batch"),
        (["-w", "n[1-2]", "-w", "x"], "nodes", ("n1", "n2", "x")),
        (["-x", "n1"], "exclude", ("n1",)),
        (["-C", "a,b", "-C", "c"], "labels", ("a", "b", "c")),
        (["--deadline", "2036-11-22T18:30:00Z"], "not_after", 2110991400.0),
        (["--expires", "2036-11-22T18:30:00Z"], "not_after", 2110991400.0),
        (["-c", "2"], "cpus", 2),
        (["--mem", "1.5 GiB"], "mem_bytes", 3 << 29),
        (["-r", "gpus=2"], "resources", {"gpus": 2}),
        (["--limit", "ost:17=3"], "limits", {"ost:17": 3}),
        (["--parallel", "7"], "parallel", 7),
        (["--array", "0-9%3"], "parallel", 3),
        (["--array", "0-9%3", "--parallel", "2"], "parallel", 2),
        (["--retries", "3"], "retries", 3),
        (["--backoff", "500ms"], "retry_delay_s", 0.5),
        (["--retry-on", "OSError,a.B"], "retry_on", ("OSError", "a.B")),
        (["--crash-limit", "unlimited"], "crash_limit", limits.ID_MAX),
        (["--max-fails", "0"], "max_fails", 0),
        (["--exclusive"], "exclusive", True),
        (["--hold"], "held", True),
        (["--keep", "7d"], "keep_s", 604800.0),
        (["--session", "s"], "session", "s"),
        (["--cwd", "/data"], "directory", "/data"),
        (["--env", "A=1", "--env", "B=2", "--env", "A=3"], "environment", {"A": "3", "B": "2"}),
        (["--wait-after-success", "1"], "wait_after_success_s", 1.0),
        (["--wait-after-setup-error", "1"], "wait_after_setup_error_s", 1.0),
        (["--wait-after-run-error", "1"], "wait_after_run_error_s", 1.0),
    ],
)
def test_given_an_option_then_the_job_has_it(words: list[str], field: str, value: object) -> None:
    assert getattr(plan(*words, "--", "true").spec, field) == value


def test_given_a_relative_folder_then_it_starts_here(folder: Path) -> None:
    assert plan("--cwd", "data", "--", "true").spec.directory == f"{folder}/data"


def test_given_a_folder_whose_name_is_no_text_then_the_error_is_not_about_an_option_that_nobody_gave(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = folder / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    monkeypatch.chdir(odd)
    with pytest.raises(UsageError, match="this folder, '.*', has a name that is not UTF-8 text: give another by --cwd"):
        plan("--", "pwd")
    assert plan("--cwd", "/", "--", "pwd").spec.directory == "/"


def test_given_a_namespace_of_the_environment_or_the_profile_then_it_is_the_usual_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "cyclone").mkdir()
    (folder / "cyclone" / "client.toml").write_text("[default]\nserver='tcp://a'\nnamespace='p'\n[b]\nnamespace='q'\n")
    assert plan("--", "true").spec.namespace == "p"
    assert plan("--connect", "tcp://other", "--", "true").spec.namespace == "default"
    assert plan("--connect", "tcp://other", "--profile", "b", "--", "true").spec.namespace == "q"
    monkeypatch.setenv("CYCLONE_NAMESPACE", "e")
    assert plan("--", "true").spec.namespace == "e"
    assert plan("-n", "n", "--", "true").spec.namespace == "n"


def test_given_standard_input_from_a_file_then_each_task_gets_it(folder: Path) -> None:
    (folder / "input").write_bytes(b"\xff\n")
    assert properties(plan("--stdin", "input", "--", "cat"), "stdin") == [(b"\xff\n",)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-p", "host=a"], [("a", 1, None, None, False)]),
        (["-p", "host={1}", "-p", "size={2}", ":::", "a", ":::", "2"], [("a", 2, None, None, False)]),
        (["-p", "host={2}{1}{3}", "-p", "note={}", ":::", "a", ":::", "b"], [("ba{3}", 1, None, ["a", "b"], False)]),
        (["-p", "host=7", "-p", "size=7", "-p", "deep=yes"], [("7", 7, None, None, True)]),
        (["-p", "host=a", "-p", "weights=[1, 2.5]"], [("a", 1, [1, 2.5], None, False)]),
        (["-p", "host=a", "-p", 'note={"b": 1}'], [("a", 1, None, {"b": 1}, False)]),
        (["-p", "host=a", "-p", "note=[1]"], [("a", 1, None, [1], False)]),
        (["-p", "host=a", "-p", "note=plain text"], [("a", 1, None, "plain text", False)]),
        (["-p", "host={}", ":::", "a", "b"], [("a", 1, None, None, False), ("b", 1, None, None, False)]),
        (
            ["-p", "host=n{}.x", "-p", "size={}", "--array", "1-2"],
            [("n1.x", 1, None, None, False), ("n2.x", 2, None, None, False)],
        ),
        (["-p", "host={}", "--array", "7"], [("7", 1, None, None, False)]),
        (
            ["-p", "host=a", "-p", "note={}", "--from-json", "values.json"],
            [("a", 1, None, [1], False), ("a", 1, None, {"c": 2}, False)],
        ),
        (["-p", "size=3", "--from-json", "objects.json"], [("a", 3, None, None, False), ("b", 3, [1.5], "n", False)]),
    ],
)
def test_given_a_class_then_its_tasks_get_the_properties_as_its_constructor_wants_them(
    words: list[str], expected: list[tuple[Any, ...]], folder: Path
) -> None:
    (folder / "values.json").write_text('[[1], {"c": 2}]')
    (folder / "objects.json").write_text('{"host": "a"}\n{"host": "b", "weights": [1.5], "note": "n"}\n')
    made = plan("--class", "planned_tasks:Probe", *words)
    assert properties(made, "host", "size", "weights", "note", "deep") == expected


def test_given_a_class_then_what_is_equal_for_all_and_comes_first_is_shared() -> None:
    made = plan("--class", "planned_tasks:Probe", "-p", "host=a", "-p", "weights={}", "--array", "1-2", "-p", "size=5")
    assert decode_properties(made.spec.shared) == ("a", 5)
    assert made.names == ("weights", "note", "deep")


def test_given_a_class_with_options_of_its_own_then_the_job_has_them_unless_others_are_given() -> None:
    own = plan("--class", "planned_tasks:Probe", "-p", "host=a").spec
    assert (own.time_limit_s, own.retries, own.retry_on) == (60.0, 2, ("OSError",))
    assert plan("--class", "planned_tasks:Probe", "-p", "host=a", "-t", "5").spec.time_limit_s == 5.0


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ([], UsageError, "submit what? Give -- COMMAND"),
        (["--"], UsageError, "submit what? Give -- COMMAND"),
        (["--", ":::", "a"], UsageError, "submit what? Give -- COMMAND"),
        (["--wrap", "a", "--", "b"], UsageError, "give one of them"),
        (["--class", "a:B", "--", "b"], UsageError, "give one of them"),
        (["--cpus", "0", "--", "a"], UsageError, "argument -c/--cpus: '0' is not a number of things"),
        (["--cpus", "5000", "--", "a"], UsageError, "-c/--cpus: 5,000 is too great: write at most 4,096"),
        (["--name", "x" * 256, "--", "a"], UsageError, "--name: too long: write at most 255 characters"),
        (["--name", "caf\udce9", "--", "a"], UsageError, "--name: 'caf\\udce9' is not UTF-8 text"),
        (["--env", "A=\udce9", "--", "a"], UsageError, "--env: {'A': '\\udce9'} is not UTF-8 text"),
        (["--retry-on", "\udce9", "--", "a"], UsageError, "--retry-on: ['\\udce9'] is not UTF-8 text"),
        (["--time-limit", "0", "--", "a"], UsageError, "'0' is no time at all"),
        (
            ["--begin", "2036-11-23", "--deadline", "2036-11-22", "--", "a"],
            UsageError,
            "--deadline/--expires is not after --begin",
        ),
        (["--deadline", "2020-01-01", "--", "a"], UsageError, "--deadline/--expires is a moment that has passed"),
        (["--", ""], UsageError, "the command is empty"),
        (["--name", "a\x1b[31mb", "--", "a"], UsageError, "--name has characters that cannot be printed"),
        (["--tag", "a=b\nc", "--", "a"], UsageError, "--tag has characters that cannot be printed"),
        (["--array", "5-1", "--", "a"], UsageError, "begins behind its end"),
        (
            ["--array", "1-2", "--each-line", "x", "--", "a"],
            UsageError,
            "--array and --each-line: a task for each of what",
        ),
        (["--array", "1-2", "--", "a", ":::", "b"], UsageError, "--array and :::"),
        (["--wrap", "a {1}", ":::", "b", ":::", "c"], UsageError, "write -- COMMAND {1} {2} ::: b ::: c"),
        (["--key", "", "--", "a"], UsageError, "'' is no key"),
        (["--", "a", ":::"], UsageError, "::: has no words behind it"),
        (
            ["--", "a", ":::", "b", ":::+", "c"],
            UsageError,
            "there is no :::+ here: several ::: make each combination",
        ),
        (
            ["--", "a", "::::", "b"],
            UsageError,
            "there is no :::: here: a task for each line of a file is --each-line FILE",
        ),
        (["--stdin", "-", "--each-line", "-", "--", "a"], UsageError, "standard input cannot be both"),
        (["-p", "x=1", "--", "a"], UsageError, "belongs to --class"),
        (["--class", "tasks.empty:EmptyTask", "--stdin", "x"], UsageError, "is for commands"),
        (["-p", "x", "--class", "a:B"], UsageError, "'x' is not a property: write name=value"),
        (["--stdin", "/nowhere", "--", "a"], ConfigError, "--stdin /nowhere cannot be read: No such file"),
        (["nowhere.py"], ConfigError, "the script nowhere.py cannot be read: No such file"),
        (["--class", "planned_tasks:Nothing"], PluginError, "has no class 'Nothing'"),
        (["--class", "planned_tasks:Probe"], ConfigError, "needs host: give -p host=...; it takes host, size"),
        (["--class", "planned_tasks:Probe", "-p", "hots=1"], ConfigError, "has no property hots; did you mean host?"),
        (
            ["--class", "planned_tasks:Probe", "-p", "host=a", "-p", "size=big"],
            ConfigError,
            "property size: cannot be read: 'big' is not a whole number",
        ),
        (
            ["--class", "planned_tasks:Probe", "-p", "host=a", "-p", "weights=x"],
            ConfigError,
            "property weights: 'x' is no JSON value",
        ),
        (
            ["--class", "planned_tasks:Probe", "-p", "host=a", "-p", 'weights={"a":1}'],
            ConfigError,
            "its class wants list[float] | None",
        ),
        (
            ["--class", "planned_tasks:Probe", "-p", "host=a", "-p", f"weights={'[' * 50_000}"],
            ConfigError,
            "is no JSON value",
        ),
        (
            ["--class", "planned_tasks:Odd"],
            ConfigError,
            "planned_tasks:Odd: the value of 'what' holds a builtins.object",
        ),
    ],
)
def test_given_a_wrong_command_line_then_the_error_says_what_is_right(
    words: list[str], kind: type[CycloneError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        list(plan(*words).tasks())
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (
            [1, 2],
            ["--class", "planned_tasks:Pair"],
            "entry 1: planned_tasks:Pair: which property is the array's entry? Write -p first={}, or give objects of",
        ),
        (
            [{"first": 1, "second": 2}, {"first": 1}],
            ["--class", "planned_tasks:Pair"],
            "entry 2: planned_tasks:Pair needs second, which an entry does not give",
        ),
        ([{"frist": 1}], ["--class", "planned_tasks:Pair"], "has no property frist; did you mean first?"),
        (
            [{"first": 1}],
            ["--class", "planned_tasks:Pair", "-p", "first=2"],
            "property first is given by -p and by an entry",
        ),
        (["a", 1 << 70], ["--", "echo"], "entry 2 holds an integer of more than 64 bits"),
        (
            ["a", "x"],
            ["--class", "planned_tasks:Probe", "-p", "host=a", "-p", "size={}"],
            "entry 1: planned_tasks:Probe: property size: cannot be read: 'a'",
        ),
    ],
)
def test_given_an_entry_that_makes_no_task_then_the_error_names_it(
    content: list[Any], words: list[str], said: str, folder: Path
) -> None:
    (folder / "entries.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="--from-json entries.json: entry ") as caught:
        list(plan("--from-json", "entries.json", *words).tasks())
    assert said in str(caught.value)


def test_given_a_job_file_then_the_command_line_wins(folder: Path) -> None:
    (folder / "job.toml").write_text(
        "command = ['a', '{}']\nname = 'file'\ncpus = 2\narray = '0-9'\n[tags]\na = '1'\nb = '1'\n"
    )
    made = plan("--file", "job.toml", "--name", "line", "--tag", "b=2", "--array", "1-2")
    assert properties(made, "command", "entry") == [(["a", "{}"], 1), (["a", "{}"], 2)]
    assert (made.spec.name, made.spec.cpus, made.spec.tags) == ("line", 2, {"a": "1", "b": "2"})
