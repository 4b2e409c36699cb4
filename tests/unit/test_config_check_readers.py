"""``cyclone config check``: who reads a file, by its sections and keys, and what becomes of one for two daemons."""

from pathlib import Path

import pytest

from cyclone.cli.main import _run
from cyclone.config_check import check

_BOTH = "[clients]\nsubmit = yes\n[journal]\npath = j\n[processing]\nworker_count = 2\n"


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("[clients]\nsubmit = yes\n", "master"),
        ("[journal]\npath = jobs.journal\n", "master"),
        ("[tasks]\nretries = 1\n", "master"),
        ("[processing]\n", "controller"),
        (_BOTH, "master, controller"),
        ("[processing]\n[task_generator]\n[control]\nnum_tasks = 5\n", "master, controller"),
        ("[processing]\n[control]\ncontroller_timeout = 9\n", "controller"),
        ("[db]\n[push]\n", "database_proxy, pushgateway_client"),
        # Sections of several daemons, by their keys.
        ("[sink]\ntargets = localhost:9\n", "master"),
        ("[sink]\nresults = yes\n", "database_proxy"),
        ("[comm]\ntarget = head\nkey_file = key\n", "controller"),
        ("[control]\nnum_tasks = 5\ncontroller_timeout = 9\n", "benchmark"),
    ],
)
@pytest.mark.parametrize("name", ["x.conf", "pushgateway.conf"])
def test_given_sections_of_daemons_then_each_of_these_reads_the_file_whatever_its_name(
    name: str, text: str, scope: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    assert check(tmp_path / name).scope == scope


@pytest.mark.parametrize(
    ("more", "errors"),
    [
        ("", []),
        ("[comm]\nport = 0\n", ["[comm] port: '0' is not a whole number from 1 to 65535"]),
        ("[comm]\ntarget = *\n", ["[comm] target: '*' is an address to bind, for a master; write the master's host"]),
        ("[metrics]\nport = 5678\n", ["[metrics] port: '5678' is the port in [comm], too, and each needs one of its"]),
        ("[comm]\ntarget = *\n[metrics]\nport = 5678\n", ["[metrics] port: '5678'", "[comm] target: '*'"]),
    ],
)
def test_given_a_file_for_two_daemons_then_it_is_judged_as_both_and_each_mistake_told_once(
    more: str, errors: list[str], tmp_path: Path
) -> None:
    (tmp_path / "jobs.conf").write_text(_BOTH + more)
    report = check(tmp_path / "jobs.conf")
    assert [text in error for text, error in zip(errors, report.errors, strict=True)] == [True] * len(errors)
    told = [(one.section, one.key, one.origin) for one in report.findings]
    assert len(told) == len(set(told))
    assert [one.fate for one in report.findings if one.key == "worker_count"] == ["same"]


def test_given_a_file_for_two_daemons_and_a_role_then_it_is_judged_as_that_alone(tmp_path: Path) -> None:
    (tmp_path / "jobs.conf").write_text(_BOTH + "[comm]\ntarget = *\n")
    assert check(tmp_path / "jobs.conf", "master").errors == []
    assert len(check(tmp_path / "jobs.conf", "controller").errors) == 1


def test_given_a_file_for_two_daemons_then_what_each_has_in_effect_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "jobs.conf"
    path.write_text(_BOTH)
    assert _run(["config", "show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith(str(path))] == [f"{path}: master", f"{path}: controller"]
