"""What the host gives: the least of what it has and what the control groups around us allow."""

import os
from pathlib import Path

import pytest

from cyclone.host import memory_bytes

MIB = 1 << 20


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        pytest.param("0::/\n", {"": "67108864\n"}, 64 * MIB, id="of a container"),
        pytest.param("0::/a/b\n", {"a/b": "max\n", "a": "1048577\n"}, MIB, id="of a group further out, in whole MiB"),
        pytest.param("1:memory:/x\n0::/a\n", {"a": "2097152", "": "4194304"}, 2 * MIB, id="the least of them"),
        pytest.param("0::/a\n", {"a": "4096"}, MIB, id="hardly any"),
        pytest.param("1:memory:/x\n", {"x": "4096"}, None, id="of another version"),
        pytest.param("0::/a\n", {"a": "max"}, None, id="none"),
        pytest.param(None, {}, None, id="no control groups"),
    ],
)
def test_given_control_groups_then_what_they_allow_counts(
    tmp_path: Path, group: str | None, limits: dict[str, str], expected: int | None
) -> None:
    own, cgroups = tmp_path / "own", tmp_path / "cgroups"
    if group is not None:
        own.write_text(group)
    for name, limit in limits.items():
        (cgroups / name).mkdir(parents=True, exist_ok=True)
        (cgroups / name / "memory.max").write_text(limit)
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_bytes(own, cgroups) == (host // MIB * MIB if expected is None else expected)
