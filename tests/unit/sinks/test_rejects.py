"""The file of rejects: whatever a task recorded, its line can be written and read."""

import datetime
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cyclone import values
from cyclone.protocol import limits
from cyclone.sinks.rejects import Reject, RejectFile
from cyclone.sinks.rows import RESULT, Row


def reject(fields: dict[str, Any]) -> Reject:
    row = Row("ab" * 16, 1, 1, 0, RESULT, "failed", "c", "n", 1, 0.0, 0.0, 0.0, 0, "", fields)
    return Reject("t", row, "bad")


def test_given_a_value_as_deep_as_values_may_be_when_rejected_then_the_line_holds_it(tmp_path: Path) -> None:
    deep: Any = "\udc80"
    found: Any = {"base64": "gA=="}
    for _ in range(limits.NESTING_MAX):
        deep, found = [deep], [found]
    deep = values.decode(values.encode(deep))
    fields = {
        "value": deep,
        "args": [deep, {"when": datetime.datetime(2026, 1, 1), "of": b"\x00", "nan": float("nan")}],
    }
    path = tmp_path / "rejected.jsonl"
    RejectFile(path).append([reject(fields)])
    line = msgspec.json.decode(path.read_bytes())
    assert line["cyclone_row"] == f"{'ab' * 16}-1-0"
    assert line["fields"]["value"] == found
    assert line["fields"]["args"] == [found, {"when": "2026-01-01T00:00:00", "of": {"base64": "AA=="}, "nan": "NaN"}]


def test_given_no_file_when_it_is_made_then_its_name_lasts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    path = tmp_path / "rejected.jsonl"
    file = RejectFile(path)
    file.append([reject({})])
    assert synced == [str(path), str(tmp_path)]
    file.append([reject({})])
    assert synced[2:] == [str(path)]
    assert len(path.read_text().splitlines()) == 2
