"""``cyclone-database-proxy``: what it prints without a server, and how it refuses."""

import sys
from pathlib import Path

import pytest

from cyclone.cli.common import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, guarded
from cyclone.cli.database_proxy import _run
from tests.support.config_files import separate_folders


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = separate_folders(tmp_path, monkeypatch)
    path = folder / "proxy.conf"
    path.write_text(f"[control]\nstate_dir = {tmp_path}/state\n[db]\nhost = db\ndatabase = d\npassword = topsecret\n")
    return path


def run(config: Path, *arguments: str) -> int:
    return guarded("cyclone-database-proxy", _run, ["-f", str(config), *arguments])


def test_given_a_server_when_its_statements_are_printed_then_nobody_is_asked(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config, "--print-ddl", "--set", "db.table=ost_performance") == EXIT_OK
    printed = capsys.readouterr().out
    assert printed.count(";\n") == 4
    assert "CREATE TABLE `lustre_ost_io` (" in printed
    assert "CREATE VIEW `ost_performance` AS SELECT" in printed
    assert "CAST(ROUND(COALESCE(`read_s`, -1)) AS SIGNED) AS `read_duration`" in printed


def test_given_sqlite_when_its_tables_are_made_then_they_are_those_that_were_printed(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sets = ["--set", "db.driver=sqlite", "--set", f"db.path={tmp_path}/x.sqlite", "--set", "db.layout=lustre-original"]
    assert run(config, "--print-ddl", *sets) == EXIT_OK
    assert 'CREATE TABLE IF NOT EXISTS "ost_io"' in capsys.readouterr().out
    assert run(config, "--create-table", *sets) == EXIT_OK
    assert capsys.readouterr().out == f"{tmp_path}/x.sqlite has all tables of layout lustre-original\n"


def test_given_json_lines_when_asked_for_tables_then_there_are_none(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("--print-ddl", "--create-table"):
        assert run(config, verb, "--set", "db.driver=jsonlines") == EXIT_OK
        assert capsys.readouterr() == ("", "the driver jsonlines has no tables\n")


def test_given_a_password_when_the_configuration_is_shown_then_it_is_not(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(config, "--check-config") == EXIT_OK
    shown = "".join(capsys.readouterr())
    assert "topsecret" not in shown
    assert "(not shown)" in shown


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("db.layout=lustr", "did you mean lustre?"),
        ("db.layout=results", "write results = yes in [sink]"),
        ("db.host=db:x", "[db] host: 'db:x': 'x' is no port"),
        ("db.database=", "[db] database: is empty"),
        ("db.password_file=/no/such", "there is a password too"),
    ],
)
def test_given_what_cannot_work_when_started_then_it_is_bad_configuration(
    config: Path, capsys: pytest.CaptureFixture[str], override: str, problem: str
) -> None:
    assert run(config, "--set", override) == EXIT_CONFIG
    assert problem in capsys.readouterr().err


def test_given_no_driver_when_started_then_the_error_says_what_to_install(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mysql.connector", None)
    assert run(config) == EXIT_CONFIG
    assert "pip install 'cyclone[mysql]'" in capsys.readouterr().err


def test_given_a_server_that_is_not_there_when_tables_are_to_be_made_then_it_failed(
    config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(config, "--create-table", "--set", "db.host=", "--set", f"db.socket={tmp_path}/none") == EXIT_FAILED
    error = capsys.readouterr().err
    assert f"socket {tmp_path}/none: 2002" in error
    assert "topsecret" not in error
