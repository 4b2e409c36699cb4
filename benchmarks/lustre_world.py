"""A Lustre that is answered in process, as a task: what ``benchmarks/lustre.py`` has its workers do.

Each call of ``lfs`` takes 1 to 50 ms, as on a system that is in use, a migration with a bandwidth that of its file
besides, and does nothing. The generator is in a module of its own, so that no worker imports it.
"""

import random
import time
from collections.abc import Sequence

from cyclone.lustre.lfs import Lfs
from cyclone.units import parse_size
from tasks.lustre_migrate import LustreOstMigrateTask

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
