"""``cyclone run --dry-run``: what a generator would do, and nothing done."""

from pathlib import Path

import pytest

from cyclone.cli import common, main

MIGRATION = """
[control]
state_dir = state
[task_generator]
class = task_generators.lustre_ost_migration:LustreOstMigrationTaskGenerator
[migration]
input_dir = input
ost_targets = 8-11
ost_fill_level_threshold_source = 50
ost_fill_level_threshold_target = 80
local_mode = yes
num_osts = 12
[lustre]
fs_path = /lustre
"""
SUM = "[task_generator]\nclass = task_generators.sum:SumTaskGenerator\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "all.input").write_text("0 /lustre/a\n1 /lustre/b\n1 /lustre/c\n")
    return tmp_path


def dry_run(folder: Path, configuration: str) -> int:
    (folder / "run.conf").write_text(configuration)
    return common.guarded("cyclone", main._run, ["run", "-f", "run.conf", "--dry-run"])


def test_given_a_migration_then_its_plan_is_printed_and_nothing_is_touched(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry_run(folder, MIGRATION) == 0
    printed = capsys.readouterr().out
    assert "1 files, 3 paths" in printed
    assert "SOURCE" in printed
    assert sorted(path.name for path in folder.rglob("*")) == ["all.input", "input", "run.conf"]


def test_given_a_generator_that_cannot_tell_then_that_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dry_run(folder, SUM) == common.EXIT_CONFIG
    assert "SumTaskGenerator cannot tell what it would do" in capsys.readouterr().err
