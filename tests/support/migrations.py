"""A migration without a Lustre: its generator, its input and its fill levels, for tests in one process."""

import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cyclone.generator import Config
from cyclone.lustre.fill_levels import FillLevels
from cyclone.lustre.lfs import LfsError, Target
from task_generators.lustre_ost_migration import LustreOstMigrationTaskGenerator

OST_BYTES = 1 << 30
# No migration of a few files needs more.
_WAITS_MAX = 600
# Long enough ago for a file to be taken in at once.
LONG_AGO = 1_000_000_000


def write_input(folder: Path, name: str, text: bytes) -> Path:
    """An input file that has settled."""
    path = folder / name
    path.write_bytes(text)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def lines(paths: Iterable[tuple[int, str]]) -> bytes:
    """``OST PATH`` lines."""
    return b"".join(f"{ost} {path}\n".encode("utf-8", "surrogateescape") for ost, path in paths)


def sections(input_dir: Path, **migration: str) -> dict[str, dict[str, str]]:
    """A configuration that ends when all is done."""
    return {
        "migration": {
            "input_dir": str(input_dir),
            "ost_targets": "10-13",
            "ost_fill_level_threshold_source": "50",
            "ost_fill_level_threshold_target": "80",
            "when_done": "end",
            "local_mode": "yes",
            **migration,
        },
        "lustre": {"fs_path": "/lustre"},
    }


class AtOnce(FillLevels):
    """Whoever asks has the answer, so that a test is the same each time."""

    def __init__(self, ask: Callable[[], list[Target]]) -> None:
        super().__init__(ask)
        self._answers: list[list[Target]] = []

    def ask(self) -> None:
        self._answers = [self._ask()]

    def take(self) -> list[Target] | None:
        return self._answers.pop() if self._answers else None


class Failing(AtOnce):
    """Whoever asks is told that there is no answer."""

    def take(self) -> Any:
        return LfsError("it does not answer") if super().take() else None


class FullSources(LustreOstMigrationTaskGenerator):
    """All sources are full, all targets are empty, and stay so."""

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.shares = {index: 0.0 if index in self.options.rules.targets else 0.9 for index in range(100)}
        self._fill = AtOnce(self.ask_levels)
        self._waits = 0

    def wait(self, seconds: float) -> None:
        """What waits for a result that will never come fails."""
        self._waits += 1
        assert self._waits < _WAITS_MAX, "the migration waits for ever"
        super().wait(seconds)

    def ask_levels(self) -> list[Target]:
        """Of 100 OSTs."""
        return [target(index, share) for index, share in self.shares.items()]


class Moody(FullSources):
    """Each look at the file system finds other targets in trouble, so that no life decides as the one before."""

    rng = random.Random(1)

    def ask_levels(self) -> list[Target]:
        indices = sorted(self.options.rules.targets)
        well = self.rng.sample(indices, self.rng.randint(1, len(indices)))
        sick = set(indices).difference(well)
        return [target(i, share, flags=["degraded"] if i in sick else []) for i, share in self.shares.items()]


class Unrecorded(Moody):
    """Yields what was decided without having it recorded."""

    def wait(self, seconds: float) -> None:
        """Only where time is to pass."""
        if seconds:
            super().wait(seconds)


def target(index: int, share: float, size_bytes: int = OST_BYTES, flags: Iterable[str] = ()) -> Target:
    """An OST that is full to this part."""
    used = int(size_bytes * share)
    return Target("OST", index, f"OST{index:04x}", size_bytes, used, size_bytes - used, frozenset(flags))


def value(properties: list[Any], outcome: str = "SUCCESS", **other: Any) -> dict[str, Any]:
    """What the task of a move returns."""
    path, source, target_ost = properties[:3]
    landed = [target_ost] if outcome == "SUCCESS" else []
    return {"path": path, "outcome": outcome, "source": source, "target": target_ost, "landed": landed, **other}
