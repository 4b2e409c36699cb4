"""The two generators of rounds as they are shipped, without a Lustre. What a round is has its tests in unit/lustre."""

from pathlib import Path
from typing import Any

import pytest

import task_generators.lustre_file_creation
from cyclone import BaseTaskGenerator
from cyclone.errors import ConfigError
from cyclone.taskfile import read_task_file
from task_generators.lustre_file_creation import LustreFileCreationTaskGenerator
from task_generators.lustre_ost_monitoring import LustreOstMonitoringTaskGenerator
from tests.support.drive import drive
from tests.support.lustre_calls import AnsweringLfs, files, refusal
from tests.unit.task_generators.test_shipped_configurations import FOLDER, shipped


def started(name: str, **changes: dict[str, str]) -> BaseTaskGenerator:
    """A shipped generator for one round of four OSTs."""
    changes = {"monitoring": {"rounds": "1"}, "lustre": {"ost_select_list": "0-2,OST000a"}} | changes
    generator = shipped(name, **changes)
    generator._wait = lambda _: None
    return generator


def test_given_the_shipped_monitoring_then_each_ost_is_measured(tmp_path: Path) -> None:
    folder = {"target_dir": str(tmp_path), "total_size_bytes": "64KiB"}
    generator = started("lustre_ost_monitoring.conf", probe=folder)
    assert isinstance(generator, LustreOstMonitoringTaskGenerator)

    results = drive(generator)

    assert [result.value["ost"] for result in results] == ["OST0000", "OST0001", "OST0002", "OST000a"]
    assert all(result.value["write_bytes_per_s"] > 0 < result.value["read_bytes_per_s"] for result in results)
    assert files(tmp_path) == []
    assert generator.summary() == {"rounds": 1, "probes": 4, "failed": 0, "left_out": 0, "skipped_rounds": 0}


def test_given_the_shipped_file_creation_then_each_ost_is_checked_with_each_mdt(tmp_path: Path) -> None:
    generator = started("lustre_file_creation.conf", probe={"target_base_dir": str(tmp_path)})
    assert isinstance(generator, LustreFileCreationTaskGenerator)

    results = drive(generator)

    assert [result.value for result in results] == [{"ok": [0, 1, 2], "failed": [], "error": [], "ignored": []}] * 4
    assert files(tmp_path) == ["cyclone-mdt0", "cyclone-mdt1", "cyclone-mdt2"]


@pytest.mark.parametrize("name", ["LustreIOTask", "LustreAlertIOTask"])
def test_given_a_task_of_the_shipped_file_then_it_can_be_monitored_with(name: str, tmp_path: Path) -> None:
    probe = {"task_name": name, "target_dir": str(tmp_path), "total_size_bytes": "4KiB"}

    assert all(result.ok for result in drive(started("lustre_ost_monitoring.conf", probe=probe)))


def without_task_file(generator: type[BaseTaskGenerator], osts: str = "", **probe: str) -> BaseTaskGenerator:
    monitoring = {"local_mode": "yes", "rounds": "1"}
    made = generator({"monitoring": monitoring, "lustre": {"ost_select_list": osts}, "probe": probe}, FOLDER)
    made._wait = lambda _: None
    return made


def test_given_no_task_file_then_the_defaults_will_do(tmp_path: Path) -> None:
    measures = {"target_dir": str(tmp_path), "total_size_bytes": "4KiB"}
    assert len(drive(without_task_file(LustreOstMonitoringTaskGenerator, "8-9", **measures))) == 2

    checks = {"target_base_dir": str(tmp_path), "mdt_index_rangeset": "0"}
    assert len(drive(without_task_file(LustreFileCreationTaskGenerator, **checks))) == 100
    assert files(tmp_path) == ["mdt0"]


@pytest.mark.parametrize(
    ("generator", "missing"),
    [(LustreOstMonitoringTaskGenerator, "target_dir"), (LustreFileCreationTaskGenerator, "target_base_dir")],
)
def test_given_no_folder_for_the_files_then_the_error_says_so(generator: Any, missing: str) -> None:
    with pytest.raises(ConfigError, match=rf"^\[probe\]: .*{missing}"):
        without_task_file(generator)


def file_creation(monkeypatch: pytest.MonkeyPatch, lfs: AnsweringLfs) -> BaseTaskGenerator:
    """Of one round on a Lustre of one OST."""
    monkeypatch.setattr(task_generators.lustre_file_creation, "Lfs", lfs.of())
    monkeypatch.setattr(LustreFileCreationTaskGenerator, "_present", lambda _: {0})
    config = {
        "monitoring": {"rounds": "1"},
        "lustre": {"target": "lustrefs"},
        "probe": {"target_base_dir": "/lustre", "mdt_index_rangeset": "0-1"},
    }
    made = LustreFileCreationTaskGenerator(config)
    made._wait = lambda _: None
    return made


def test_given_a_folder_on_another_mdt_then_the_error_says_how_to_make_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lfs = AnsweringLfs(dir_mdt_index=[0, 2])
    with pytest.raises(ConfigError, match=r"/lustre/mdt1 lies on MDT 2, not 1: make it by lfs mkdir -i 1$"):
        list(file_creation(monkeypatch, lfs).generate())

    assert lfs.calls == [("dir_mdt_index", "/lustre/mdt0"), ("dir_mdt_index", "/lustre/mdt1")]


def test_given_folders_that_cannot_be_seen_from_here_then_the_workers_will_tell(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lfs = AnsweringLfs(dir_mdt_index=[0, refusal("no such file", "no such folder")])

    assert len(list(file_creation(monkeypatch, lfs).generate())) == 1
    assert "nobody knows on which MDT /lustre/mdt1 lies: no such folder" in caplog.text


def test_given_the_shipped_task_file_then_each_task_is_what_its_class_takes() -> None:
    for template in read_task_file(FOLDER / "lustre_tasks.xml").values():
        assert template.task_class().__name__ == template.name
        assert set(template.left_out) <= {"ost_idx", "filename", "source_ost", "target_ost"}
        assert template.warnings == ()
