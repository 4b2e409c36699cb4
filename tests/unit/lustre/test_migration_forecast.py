"""What a plan says, and what is told of the progress: read without a migration at work."""

import json
from pathlib import Path

import pytest

from cyclone.cli.lustre import lustre
from cyclone.cli.parsing import parser
from cyclone.errors import CycloneError
from cyclone.generator import BaseTaskGenerator
from cyclone.lustre.input_folder import InputFolder
from cyclone.lustre.migration_forecast import Forecast, forecast, read_input
from cyclone.lustre.migration_options import read_options
from cyclone.lustre.migration_plan import Level
from cyclone.lustre.migration_status import MigrationStatus, OstStatus, Rates, read_status, write_status
from tests.support.migrations import lines, sections, write_input

GIB = 1 << 30


def said(folder: Path, used: dict[int, int], file_bytes: int | None, **migration: str) -> Forecast:
    options = read_options(BaseTaskGenerator(sections(folder, ost_targets="8-9", **migration), folder))
    levels = {index: Level(share * GIB, 100 * GIB) for index, share in used.items()}
    return forecast(options, read_input(options), levels, GIB, file_bytes)


def test_given_sizes_then_sources_give_down_to_their_threshold_and_targets_take_up_to_theirs(tmp_path: Path) -> None:
    rows = b"".join(b"%d,/lustre/%d,%d\n" % (number % 2, number, GIB) for number in range(40))
    write_input(tmp_path, "a.input", b"ost,path,size\n" + rows + b"rubbish\n")
    found = said(tmp_path, {0: 90, 1: 55, 8: 0, 9: 78}, None)
    assert (found.paths, found.bad_records, found.known_paths, found.known_bytes) == (40, 1, 40, 40 * GIB)
    assert {index: row.files for index, row in found.sources.items()} == {0: 20, 1: 5}
    assert {index: row.files for index, row in found.targets.items()} == {8: 23, 9: 2}
    assert (found.files, found.bytes, found.streams) == (25, 25 * GIB, 2)
    # 20 of them leave one source, which has one stream.
    assert found.seconds == 20


def test_given_no_sizes_then_they_are_assumed_or_nothing_is_said_of_bytes(tmp_path: Path) -> None:
    write_input(tmp_path, "a.input", lines((number % 2, f"/lustre/{number}") for number in range(10)))
    found = said(tmp_path, {0: 90, 1: 20, 8: 0, 9: 0}, None)
    assert (found.files, found.bytes, found.seconds) == (5, None, None)
    assert {index: row.state for index, row in found.sources.items()} == {0: "READY", 1: "LOCKED"}
    assert said(tmp_path, {0: 90, 1: 20, 8: 0, 9: 0}, 2 * GIB).bytes == 10 * GIB


def test_given_no_level_then_nothing_is_moved(tmp_path: Path) -> None:
    write_input(tmp_path, "a.input", lines([(0, "/lustre/a")]))
    found = said(tmp_path, {}, GIB)
    assert (found.files, found.streams, found.seconds) == (0, 0, None)


def configuration(folder: Path) -> Path:
    path = folder / "migration.conf"
    text = [f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items()) for name, keys in sections(folder).items()]
    path.write_text("[task_generator]\nclass = a:B\n" + "".join(text))
    return path


def verb(*words: str | Path) -> int:
    return lustre(parser().parse_args(["lustre", *map(str, words)]))


def test_given_a_configuration_then_the_plan_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_input(tmp_path, "a.input", lines([(0, "/lustre/a"), (1, "/lustre/b")]))
    config = configuration(tmp_path)
    assert verb("plan", "-f", config, "--file-size", "1GiB", "--rate", "1GiB") == 0
    text = capsys.readouterr().out
    assert "moves    2 files, 2 GiB; 2 streams at a time\ntime     about 1s at 1 GiB/s a stream\n" in text
    assert verb("plan", "-f", config, "--json") == 0
    assert json.loads(capsys.readouterr().out)["files"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.input", "migration.conf"]


def test_given_pause_and_resume_then_the_file_comes_and_goes(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    for _ in range(2):
        assert verb("pause", "-f", config) == 0
        assert (tmp_path / "pause").exists()
    for _ in range(2):
        assert verb("resume", "-f", config) == 0
        assert not (tmp_path / "pause").exists()


def test_given_a_status_then_the_progress_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configuration(tmp_path)
    with pytest.raises(CycloneError, match="no migration has written"):
        verb("progress", "-f", config)
    (tmp_path / "state").mkdir()
    targets = {index: OstStatus("READY", 42.0, 0, 1) for index in (10, 11, 12)}
    outcomes = {"SUCCESS": 5, "FAILED": 0}
    status = MigrationStatus("running", 1, 7, 2, 0, outcomes, GIB, 0, 0, 0.5, 1024.0, 18.0, {}, targets)
    write_status(tmp_path / "state" / "status.json", status)
    assert read_status(tmp_path / "state" / "status.json")[0] == status
    assert verb("progress", "-f", config) == 0
    text = capsys.readouterr().out
    assert "state      nobody is at work; it was running, at " in text
    for part in ("5 SUCCESS", "1 GiB, 1 KiB/s", "time left  about 18s", "targets    READY at 40 % and more: 10-12"):
        assert part in text
    assert verb("progress", "-f", config, "--json") == 0
    assert json.loads(capsys.readouterr().out)["targets"]["11"]["fill_percent"] == 42.0
    folder = InputFolder(tmp_path, tmp_path / "state", "/lustre")
    folder.begin("1")
    verb("progress", "-f", config)
    assert "state      running, at " in capsys.readouterr().out
    folder.close(keep=False)
    status.state = "ended"
    write_status(tmp_path / "state" / "status.json", status)
    verb("progress", "-f", config)
    assert "state      ended, at " in capsys.readouterr().out


def test_given_samples_then_rates_are_those_of_the_last_minutes() -> None:
    rates = Rates()
    assert rates.note(0.0, 0, 0) == (0.0, 0.0)
    assert rates.note(10.0, 20, 100) == (2.0, 10.0)
    assert rates.note(700.0, 20, 100) == (0.0, 0.0)
