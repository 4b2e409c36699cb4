"""Configuration: the table of keys, each value's type, and what each bad value is answered with."""

import dataclasses
import os
import re
from pathlib import Path
from typing import get_args

import pytest

from cyclone.config import Role, Settings, explain, load
from cyclone.config_keys import KEYS, SECTIONS, Key
from cyclone.config_kinds import KEEP, Keep, show, size
from cyclone.errors import ConfigError
from cyclone.host import memory_bytes
from tests.support.config_files import GENERATOR, failure, origin, separate_folders, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return separate_folders(tmp_path, monkeypatch)


# --- the table


def test_given_the_table_when_compared_with_the_settings_then_each_key_is_an_attribute_and_back() -> None:
    sections = {field.name: field.type for field in dataclasses.fields(Settings) if field.name in SECTIONS}
    assert set(sections) == set(SECTIONS)
    for section, cls in sections.items():
        expected = {key.attribute for key in KEYS if key.section == section}
        assert isinstance(cls, type)
        assert {field.name for field in dataclasses.fields(cls)} == expected


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key.section}.{key.name}")
def test_given_a_key_when_its_default_is_shown_then_it_is_the_text_of_the_table(key: Key) -> None:
    for default in (key.default, *(text for _, text in key.defaults)):
        if default is not None:
            assert show(key.kind.read(default)) == default
    assert key.help.endswith(".")
    assert key.roles


def test_given_nothing_when_a_controller_loads_then_the_defaults_and_what_the_host_gives(folder: Path) -> None:
    settings = load(None, [], "controller")
    assert settings.control.name == f"{os.uname().nodename}-{os.getpid()}"
    assert settings.processing.worker_count == len(os.sched_getaffinity(0))
    assert settings.processing.task_time_limit_s == 0
    assert settings.control.request_retry_wait_duration_s == 1
    assert settings.comm.port == 5678
    assert settings.search_path == (str(Path.cwd()),)
    assert settings.generator_options == {}
    assert {row.origin for row in settings.rows()} == {"default", "computed"}


@pytest.mark.parametrize("role", get_args(Role))
def test_given_a_role_when_loaded_then_its_rows_are_its_keys_alone(folder: Path, role: Role) -> None:
    rows = load(write(folder, GENERATOR), [], role).rows()
    assert [(row.section, row.key) for row in rows] == [(key.section, key.name) for key in KEYS if role in key.roles]


# --- values


@pytest.mark.parametrize(
    ("place", "text", "value"),
    [
        ("control.controller_timeout", "1h30m", 5400.0),
        ("control.controller_timeout", "20", 20.0),
        ("control.task_resend_timeout", "0-08:00:00", 28800.0),
        ("control.pid_file", "./Runtime/a b#1.pid", Path("Runtime/a b#1.pid")),
        ("control.crash_limit", "1", 1),
        ("control.exit_when_done", "ON", True),
        ("control.exit_when_done", "0", False),
        ("control.name", "node-7%x", "node-7%x"),
        ("comm.target", "*", "*"),
        ("comm.target", "ipc:///run/me/master", "ipc:///run/me/master"),
        ("comm.target", "::1", "::1"),
        ("comm.port", "65535", 65535),
        ("control.state_dir", "/var/lib/cyclone", Path("/var/lib/cyclone")),
        ("journal.path", "a.journal", Path("a.journal")),
        ("journal.durability", "OFF", "off"),
        ("journal.keep", "all", Keep()),
        ("journal.keep", "30d", Keep(age_s=30 * 86400.0)),
        ("journal.keep", "12:00:00", Keep(age_s=43200.0)),
        ("journal.keep", "1 task", Keep(tasks=1)),
        ("journal.keep", "1000000 tasks", Keep(tasks=1_000_000)),
        ("journal.keep", "1000 tasks , 1h30m", Keep(age_s=5400.0, tasks=1000)),
        ("log.format", "JSON", "json"),
        ("log.level", "warning", "warning"),
        ("processing.worker_count", "4096", 4096),
        ("processing.kill_grace", "0", 0.0),
        ("processing.namespaces", "lustre, a/b:c", ("lustre", "a/b:c")),
        ("processing.labels", "gpu,rack:7", ("gpu", "rack:7")),
        ("processing.resources", "licence:2, ost:17:3", ("licence:2", "ost:17:3")),
        ("processing.memory", "None", 0),
        ("processing.memory", "64GiB", 64 << 30),
        ("processing.memory", "auto", memory_bytes()),
        ("processing.memory", "", memory_bytes()),
        ("processing.by_value", "yes", True),
        ("task_generator.class", "a.b:C.D", "a.b:C.D"),
    ],
)
def test_given_a_value_when_loaded_then_it_is_typed(folder: Path, place: str, text: str, value: object) -> None:
    section, name = place.split(".")
    key = next(key for key in KEYS if (key.section, key.name) == (section, name))
    path = write(folder, f"{GENERATOR if section != 'task_generator' else ''}\n[{section}]\n{name} = {text}\n")
    settings = load(path, [], "master")
    assert getattr(getattr(settings, section), key.attribute) == value


