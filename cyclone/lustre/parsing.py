"""What ``lfs`` prints, as values. Owns the formats and their dialects; runs nothing.

Every parser takes the text of one call, with bytes that are not UTF-8 as surrogate escapes, and passes over lines that
it does not know: releases of Lustre add some, and so do administrators' wrappers. Those that must find something raise
ValueError, whose text says what is missing.
"""

import posixpath
import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """An OST or MDT as ``lfs df`` sees it. One that cannot be asked has no sizes and says why in ``flags``."""

    kind: str
    """"OST" or "MDT"."""
    index: int
    name: str
    """As Lustre writes it, with the index in hexadecimal: OST000a."""
    size_bytes: int = 0
    used_bytes: int = 0
    available_bytes: int = 0
    flags: frozenset[str] = frozenset()
    """Of "degraded", "read_only", "no_create", "no_space", "no_inodes", "inactive", "unavailable", and for information
    "flash", "aggregate"; a letter that is not known here stands for itself."""


@dataclass(frozen=True)
class Layout:
    """Where the data of a file lies."""

    stripe_count: int
    """Of the last component that has objects, as ``lfs getstripe -c`` says it; 0 for a file without any."""
    ost_indices: tuple[int, ...]
    """The OSTs that hold data of any component or mirror, each once, in the order of the stripes."""
    mirror_count: int = 1
    component_count: int = 1
    """1 for a plain layout; the entries of a composite one (PFL, FLR), whether or not they have objects."""
    has_mdt_component: bool = False
    """Whether the beginning of the file lies on its MDT (DoM)."""
    released: bool = False
    """Whether the data was moved to an archive (HSM): reading it, as a migration does, brings it back."""


def ost_name(index: int) -> str:
    """``OST000a`` of 10, as Lustre writes it."""
    return f"OST{index:04x}"


# lustrefs-OST000a-osc-ffff8ea7b7a28000 active.
_CHECKED = re.compile(r"(?P<target>\S+)-(?P<kind>OST|MDT)(?P<index>[0-9a-f]{4,8})-\S+\s+(?P<state>\S.*?)\.?\s*")
# lfs check: error: check 'lustrefs-OST000a-osc-ffff8ea7b7a28000': Resource temporarily unavailable (11)
_CHECK_FAILED = re.compile(
    r".*\bcheck '(?P<target>\S+)-(?P<kind>OST|MDT)(?P<index>[0-9a-f]{4,8})-[^']*':?\s*"
    r"(?P<state>.*?)(?:\s*\(-?\d+\))?\.?\s*"
)
ACTIVE, INACTIVE = "active", "inactive"


def parse_check_osts(text: str, target: str) -> dict[int, str]:
    """The state of each OST of the file system ``target``, by index, of what ``lfs check osts`` prints on both outputs.

    "active", "inactive", or why the OST did not answer. Where a node has mounted the file system several times, an OST
    is active if it is so for each mount. Raises ValueError where no OST of that file system is named.
    """
    states: dict[int, str] = {}
    others = set()
    for line in text.split("\n"):
        found = _CHECK_FAILED.fullmatch(line) or _CHECKED.fullmatch(line)
        if found is None or found["kind"] != "OST":
            continue
        if found["target"] != target:
            others.add(found["target"])
            continue
        index = int(found["index"], 16)
        if states.get(index, ACTIVE) == ACTIVE:
            states[index] = found["state"] or "unknown"
    if not states:
        what = f"only of {', '.join(sorted(others))}" if others else "of none"
        raise ValueError(f"it tells of no OST of file system {target!r}, {what}")
    return dict(sorted(states.items()))


_FLAGS = {
    "D": "degraded",
    "R": "read_only",
    "N": "no_create",
    "S": "no_space",
    "I": "no_inodes",
    "f": "flash",
    "a": "aggregate",
}
_NUMBER = r"\d{1,20}(?:\.\d{1,9})?[kKMGTPEZY]?"
# lustrefs-OST030f_UUID    71145357312 24541020160 46604329984  35% /lustre[OST:783] DR
_DF_LINE = re.compile(
    rf"\S+\s+(?P<size>{_NUMBER})\s+(?P<used>{_NUMBER})\s+(?P<available>{_NUMBER})"
    r"\s+\d+%\s+.*\[(?P<kind>OST|MDT):(?P<index>\d{1,8})\](?:\s+(?P<flags>\S*))?\s*"
)
# OST0003             : inactive device
_DF_NOT_THERE = re.compile(r"(?:\S+-)?(?P<kind>OST|MDT)(?P<index>[0-9a-f]{4,8})(?:_UUID)?\s*:\s*(?P<what>.+?)\s*")


def parse_df(text: str) -> list[Target]:
    """The targets that ``lfs df`` lists, MDTs first. Raises ValueError where it lists none, or inodes."""
    targets = []
    unit_bytes = 1024
    for line in text.split("\n"):
        if line.startswith("UUID"):
            if "Inodes" in line:
                raise ValueError("it counts inodes, expected blocks")
            unit_bytes = 1 if " bytes " in line else 1024
        elif found := _DF_LINE.fullmatch(line):
            index = int(found["index"])
            size, used, available = (_df_bytes(found[column], unit_bytes) for column in ("size", "used", "available"))
            flags = frozenset(_FLAGS.get(letter, letter) for letter in found["flags"] or "")
            name = f"{found['kind']}{index:04x}"
            targets.append(Target(found["kind"], index, name, size, used, available, flags))
        elif found := _DF_NOT_THERE.fullmatch(line):
            index = int(found["index"], 16)
            flag = "inactive" if found["what"] == "inactive device" else "unavailable"
            targets.append(Target(found["kind"], index, f"{found['kind']}{index:04x}", flags=frozenset({flag})))
    if not targets:
        raise ValueError("it lists no OST and no MDT")
    return targets


