"""``cyclone config check``: the original's files are understood, and what changes is said."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from cyclone.cli.main import _run
from cyclone.config_check import ROLES, SCOPES, Report, check
from cyclone.config_keys import BY_PLACE
from cyclone.errors import ConfigError
from cyclone.original import GENERATORS, KEYS, current_generator

ROOT = Path(__file__).parents[2]
# As the original's users have them.
ORIGINAL: Mapping[str, str] = {
    "master.conf": """[control]
pid_file = ./Runtime/master.pid
controller_timeout = 20
controller_wait_duration = 1
task_resend_timeout = 28800
[comm]
target = *
port = 5678
poll_timeout = 1
[log]
filename = ./Runtime/master.log
[task_generator]
module = task.generator.lustre_ost_monitoring_task_generator
class = LustreOstMonitoringTaskGenerator
config_file = ./monitoring.conf
""",
    "controller.conf": """[control]
version = 1.4.1
pid_file = ./Runtime/controller.pid
max_num_request_retries = 3
[comm]
target = 127.0.0.1
port = 5678
poll_timeout = 5
request_retry_wait_duration = 5
[log]
filename = ./Runtime/controller.log
[processing]
worker_count = 4
""",
    "database-proxy.conf": """[control]
version = 1.4
pid_file = /var/run/lfsm/database-proxy.pid
[comm]
target = *
port = 5777
poll_timeout = 10
[db]
host = db.example.org
user = cyclone
password = open sesame
database = lustre
table = OST_PERF
store_timeout = 300
store_max_count = 1000
[log]
filename = /var/log/lfsm/database-proxy.log
""",
    "pushgateway-client.conf": """[control]
pid_file = ./Runtime/pushgateway-client.pid
[push]
interval = 60
url = http://localhost:9091/metrics/job/cyclone
clear_interval = 86400
timeout = 15
[comm]
target = 127.0.0.1
port = 5888
poll_timeout = 2
[log]
filename =
""",
    "monitoring.conf": """[control]
local_mode = ON
measure_interval = 60
[task]
task_file = ./tasks.xml
task_name = EmptyTask
[lustre]
lfs_bin = /usr/bin/lfs
target = fs-name
ost_select_list =
""",
    "migration.conf": """[control]
local_mode = on
[control.local_mode]
num_osts = 10
[control.threshold]
reload_files = 30
print_caches = 30
update_fill_level = 30
[task]
task_file = ./tasks.xml
task_name = EmptyTask
[migration]
input_dir = Input
ost_fill_level_threshold_source = 50
ost_fill_level_threshold_target = 50
ost_targets = 1-3,5,8
[lustre]
fs_path = /lustre
""",
    "benchmark.conf": """[control]
num_tasks = 1000
poll_time_ms = 500
""",
}
SCOPE_OF = {
    "master.conf": "master",
    "controller.conf": "controller",
    "database-proxy.conf": "database_proxy",
    "pushgateway-client.conf": "pushgateway_client",
    "monitoring.conf": "ost_monitoring",
    "migration.conf": "ost_migration",
    "benchmark.conf": "benchmark",
}
TASKS = '<tasks>\n<task name="EmptyTask">\n<class module="task.empty_task" name="EmptyTask"/>\n</task>\n</tasks>\n'


@pytest.fixture(autouse=True)
def original(tmp_path: Path) -> None:
    """A folder as the original's user comes with."""
    for name, text in ORIGINAL.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "tasks.xml").write_text(TASKS)


def changed(folder: Path, name: str, old: str, new: str) -> Report:
    assert ORIGINAL[name].count(old) == 1
    (folder / name).write_text(ORIGINAL[name].replace(old, new))
    return check(folder / name)