@pytest.mark.parametrize(
    ("place", "text", "problem"),
    [
        ("control.controller_timeout", "soon", "'soon' is not a duration: write 30, 30s"),
        ("control.controller_timeout", "0", "'0' is too short: at least 100ms"),
        ("control.controller_timeout", "20  # seconds", "a comment needs a line of its own"),
        ("control.controller_timeout", "20\n  crash_limit = 3", "an indented line belongs to the key above it"),
        ("control.controller_timeout", "", "'' is not a duration"),
        ("control.heartbeat_interval", "10s", "is more than half of controller_timeout (15s)"),
        ("control.pid_file", "a.pid ; mine", "'a.pid ; mine' is not a path"),
        ("control.crash_limit", "0", "'0' is not a whole number from 1 to"),
        ("control.crash_limit", "3.5", "'3.5' is not a whole number"),
        ("control.crash_limit", "1_000", "'1_000' is not a whole number"),
        ("control.exit_when_done", "maybe", "'maybe' is neither yes nor no"),
        ("control.max_num_request_retries", "-1", "'-1' is not a whole number from 0"),
        ("control.name", "a b", "'a b' is not a name: 1 to 255 printable characters"),
        ("control.name", "x" * 256, "is not a name"),
        ("control.name", "a\x1bb", "'a\\x1bb' is not a name"),
        ("control.controller_wait_duration", "never", "'never' is not a duration"),
        ("comm.target", "*", "is an address to bind, for a master; write the master's host"),
        ("comm.target", "tcp://head", "'tcp://head' is not a host"),
        ("comm.target", "ipc://head", "'ipc://head' is no socket file: write ipc:// and an absolute path"),
        ("comm.target", "head:5678", "its port belongs to the key 'port'"),
        ("comm.target", "", "'' is not a host"),
        ("comm.port", "0", "'0' is not a whole number from 1 to 65535"),
        ("comm.port", "65536", "'65536' is not a whole number from 1 to 65535"),
        ("comm.poll_timeout", "0", "'0' is too short: at least 1ms"),
        ("journal.durability", "half", "'half' is not one of full, off"),
        (
            "journal.keep",
            "",
            "'' is not what to keep: write all, 30d, 1000000 tasks, or both bounds: 30d, 1000000 tasks",
        ),
        ("journal.keep", "1000000", "'1000000' is not what to keep"),
        ("journal.keep", "30d, 40d", "'30d, 40d' is not what to keep"),
        ("journal.keep", "1 task, 2 tasks", "'1 task, 2 tasks' is not what to keep"),
        ("journal.keep", "all, 30d", "'all' is not a duration"),
        ("journal.keep", "0 tasks", "'0 tasks' keeps nothing: at least 1s and 1 task"),
        ("journal.keep", "500ms", "'500ms' keeps nothing"),
        ("sink.targets", "proxy", "'proxy' is not host:port, such as 127.0.0.1:5777"),
        ("sink.targets", "a:5777, [::1]:0", "'[::1]:0' is not host:port"),
        ("sink.targets", "a:5777, b:1, a:5777", "names a sink twice, and it would get everything once: name it once"),
        ("log.format", "xml", "'xml' is not one of text, json"),
        ("log.level", "trace", "'trace' is not one of debug, info, warning, error"),
        ("processing.worker_count", "0", "'0' is not a whole number from 1 to 4096"),
        ("processing.worker_count", "4097", "'4097' is not a whole number from 1 to 4096"),
        ("task_generator.module", "a-b", "'a-b' is not the name of a Python module or class"),
        ("task_generator.class", "a:b:C", "'a:b:C' is not the name of a Python module or class"),
    ],
)
def test_given_a_bad_value_when_loaded_then_file_line_section_key_and_problem_are_named(
    folder: Path, place: str, text: str, problem: str
) -> None:
    section, name = place.split(".")
    path = write(folder, f"# a comment\n\n[{section}]\n{name} = {text}\n")
    message = failure(path)
    assert message.startswith(f"{path}:4: [{section}] {name}: ")
    assert problem in message
    if "\n" not in text:
        assert problem in failure(None, "controller", f"{section}.{name}={text}")
        assert failure(None, "controller", f"{section}.{name}={text}").startswith(f"--set: [{section}] {name}: ")