def _df_bytes(number: str, unit_bytes: int) -> int:
    """A column's value: blocks or bytes, or for people, with a letter."""
    power = "KMGTPEZY".find(number[-1].upper()) + 1
    return round(float(number[:-1]) * 1024**power) if power else round(float(number) * unit_bytes)


@dataclass
class _Component:
    """What is said of one component of a composite layout, or of a plain layout as a whole."""

    values: dict[str, str] = field(default_factory=dict)
    osts: list[int] = field(default_factory=list)

    @property
    def pattern(self) -> str:
        return self.values.get("pattern", "")

    @property
    def pattern_bits(self) -> int:
        """Of a pattern that lfs has no name for."""
        return int(self.pattern, 16) if re.fullmatch(r"[0-9a-f]{3,8}", self.pattern) else 0

    @property
    def released(self) -> bool:
        return "released" in self.pattern or bool(self.pattern_bits & 0x80000000)

    @property
    def on_mdt(self) -> bool:
        return "mdt" in self.pattern or bool(self.pattern_bits & 0x100)

    @property
    def stripe_count(self) -> int:
        return int(self.values.get("stripe_count", 0))

    def osts_with_data(self) -> list[int]:
        """The OSTs of its objects; where these are not listed, the first one."""
        offset = int(self.values.get("stripe_offset", -1))
        if self.on_mdt or self.released or self.osts:
            return self.osts
        flags = self.values.get("flags")
        instantiated = flags is None or "init" in flags or flags == "0x10"
        return [offset] if instantiated and offset >= 0 and self.stripe_count else []


# One key of a layout, in YAML or not: "      lmm_stripe_count:  1", "  lcm_mirror_count:  2", "  - lcme_id:   1"
_LAYOUT_KEY = re.compile(r"\s*(?:- )?(?P<level>lmm|lcme|lcm)_(?P<key>\w+):\s*(?P<value>\S.*?)?\s*")
# "- 0: { l_ost_idx: 1, l_fid: [0x2c0000400:0x1fcebc:0x0] }" or in YAML "- l_ost_idx: 1"
_OBJECT = re.compile(r"\s*-?\s*(?:\d+:\s*\{\s*)?l_ost_idx:\s*(?P<ost>\d+)\b.*")
# "\t     6\t       6449992\t     0x626b48\t             0", below "obdidx objid objid group"
_OBJECT_ROW = re.compile(r"\s+(?P<ost>\d+)\s+\d+\s+(?:0x[0-9a-f]+|0)\s+(?:0x[0-9a-f]+|\d+)(?:\s+\*)?\s*")


def parse_layout(text: str) -> Layout:
    """The layout of one file of what ``lfs getstripe`` printed, with or without ``-y``, plain or composite.

    Raises ValueError for the defaults of a folder, and for anything else that is no file's layout.
    """
    head: dict[str, str] = {}
    components: list[_Component] = []
    for line in text.split("\n"):
        if found := _LAYOUT_KEY.fullmatch(line):
            level, key, value = found["level"], found["key"], found["value"] or ""
            if level == "lcm":
                head.setdefault(key, value)
                continue
            if not components or (level, key) == ("lcme", "id"):
                components.append(_Component())
            components[-1].values.setdefault(key, value)
        elif components and (found := _OBJECT.fullmatch(line) or _OBJECT_ROW.fullmatch(line)):
            components[-1].osts.append(int(found["ost"]))
    if not components:
        if text.rstrip().endswith("has no stripe info"):
            return Layout(0, ())
        raise ValueError("it tells of no layout of a file")
    return _layout(head, components)


def _layout(head: dict[str, str], components: list[_Component]) -> Layout:
    osts = dict.fromkeys(ost for component in components for ost in component.osts_with_data())
    striped = [component for component in components if component.stripe_count > 0 and not component.on_mdt]
    # As lfs: a composite file is as wide as the last of its components that has been written to.
    last = next((component for component in reversed(striped) if component.osts_with_data()), None)
    last = last or (striped[-1] if len(components) == 1 and striped else None)
    return Layout(
        stripe_count=last.stripe_count if last else 0,
        ost_indices=tuple(osts),
        mirror_count=max(1, int(head.get("mirror_count", 1))),
        component_count=len(components),
        has_mdt_component=any(component.on_mdt for component in components),
        released=any(component.released for component in components),
    )


def parse_mdt_index(text: str) -> int:
    """The index of the (first) MDT of a folder, of what ``lfs getdirstripe`` printed. Raises ValueError."""
    found = re.search(r"^\s*(\d+)\s*$", text, re.MULTILINE) or re.search(r"\blmv_stripe_offset:\s*(\d+)", text)
    if found is None:
        raise ValueError("it tells of no MDT index")
    return int(found[1])


def parse_fid_path(text: str, fs_path: str) -> str:
    """The absolute path of what ``lfs fid2path --link 0`` printed, which may be relative to the mount point.

    Raises ValueError where it is none.
    """
    path = text.removesuffix("\n")
    if not path:
        raise ValueError("it tells of no path")
    return path if path.startswith("/") else posixpath.join(fs_path, path)