@pytest.mark.parametrize("name", ORIGINAL)
def test_given_a_file_of_the_original_then_it_is_good_and_its_reader_found(name: str, tmp_path: Path) -> None:
    report = check(tmp_path / name)

    assert report.errors == []
    assert report.scope == SCOPE_OF[name]
    # Each of its keys is known as one of the original's.
    assert [one for one in report.findings if one.fate == "new"] == []
    lines = len([line for line in ORIGINAL[name].splitlines() if "=" in line])
    assert len([one for one in report.findings if one.origin]) == lines


@pytest.mark.parametrize(("name", "scope"), SCOPE_OF.items())
def test_given_another_name_then_the_sections_tell_the_reader(name: str, scope: str, tmp_path: Path) -> None:
    shutil.copy(tmp_path / name, tmp_path / "x.ini")
    assert check(tmp_path / "x.ini").scope == scope


@pytest.mark.parametrize(("name", "scope"), list(SCOPE_OF.items())[:4])
def test_given_sections_that_tell_nothing_then_the_name_tells_the_reader(name: str, scope: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("[log]\nlevel = info\n")
    assert check(tmp_path / name).scope == scope


def test_given_neither_then_the_role_has_to_be_said(tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text("[log]\nlevel = info\n")
    assert "add --role master|controller|" in check(tmp_path / "x.conf").errors[0]
    assert check(tmp_path / "x.conf", "controller").errors == []


@pytest.mark.parametrize(
    ("name", "fates"),
    [
        ("master.conf", {"[control] controller_wait_duration": "unused"}),
        ("controller.conf", {"[control] version": "unused"}),
        ("database-proxy.conf", {"[control] version": "unused"}),
        ("pushgateway-client.conf", {"[push] clear_interval": "unused"}),
        ("monitoring.conf", {}),
        ("migration.conf", {}),
        ("benchmark.conf", {"[control] poll_time_ms": "unused"}),
    ],
)
def test_given_a_file_of_the_original_then_what_is_not_the_same_is_said(
    name: str, fates: dict[str, str], tmp_path: Path
) -> None:
    expected = fates | ({"[comm] request_retry_wait_duration": "same"} if name == "controller.conf" else {})
    found = {f"[{one.section}] {one.key}": one.fate for one in check(tmp_path / name).findings if one.origin}
    assert {key: fate for key, fate in found.items() if fate != "same" or key in expected} == expected


def test_given_a_key_that_is_left_out_then_another_default_is_said(tmp_path: Path) -> None:
    report = changed(tmp_path, "database-proxy.conf", "store_timeout = 300\n", "")
    [one] = [one for one in report.findings if not one.origin]
    assert (one.section, one.key, one.fate, one.now) == ("db", "store_timeout", "default", "5s")


@pytest.mark.parametrize(
    ("name", "old", "new", "error"),
    [
        ("database-proxy.conf", "password", "passwd", "[db] passwd: no such key; it is [db] password now"),
        ("pushgateway-client.conf", "[push]\ninterval", "push_interval", "it is [push] interval now"),
        ("controller.conf", "worker_count = 4", "worker_count = many", "not a whole number"),
        ("master.conf", "port", "prot", "did you mean port?"),
        ("master.conf", "./monitoring.conf", "./gone.conf", "'./gone.conf' is no file"),
        ("monitoring.conf", "ost_select_list =", "ost_select_list = all", "'all' is not a range of numbers"),
        ("migration.conf", "1-3,5,8", "8-1", "[migration] ost_targets: '8-1' begins behind its end"),
        ("migration.conf", "EmptyTask", "OstMigrate", "has no task 'OstMigrate': it has EmptyTask"),
        ("migration.conf", "[migration]", "migration", "is not understood"),
        ("migration.conf", "reload_files = 30", "reload_files = soon", "reload_files: 'soon' is not a duration"),
        ("migration.conf", "num_osts = 10", "num_osts = ten", "[control.local_mode] num_osts: 'ten' is not a whole"),
        ("monitoring.conf", "local_mode = ON", "local_mode = maybe", "[control] local_mode: 'maybe' is neither yes"),
        ("benchmark.conf", "1000", "many", "[control] num_tasks: 'many' is not a whole number"),
        # What only its daemon would find.
        (
            "pushgateway-client.conf",
            "http://localhost",
            "ftp://localhost",
            "[push] url: 'ftp://localhost:9091/metrics/j",
        ),
        ("database-proxy.conf", "OST_PERF", "OST_PERF\nlayout = nosuch", "[db] layout"),
        ("database-proxy.conf", "user = cyclone", "user = cyclone\npassword_file = x", "there is a password too"),
    ],
)
def test_given_a_mistake_then_file_line_and_what_would_be_right_are_said(
    name: str, old: str, new: str, error: str, tmp_path: Path
) -> None:
    report = changed(tmp_path, name, old, new)
    assert len(report.errors) == 1
    assert error in report.errors[0]
    assert report.errors[0].startswith(f"{tmp_path / name}:")


def test_given_ost_targets_in_hexadecimal_on_request_then_they_are_good(tmp_path: Path) -> None:
    assert changed(tmp_path, "migration.conf", "1-3,5,8", "1-1f").errors != []
    assert changed(tmp_path, "migration.conf", "1-3,5,8", "1-1f\nhexadecimal = yes").errors == []


def test_given_a_key_of_a_generator_nearly_as_the_originals_then_it_warns(tmp_path: Path) -> None:
    [warning] = changed(tmp_path, "monitoring.conf", "measure_interval", "mesure_interval").warnings
    assert warning == (
        f"{tmp_path}/monitoring.conf:3: [control] mesure_interval: the original has no such key; did you mean "
        "measure_interval? A generator passes over what it does not know"
    )
    assert changed(tmp_path, "monitoring.conf", "lfs_bin = /usr/bin/lfs", "sudo = yes\nrounds = 2").warnings == []


def test_given_a_task_file_that_is_broken_then_it_is_an_error_and_a_missing_one_a_warning(tmp_path: Path) -> None:
    (tmp_path / "tasks.xml").write_text("<tasks>")
    assert "tasks.xml" in check(tmp_path / "monitoring.conf").errors[0]
    (tmp_path / "tasks.xml").unlink()
    report = check(tmp_path / "monitoring.conf")
    assert (report.errors, len(report.warnings)) == ([], 1)
    assert "is not on this host" in report.warnings[0]
    report = changed(tmp_path, "monitoring.conf", "./tasks.xml", "/absent/tasks.xml")
    assert report.warnings[0].endswith("'/absent/tasks.xml' is not on this host; looked for /absent/tasks.xml")


def test_given_a_task_file_then_its_own_check_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tasks.xml"
    assert check(path).errors == [f"{path}: is a task file by its name: cyclone taskfile check {path}"]


def test_given_every_interface_without_keys_then_it_warns_for_each_role(tmp_path: Path) -> None:
    [warning, former] = check(tmp_path / "master.conf").warnings
    assert "[comm] target = * is not loopback alone, and there are no keys" in warning
    assert warning.endswith("It will not start so")
    assert "task_generators.lustre_ost_monitoring:LustreOstMonitoringTaskGenerator now" in former
    assert len(check(tmp_path / "database-proxy.conf").warnings) == 1
    [warning] = changed(tmp_path, "database-proxy.conf", "target = *", "target = *\ninsecure = yes").warnings
    assert warning.endswith("It starts all the same: insecure = yes")


def test_given_several_files_then_the_command_reports_each_and_its_exit_code_is_of_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(tmp_path / name) for name in ORIGINAL]
    assert _run(["config", "check", *paths]) == 0
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if not line.startswith(" ")] == [
        f"{path}: {scope}" for path, scope in zip(paths, SCOPE_OF.values(), strict=True)
    ]
    assert "open sesame" not in printed

    assert _run(["config", "check", paths[0], str(tmp_path / "none.conf")]) == 78
    assert capsys.readouterr().out.endswith("none.conf: no such configuration file\n  bad\n")


