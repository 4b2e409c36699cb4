"""The section that says of which task a Lustre generator makes its tasks."""

from pathlib import Path
from typing import Any

import pytest

from cyclone import BaseTask, BaseTaskGenerator
from cyclone.errors import ConfigError
from cyclone.lustre.configured_task import ConfiguredTask

DEFAULT = "tasks.lustre_io:LustreIOTask"
KNOWN = {
    "block_size_bytes": 1 << 20,
    "total_size_bytes": 1 << 26,
    "write_file_sync": True,
    "lfs_bin": "lfs",
    "lfs_target": "lustrefs",
    "nobody_takes_this": 1,
}
TASK_FILE = """<tasks>
  <task name="IO">
    <class module="tasks.lustre_io" name="LustreIOTask"/>
    <property>
      <block_size_bytes>4096</block_size_bytes>
      <total_size_bytes>8192</total_size_bytes>
      <write_file_sync>off</write_file_sync>
      <target_dir>/of/the/file</target_dir>
      <lfs_bin>/opt/lfs</lfs_bin>
      <lfs_target>otherfs</lfs_target>
      <db_proxy_target>proxy</db_proxy_target>
      <db_proxy_port>5777</db_proxy_port>
    </property>
  </task>
  <task name="Empty"><class module="tasks.empty" name="EmptyTask"/></task>
</tasks>
"""


def configured(folder: Path, section: str = "probe", **keys: str) -> ConfiguredTask:
    (folder / "tasks.xml").write_text(TASK_FILE)
    return ConfiguredTask(BaseTaskGenerator({section: keys}, folder), DEFAULT, KNOWN)


def built(folder: Path, section: str = "probe", **keys: str) -> dict[str, Any]:
    return vars(configured(folder, section, **keys).build(ost_idx=7))


def test_given_a_class_then_what_is_not_given_is_the_generators(tmp_path: Path) -> None:
    assert built(tmp_path, target_dir="/lustre/probes") == {
        "ost_idx": 7,
        "block_size_bytes": 1 << 20,
        "total_size_bytes": 1 << 26,
        "write_file_sync": True,
        "target_dir": "/lustre/probes",
        "lfs_bin": "lfs",
        "lfs_target": "lustrefs",
        "sudo": False,
        "direct_io": False,
        "lfs_timeout_s": 60.0,
        "local_mode": False,
        "time_limit_s": 600.0,
    }


def test_given_properties_then_they_take_units_and_win(tmp_path: Path) -> None:
    made = built(
        tmp_path, target_dir="/x", total_size_bytes="1 MiB", lfs_timeout_s="1m30s", write_file_sync="off", lfs_bin="l"
    )

    assert (made["total_size_bytes"], made["lfs_timeout_s"]) == (1 << 20, 90.0)
    assert (made["write_file_sync"], made["lfs_bin"]) == (False, "l")


def test_given_a_task_file_then_it_wins_over_the_generator_and_the_section_over_both(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = built(tmp_path, task_file="tasks.xml", task_name="IO", total_size_bytes="1MiB", direct_io="yes")

    assert (made["block_size_bytes"], made["lfs_target"], made["lfs_bin"]) == (4096, "otherfs", "/opt/lfs")
    assert (made["total_size_bytes"], made["direct_io"], made["target_dir"]) == (1 << 20, True, "/of/the/file")
    assert "remove db_proxy_target, db_proxy_port: records go through the master" in caplog.text


def test_given_a_task_file_alone_then_what_its_tasks_had_for_the_proxy_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = configured(tmp_path, task_file="tasks.xml", task_name="IO")
    for ost in range(3):
        task.build(ost_idx=ost)

    assert caplog.text.count("remove db_proxy_target, db_proxy_port") == 1


def test_given_the_section_of_the_original_then_it_is_read(tmp_path: Path) -> None:
    assert built(tmp_path, "task", task_file="tasks.xml", task_name="IO")["target_dir"] == "/of/the/file"


@pytest.mark.parametrize(("text", "limit_s"), [("", 600.0), ("90s", 90.0), ("0", None)])
def test_given_a_time_limit_then_each_task_has_it(tmp_path: Path, text: str, limit_s: float | None) -> None:
    task = configured(tmp_path, target_dir="/x", time_limit=text).build(ost_idx=1)

    assert task.time_limit_s == limit_s
    assert BaseTask.time_limit_s is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, r"^\[probe\]: task 'LustreIOTask': .*target_dir"),
        ({"class": "nowhere:Task"}, r"^\[probe\] class = nowhere:Task: "),
        ({"class": "tasks.lustre_io:NoSuchTask"}, r"^\[probe\] class = tasks.lustre_io:NoSuchTask: "),
        ({"task_file": "absent.xml"}, r"^\[probe\] task_file = absent.xml: there is no "),
        ({"task_file": "tasks.xml"}, r"^\[probe\] task_name is missing or empty"),
        ({"task_file": "tasks.xml", "task_name": "Io"}, r"^\[probe\] task_name = Io: .*tasks.xml has IO, Empty$"),
        ({"task_file": "tasks.xml", "class": DEFAULT}, r"^\[probe\] task_file and class: give one of them"),
        ({"target_dirs": "/x"}, r"^\[probe\] target_dirs: .*did you mean <target_dir>"),
        ({"target_dir": "/x", "block_size_bytes": "big"}, r"^\[probe\] block_size_bytes = big: 'big' is not a size"),
        ({"target_dir": "/x", "lfs_timeout_s": "long"}, r"^\[probe\] lfs_timeout_s = long: 'long' is not a duration"),
        ({"target_dir": "/x", "block_size_bytes": "0"}, r"refuses its properties: block_size_bytes is 0"),
        ({"target_dir": "/x", "write_file_sync": "2"}, r"^\[probe\] write_file_sync: .*'2' is neither yes nor no"),
        ({"target_dir": "/x", "time_limit": "soon"}, r"^\[probe\] time_limit = soon: "),
    ],
)
def test_given_a_mistake_then_section_and_key_are_named(tmp_path: Path, keys: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(tmp_path, **keys)