@pytest.mark.parametrize("text", ["all", "30d", "1000 tasks", "1h30m, 7 tasks"])
def test_given_what_to_keep_when_shown_then_it_reads_back(text: str) -> None:
    assert show(KEEP.read(text)) == text


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x"}, "/var/lib/a"),
        ({"STATE_DIRECTORY": "", "XDG_STATE_HOME": "/x"}, "/x/cyclone"),
        ({"XDG_STATE_HOME": "relative"}, "/home/u/.local/state/cyclone"),
        ({}, "/home/u/.local/state/cyclone"),
    ],
)
def test_given_an_environment_when_a_master_loads_then_its_state_lies_where_the_host_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name, value in {"STATE_DIRECTORY": "", "XDG_STATE_HOME": "", "HOME": "/home/u", **environment}.items():
        monkeypatch.setenv(name, value)
    settings = load(write(folder, GENERATOR), [], "master")
    assert settings.control.state_dir == Path(expected)
    assert settings.journal.path == Path(expected, "master.journal")
    assert origin(settings, "journal", "path") == "computed"
    moved = load(write(folder, GENERATOR), ["control.state_dir=here"], "master")
    assert moved.journal.path == Path("here/master.journal")


def test_given_a_host_without_a_home_when_loaded_then_only_who_has_a_journal_needs_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    # A user that no database knows, as in many containers.
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_000)
    path = write(folder, GENERATOR)
    for role in ("master", "run"):
        assert f"{path}: [control] state_dir: '' is no folder, and this host names none" in failure(path, role)
        assert load(path, ["journal.durability=off"], role).control.state_dir is None
        assert load(path, ["control.state_dir=/s"], role).control.state_dir == Path("/s")
    assert load(path, ["journal.path=j"], "master").journal.path == Path("j")
    assert load(path, [], "controller").control.state_dir is None


def test_given_keys_without_a_value_when_they_are_computed_then_they_still_are(folder: Path) -> None:
    settings = load(
        write(folder, "[control]\nname =\npid_file = run/node a.pid\n"), ["control.pid_file=x/c7.pid"], "controller"
    )
    assert settings.control.name == f"{os.uname().nodename}-c7"
    assert origin(settings, "control", "name") == "computed"


def test_given_a_pid_file_when_cyclone_run_ignores_it_then_its_name_does_not_come_from_it(folder: Path) -> None:
    settings = load(write(folder, f"[control]\npid_file = c.pid\n{GENERATOR}"), [], "run")
    assert settings.control.name == f"{os.uname().nodename}-{os.getpid()}"


def test_given_a_pid_file_with_odd_characters_when_the_name_is_computed_then_it_is_a_name(folder: Path) -> None:
    path = write(folder, f"[control]\npid_file = /run/my controller#1{'x' * 250}.pid\n")
    name = load(path, [], "controller").control.name
    assert name.startswith(f"{os.uname().nodename}-my-controller-1xxx")
    assert len(name) == 255


@pytest.mark.parametrize(("role", "expected"), [("master", False), ("run", True)])
def test_given_no_exit_when_done_when_loaded_then_the_role_decides(folder: Path, role: Role, expected: bool) -> None:
    path = write(folder, GENERATOR)
    assert load(path, [], role).control.exit_when_done is expected
    assert load(path, [f"control.exit_when_done={not expected}"], role).control.exit_when_done is not expected


# --- old files


