"""Task files as they were written for Cyclone 1 are read as they are, and so are those that we ship."""

import logging
from pathlib import Path
from typing import Any

import pytest

from cyclone.taskfile import read_task_file
from tests.support.task_files import write


@pytest.mark.parametrize(
    ("module", "class_name", "expected"),
    [
        ("task.empty_task", "EmptyTask", "tasks.empty:EmptyTask"),
        ("task.lustre_io_task", "LustreIOTask", "tasks.lustre_io:LustreIOTask"),
        ("task.lustre_alert_io_task", "LustreAlertIOTask", "tasks.lustre_alert_io:LustreAlertIOTask"),
        ("cyclone.tasks.lustre_io", "LustreIOTask", "tasks.lustre_io:LustreIOTask"),
        (
            "task.lustre_file_creation_check_task",
            "LustreFileCreationCheckTask",
            "tasks.lustre_file_creation_check:LustreFileCreationCheckTask",
        ),
        ("task.ost_migrate_task", "OstMigrateTask", "tasks.lustre_migrate:LustreOstMigrateTask"),
        ("task.lustre_ost_migrate_task", "LustreOstMigrateTask", "tasks.lustre_migrate:LustreOstMigrateTask"),
        # What a site has of its own is not ours to rename.
        ("task.site_task", "SiteTask", "task.site_task:SiteTask"),
        ("acme.task", "EmptyTask", "acme.task:EmptyTask"),
        ("tasks.empty", "EmptyTask", "tasks.empty:EmptyTask"),
    ],
)
def test_given_a_class_as_the_original_called_it_then_ours_is_taken(
    module: str, class_name: str, expected: str, tmp_path: Path
) -> None:
    path = write(tmp_path, f'<tasks><task name="a"><class module="{module}" name="{class_name}"/></task></tasks>')

    template = read_task_file(path)["a"]

    assert template.class_path == expected
    assert template.former_path == ("" if expected == f"{module}:{class_name}" else f"{module}:{class_name}")


def test_given_a_former_name_then_it_is_warned_of_once_however_many_tasks_are_built(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(
        tmp_path,
        '<tasks><task name="a"><class module="task.empty_task" name="EmptyTask"/>'
        "<property><db_proxy_target>here</db_proxy_target><db_proxy_port>5777</db_proxy_port></property></task></tasks>",
    )
    template = read_task_file(path)["a"]

    with caplog.at_level(logging.WARNING):
        assert [type(template.build(value=number)).__name__ for number in range(3)] == ["EmptyTask"] * 3

    assert caplog.messages == [
        f"{path}:1: task 'a': task.empty_task:EmptyTask is tasks.empty:EmptyTask now: write that",
        f"{path}:1: task 'a': remove db_proxy_target, db_proxy_port: records go through the master, to the sinks that "
        "its [sink] targets names",
    ]
    assert template.warnings == tuple(caplog.messages)


# What sites have had in their files since Cyclone 1, down to the last property; the OST is the generator's to give.
IO = """<ost_idx></ost_idx><block_size_bytes>1000000</block_size_bytes><total_size_bytes>1000000</total_size_bytes>
<write_file_sync>on</write_file_sync><target_dir>/lustre/probes</target_dir><lfs_bin>/usr/bin/lfs</lfs_bin>
<lfs_target>lustrefs</lfs_target><db_proxy_target>proxy</db_proxy_target><db_proxy_port>5777</db_proxy_port>"""
MAIL = """<mail_server>localhost</mail_server><mail_sender>a@example.org</mail_sender>
<mail_receiver>b@example.org,c@example.org</mail_receiver><mail_threshold>3600</mail_threshold>"""
CHECK = """<ost_idx></ost_idx><lfs_target>lustrefs</lfs_target><target_base_dir>/lustre/checks</target_base_dir>
<target_mdt_sub_dir>mdt</target_mdt_sub_dir><mdt_index_rangeset>0-2</mdt_index_rangeset>"""
CLIENT = "<{0}name>client</{0}name><{0}port>5888</{0}port><{0}timeout>10000</{0}timeout>"
MIGRATE = "<filename></filename><source_ost></source_ost><target_ost></target_ost>"
MOVE = {"filename": "/l/f", "source_ost": 1, "target_ost": 2}


@pytest.mark.parametrize(
    ("module", "class_name", "properties", "given"),
    [
        ("lustre_io_task", "LustreIOTask", IO, {"ost_idx": 5}),
        ("lustre_alert_io_task", "LustreAlertIOTask", MAIL + IO, {"ost_idx": 5}),
        (
            "lustre_file_creation_check_task",
            "LustreFileCreationCheckTask",
            CHECK + CLIENT.format("pushgateway_"),
            {"ost_idx": 5},
        ),
        (
            "lustre_file_creation_check_task",
            "LustreFileCreationCheckTask",
            CHECK + CLIENT.format("pushgateway_client_"),
            {"ost_idx": 5},
        ),
        ("ost_migrate_task", "OstMigrateTask", "<block>False</block><skip>True</skip>", MOVE),
        ("lustre_ost_migrate_task", "LustreOstMigrateTask", f"{MIGRATE}<block>False</block><skip>True</skip>", MOVE),
        (
            "lustre_ost_migrate_task",
            "LustreOstMigrateTask",
            f"{MIGRATE}<direct_io>True</direct_io><block>False</block><skip>True</skip>",
            MOVE,
        ),
        ("benchmark_task", "BenchmarkTask", "", {}),
        ("empty_task", "EmptyTask", "", {}),
    ],
)
def test_given_a_task_of_the_original_as_it_is_then_ours_is_built_of_it(
    module: str, class_name: str, properties: str, given: dict[str, Any], tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        f'<?xml version="1.0"?><tasks><task name="a"><class module="task.{module}" name="{class_name}"/>'
        f"<property>{properties}</property></task></tasks>",
    )

    task = read_task_file(path)["a"].build(**given)

    assert vars(task).items() >= given.items()
    assert [
        name for name, value in vars(task).items() if name in ("block", "skip") and not isinstance(value, bool)
    ] == []


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "Configuration").glob("*.xml")), ids=lambda p: p.name
)
def test_given_a_shipped_task_file_then_each_task_fits_its_class_without_a_warning(path: Path) -> None:
    for template in read_task_file(path).values():
        template.task_class()
        assert template.warnings == ()
