"""The keys of a migration, under the names and in the sections of the original too."""

from pathlib import Path
from typing import Any

import pytest

from cyclone.errors import ConfigError
from cyclone.generator import BaseTaskGenerator
from cyclone.lustre.migration_options import MigrationOptions, read_options

Sections = dict[str, dict[str, str]]


def read(folder: Path, sections: Sections | None = None, /, **migration: Any) -> MigrationOptions:
    given = {
        "migration": {
            "input_dir": str(folder),
            "ost_targets": "4-7",
            "ost_fill_level_threshold_source": "60",
            "ost_fill_level_threshold_target": "70",
            **migration,
        },
        "lustre": {"fs_path": "/lustre"},
    }
    for name, keys in (sections or {}).items():
        given.setdefault(name, {}).update(keys)
    return read_options(BaseTaskGenerator(given, folder))


def test_given_a_file_of_the_original_then_it_is_understood(tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.xml"
    tasks.touch()
    options = read(
        tmp_path,
        {
            "control": {"local_mode": "True"},
            "control.local_mode": {"num_osts": "50"},
            "control.threshold": {"update_fill_level": "60", "reload_files": "30", "print_caches": "15"},
            "task": {"task_file": str(tasks), "task_name": "migrate"},
        },
    )
    assert options.local_osts == 50
    assert (options.update_fill_level_s, options.reload_files_s, options.status_s) == (60, 30, 15)
    assert (options.task.task_file, options.task.task_name) == (tasks, "migrate")
    assert options.rules.targets == {4, 5, 6, 7}
    assert (options.rules.source_threshold, options.rules.target_threshold) == (60, 70)
    assert (options.rules.streams_per_source, options.rules.streams_per_target, options.ends) == (1, 1, False)


def test_given_the_names_of_the_originals_documentation_then_they_are_read(tmp_path: Path) -> None:
    names = {"ost_fill_level_threshold_source": "", "ost_fill_level_threshold_target": ""}
    options = read(tmp_path, ost_fill_threshold_source="55", ost_fill_threshold_target="65.5%", **names)
    assert (options.rules.source_threshold, options.rules.target_threshold) == (55, 65.5)


def test_given_nothing_else_then_files_lie_beside_the_input(tmp_path: Path) -> None:
    options = read(tmp_path)
    assert options.state_dir == tmp_path / "state"
    assert options.pause_file == tmp_path / "pause"
    assert options.status_file == tmp_path / "state" / "status.json"
    assert options.fill_level_max_age_s == 300
    assert read(tmp_path, update_fill_level="10m").fill_level_max_age_s == 3000


def test_given_auto_then_streams_adapt(tmp_path: Path) -> None:
    rules = read(tmp_path, streams_per_target="auto", streams_auto_max="5").rules
    assert (rules.adapts, rules.streams_per_target) == (True, 5)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ost_targets": "7-4"}, r"\[migration\] ost_targets = 7-4"),
        ({"ost_fill_level_threshold_source": "101"}, "threshold_source = 101: expected per cent"),
        ({"ost_fill_threshold_target": "70"}, "are the same: keep one"),
        ({"ost_fill_level_threshold_target": "much"}, "threshold_target = much: expected per cent"),
        ({"streams_per_target": "some"}, "expected a whole number of at least 1, or auto"),
        ({"when_done": "stop"}, "expected wait or end"),
        ({"bandwidth": "fast"}, "bandwidth = fast: 'fast' is not a size"),
        ({"csv_columns": "path, size"}, "ost, and path or fid, are needed"),
        ({"input_dir": "nowhere"}, "input_dir = nowhere: there is no"),
        ({"block": "perhaps"}, "block = perhaps"),
    ],
)
def test_given_a_mistake_then_the_key_is_named(tmp_path: Path, keys: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, **keys)


def test_given_no_mount_point_then_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fs_path is missing"):
        read(tmp_path, {"lustre": {"fs_path": ""}})
    with pytest.raises(ConfigError, match="begins with /"):
        read(tmp_path, {"lustre": {"fs_path": "lustre"}})