def test_given_a_master_file_of_the_original_when_loaded_then_it_is_understood(folder: Path) -> None:
    text = """[control]
pid_file                  = ./Runtime/master.pid
controller_timeout        = 20
controller_wait_duration  = 1
task_resend_timeout       = 28800

[comm]
target          = *
port            = 5678
poll_timeout    = 1

[log]
filename        = ./Runtime/master.log

[task_generator]
#module = task.generator.benchmark_task_generator
module = task.generator.lustre
class = LustreGenerator
config_file = ./Configuration/lustre.conf
"""
    (Path.cwd() / "Configuration").mkdir()
    write(
        Path.cwd() / "Configuration", "[control]\nlocal_mode = on\n[control.local_mode]\nnum_osts = 10\n", "lustre.conf"
    )
    settings = load(write(folder, text), [], "master")
    assert settings.control.task_resend_timeout_s == 28800
    assert settings.comm.target == "*"
    assert settings.task_generator.class_path == "task.generator.lustre:LustreGenerator"
    assert settings.generator_options == {"control": {"local_mode": "on"}, "control.local_mode": {"num_osts": "10"}}
    assert settings.generator_options_path == Path("Configuration/lustre.conf")


def test_given_a_controller_file_of_the_original_when_loaded_then_it_is_understood(folder: Path) -> None:
    path = write(
        folder, "[control]\nversion = 1.4.1\n[comm]\nrequest_retry_wait_duration = 5\n[processing]\nworker_count = 4\n"
    )
    settings = load(path, [], "controller")
    assert settings.control.request_retry_wait_duration_s == 5
    assert origin(settings, "control", "request_retry_wait_duration") == f"{path}:4"
    assert "1.4.1" in explain(settings)
    assert "(not used any more)" in explain(settings)


def test_given_the_old_and_the_new_place_of_a_key_when_loaded_then_one_must_go(folder: Path) -> None:
    path = write(folder, "[comm]\nrequest_retry_wait_duration = 5\n[control]\nrequest_retry_wait_duration = 6\n")
    assert (
        failure(path)
        == f"{path}:4: [control] request_retry_wait_duration: {path}:2 gives it too, keep that in [control]"
    )


# --- --check-config


def test_given_settings_when_explained_then_the_columns_are_aligned_and_secrets_are_not_shown(folder: Path) -> None:
    path = write(folder, f"{GENERATOR}[store]\npassword = pssst\nhost = a\n  b\n")
    settings = load(path, ["control.crash_limit=9"], "master")
    text = explain(settings)
    lines = text.split("\n")
    column = lines[0].index("ORIGIN")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)
    assert re.search(r"^\[control\] +crash_limit +9 +--set$", text, re.M)
    assert re.search(r"^\[control\] +controller_timeout +15s +default$", text, re.M)
    assert re.search(rf"^\[store\] +host +a\\nb +{re.escape(str(path))}:6 \(generator\)$", text, re.M)
    assert "pssst" not in text
    assert "pssst" not in repr(settings)
    assert len(lines) == 1 + len(settings.rows()) + 2


@pytest.mark.parametrize(
    ("text", "shown"), [("0", "0"), ("64MiB", "64MiB"), ("100MB", "100000000"), ("1536", "1536"), ("2 T", "2TiB")]
)
def test_given_a_size_when_shown_then_it_is_exact_and_can_be_read_again(text: str, shown: str) -> None:
    read = size().read
    assert show(read(text)) == shown
    assert read(shown) == read(text)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("task_modules=tasks, os.path:join", "'os.path:join' is not a module"),
        ("task_modules=tasks,,acme", "'' is not a module"),
        ("environment_keep=SLURM_*, A=b", "'A=b' is not a variable's name"),
        ("task_memory_max=1MiB", "is too little: 0, or at least 64 MiB"),
        ("stdout_max_bytes=much", "is not a size"),
        ("namespaces=a b", "'a b' is not a label, such as gpu or rack:7"),
        (f"labels={','.join(map(str, range(65)))}", "65 are too many, 64 are possible"),
        ("resources=licence", "'licence' is no resource and its amount, such as licence:2"),
        ("resources=licence:0", "'licence:0' is no resource and its amount"),
        ("resources=ost:1:2, ost:1:3", "name each resource once"),
        ("memory=some", "'some' is not a size"),
    ],
)
def test_given_what_a_controller_lets_its_workers_do_when_it_makes_no_sense_then_it_is_an_error(
    override: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)):
        load(None, [f"processing.{override}"], "controller")