def test_given_the_help_then_it_names_every_role(capsys: pytest.CaptureFixture[str]) -> None:
    for action, roles in (("check", SCOPES), ("show", ROLES)):
        with pytest.raises(SystemExit):
            _run(["config", action, "--help"])
        assert f"who reads it: {', '.join(roles)} (default" in " ".join(capsys.readouterr().out.split())


def test_given_json_then_one_object_holds_it_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["config", "check", "--json", str(tmp_path / "benchmark.conf")]) == 0
    [report] = json.loads(capsys.readouterr().out)["files"]
    assert (report["scope"], report["errors"]) == ("benchmark", [])
    assert [one["fate"] for one in report["findings"]] == ["same", "unused"]


def test_given_a_file_to_show_then_it_is_what_check_config_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["config", "show", str(tmp_path / "controller.conf")]) == 0
    assert "[processing]  worker_count" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="benchmark is a generator: its file is shown with the one of the master"):
        _run(["config", "show", str(tmp_path / "benchmark.conf")])
    with pytest.raises(ConfigError, match="--role clerk: expected one of master, controller"):
        _run(["config", "show", "--role", "clerk", str(tmp_path / "controller.conf")])


def test_given_a_client_whose_address_holds_a_password_then_it_is_shown_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "push.conf"
    path.write_text("[push]\nurl = http://me:pssst@gateway\n")
    assert _run(["config", "check", str(path)]) == 78
    assert "url: 'http://...@gateway' holds a user" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="holds a user"):
        _run(["config", "show", str(path)])
    assert "pssst" not in capsys.readouterr().out


