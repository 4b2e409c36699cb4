"""Each generator's file in Configuration/ is usable as it stands."""

from pathlib import Path
from typing import Any

import pytest

from cyclone import BaseTaskGenerator
from cyclone.config_text import read_ini
from cyclone.plugins import load_class
from tests.support.drive import drive

FOLDER = Path(__file__).parents[3] / "Configuration"


def shipped(name: str, **changes: dict[str, str]) -> BaseTaskGenerator:
    config = {
        section: {key: given.text for key, given in content.keys.items()} | changes.get(section, {})
        for section, content in read_ini(FOLDER / name).items()
    }
    section = config["task_generator"]
    return load_class(f"{section['module']}:{section['class']}", BaseTaskGenerator)(config, FOLDER)


@pytest.mark.parametrize(
    ("name", "changes", "tasks", "summary"),
    [
        ("sum.conf", {}, 1011, {"sum": 5_000_050_000}),
        ("crawl.conf", {}, 8, {"pages": 8, "links": 16, "failed_pages": 0}),
        ("lines.conf", {}, 6, {}),
        ("benchmark.conf", {"benchmark": {"num_tasks": "1000"}}, 1000, {"returned": 1000, "sum": 499_500}),
    ],
)
def test_given_a_shipped_configuration_then_it_runs_without_a_failure(
    name: str,
    changes: dict[str, Any],
    tasks: int,
    summary: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = shipped(name, **changes)

    results = drive(generator, batch=100)

    assert [result.error for result in results if not result.ok] == []
    assert len(results) == tasks
    assert generator.summary() == summary


def test_given_checksum_conf_then_the_standard_library_is_its_input(tmp_path: Path) -> None:
    assert "path" in vars(next(iter(shipped("checksum.conf").generate())))

    (tmp_path / "file").write_bytes(b"abc")
    generator = shipped("checksum.conf", directory={"path": str(tmp_path)})
    assert [result.value["bytes"] for result in drive(generator)] == [3]


def test_given_lines_conf_then_the_lines_are_counted_as_they_are() -> None:
    words = [line for line in (FOLDER / "examples" / "fruit.txt").read_bytes().split(b"\n") if line]

    results = drive(shipped("lines.conf"))

    assert [int(result.value["stdout"]) for result in results] == [len(word) for word in words]
