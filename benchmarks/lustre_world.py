"""A Lustre that is answered in process, as plug-ins: what ``benchmarks/lustre.py`` has its cluster migrate.

Each call of ``lfs`` takes 1 to 50 ms, as on a system that is in use, a migration with a bandwidth that of its file
besides, and does nothing.
"""

import random
import time
from collections.abc import Sequence

from cyclone import BaseTask
from cyclone.lustre.lfs import Lfs, Target
from cyclone.units import parse_size
from task_generators.lustre_ost_migration import LustreOstMigrationTaskGenerator
from tasks.lustre_migrate import LustreOstMigrateTask

OST_BYTES = 64 << 40
FILE_BYTES = 64 << 20
_CALL_MIN_S, _CALL_MAX_S = 0.001, 0.05
_LAYOUT = "lmm_stripe_count:  1\nlmm_stripe_size:   1048576\nlmm_pattern:       raid0\nlmm_layout_gen:    0\n"


class PretendLfs(Lfs):
    """Knows of one file, which lies where it was put last."""

    def __init__(self, ost: int) -> None:
        super().__init__()
        self._ost = ost

    def run(self, arguments: Sequence[str], timeout_s: float | None = None) -> str:
        """Answer after a while."""
        time.sleep(random.uniform(_CALL_MIN_S, _CALL_MAX_S))
        if arguments[0] == "migrate":
            if "-W" in arguments:
                time.sleep(FILE_BYTES / parse_size(arguments[arguments.index("-W") + 1]))
            self._ost = int(arguments[arguments.index("-i") + 1])
            return ""
        objects = f"\tobdidx\t\t objid\t\t objid\t\t group\n\t{self._ost:6d}\t\t1\t0x1\t0\n"
        return f"{_LAYOUT}lmm_stripe_offset: {self._ost}\n{objects}\n"


class PretendMigration(LustreOstMigrateTask):
    """The task as it is, but for the file system."""

    def _lfs(self) -> Lfs:
        return PretendLfs(self.source_ost)

    def _size_bytes(self) -> int:
        return FILE_BYTES


class PretendMigrations(LustreOstMigrationTaskGenerator):
    """The generator as it is, but for the file system."""

    def task_class(self) -> type[BaseTask]:
        """Of the moves."""
        return PretendMigration

    def ask_levels(self) -> list[Target]:
        """Sources are full, targets are empty; what is moved is too little to be seen."""
        targets = self.options.rules.targets
        used = {index: 0 if index in targets else OST_BYTES * 9 // 10 for index in range(max(targets) + 1)}
        return [Target("OST", i, f"OST{i:04x}", OST_BYTES, size, OST_BYTES - size) for i, size in used.items()]
