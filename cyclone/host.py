"""What the host gives this process: how much memory. Owns the questions to the kernel, decides nothing."""

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MIB = 1 << 20


def memory_bytes(own: Path = Path("/proc/self/cgroup"), cgroups: Path = _CGROUPS) -> int:
    """The memory that the processes of this service may use together, in whole MiB: the host's, or the least that a
    control group around us allows (version 2: a container, or ``MemoryMax=`` of a unit)."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    group = _group(own, cgroups)
    for folder in (group, *group.parents):
        if folder == cgroups.parent:
            break
        limit = _text(folder / "memory.max").strip()
        if limit.isdecimal():
            found = min(found, int(limit))
    return max(found // _MIB, 1) * _MIB


def _group(own: Path, cgroups: Path) -> Path:
    """The folder of our control group; cgroups(7): the line of version 2 starts with ``0::``."""
    for line in _text(own).splitlines():
        if line.startswith("0::/"):
            return cgroups / line.removeprefix("0::/")
    return cgroups


def _text(file: Path) -> str:
    """Empty where there is none: a container may show less than all."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