# Shipped with one line to be filled in, without which their daemon does not start either.
TO_BE_FILLED_IN = {"pushgateway_client.conf": "[push] url: is empty, and so is textfile"}


@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "Configuration").glob("*.conf"))])
def test_given_a_shipped_file_then_it_is_good(name: str) -> None:
    errors = check(ROOT / "Configuration" / name).errors
    if name in TO_BE_FILLED_IN:
        assert len(errors) == 1
        assert TO_BE_FILLED_IN[name] in errors[0]
    else:
        assert errors == []


def test_given_the_table_then_it_agrees_with_the_keys_that_there_are() -> None:
    for change in KEYS:
        assert change.scope in SCOPES
        if change.scope in GENERATORS:
            continue
        section, _, name = change.name[1:].partition("] ")
        key = BY_PLACE.get((section, name))
        assert (key is None) == (change.fate == "renamed"), change.name
        assert key is None or key.accepted_only == (change.fate == "unused"), change.name
        if change.fate == "default":
            assert key
            assert dict(key.defaults).get(change.scope, key.default) == change.now, change.name  # type: ignore[call-overload]


def test_given_the_table_then_nothing_is_in_it_twice_and_what_changed_has_a_reason() -> None:
    assert len({(change.scope, change.name) for change in KEYS}) == len(KEYS)
    assert [change.name for change in KEYS if not change.why] == []


@pytest.mark.parametrize(
    ("path", "now"),
    [
        ("task.generator.benchmark_task_generator:BenchmarkTaskGenerator", GENERATORS["benchmark"]),
        (
            "task.generator.lustre_ost_migration_task_generator:LustreOstMigrationTaskGenerator",
            GENERATORS["ost_migration"],
        ),
        ("task.generator.mine:Mine", "task.generator.mine:Mine"),
        ("mine:BenchmarkTaskGenerator", "mine:BenchmarkTaskGenerator"),
        ("task_generators.sum:SumTaskGenerator", "task_generators.sum:SumTaskGenerator"),
        ("", ""),
    ],
)
def test_given_a_generator_of_the_original_then_it_is_found_under_its_name_now(path: str, now: str) -> None:
    assert current_generator(path) == now
