"""The fill levels of OSTs from ``lfs df``, asked in a thread of its own: a file system that hangs holds up nobody.

Owns one question at a time. What an answer means for a migration is the plan's.
"""

import threading
from collections.abc import Callable, Iterable

from cyclone.lustre.lfs import Lfs, Target
from cyclone.lustre.migration_options import MigrationOptions
from cyclone.lustre.migration_plan import Level

# An OST that cannot be asked may hang whoever reads from it; one that takes no new objects is no target.
_GIVES_NOTHING = frozenset({"inactive", "unavailable"})
_TAKES_NOTHING = _GIVES_NOTHING | {"degraded", "read_only", "no_create", "no_space", "no_inodes"}
_LOCAL_OST_BYTES = 64 << 40

Answer = list[Target] | Exception


class FillLevels:
    """Asks when told to, and has an answer or an error some time later."""

    def __init__(self, ask: Callable[[], list[Target]]) -> None:
        self._ask = ask
        self._thread: threading.Thread | None = None
        self._answer: Answer | None = None

    @property
    def asking(self) -> bool:
        """Whether an answer is due."""
        return self._thread is not None

    def ask(self) -> None:
        """Begin to ask; not while an answer is due."""
        assert self._thread is None
        self._answer = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def take(self) -> Answer | None:
        """The answer, or why there is none; None while it is still due. It is given once."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        return self._answer

    def _work(self) -> None:
        try:
            self._answer = self._ask()
        except Exception as error:  # whatever it was is the answer, and the caller's to judge
            self._answer = error


def ask(options: MigrationOptions) -> list[Target]:
    """What ``lfs df`` says; in local mode full sources and empty targets, made up. Raises LfsError."""
    if not options.local_osts:
        return Lfs(options.task.lfs_bin, options.task.sudo).df(options.task.fs_path)
    size, targets = _LOCAL_OST_BYTES, options.rules.targets
    used = {index: 0 if index in targets else size * 95 // 100 for index in range(options.local_osts)}
    return [Target("OST", i, f"OST{i:04x}", size, share, size - share) for i, share in used.items()]


def levels(targets: Iterable[Target]) -> dict[int, Level]:
    """What the plan takes, by index."""
    return {
        target.index: Level(
            target.used_bytes,
            target.used_bytes + target.available_bytes,
            gives=not target.flags & _GIVES_NOTHING,
            takes=not target.flags & _TAKES_NOTHING,
        )
        for target in targets
        if target.kind == "OST"
    }
