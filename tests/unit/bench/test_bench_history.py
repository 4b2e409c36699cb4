"""The last report of each kind of measurement."""

from pathlib import Path

import pytest

from cyclone.bench.history import History
from cyclone.errors import CycloneError


def test_given_nothing_kept_then_there_is_no_last_time_and_nothing_is_made(tmp_path: Path) -> None:
    assert History(tmp_path / "bench").last("throughput") is None
    assert not (tmp_path / "bench").exists()


def test_given_reports_then_the_last_one_of_a_name_is_read_back(tmp_path: Path) -> None:
    history = History(tmp_path / "state" / "bench")
    for rate in (1.0, 2.0):
        history.keep("throughput", {"tasks_per_s": rate}, {"mode": "throughput"})
    history.keep("latency", {"p50_us": 3.0}, {})

    last = History(tmp_path / "state" / "bench").last("throughput")

    assert last
    assert last.figures == {"tasks_per_s": 2.0}
    assert last.when.endswith(" UTC")
    assert sorted(path.name for path in (tmp_path / "state" / "bench").iterdir()) == ["latency.json", "throughput.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"when": 1, "figures": {}}', b"\xff\xfe"])
def test_given_a_file_that_is_none_of_ours_then_there_is_no_last_time_and_it_is_replaced(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "busy.json").write_bytes(content)
    history = History(tmp_path)

    assert history.last("busy") is None
    history.keep("busy", {"efficiency": 0.9}, {})
    assert history.last("busy")


def test_given_a_place_where_nothing_can_be_kept_then_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CycloneError, match=r"file/bench/busy\.json: the report cannot be kept"):
        History(tmp_path / "file" / "bench").keep("busy", {}, {})
