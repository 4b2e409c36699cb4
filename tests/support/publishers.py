"""A publisher of metrics with its spool, on a clock of its own."""

from pathlib import Path
from typing import Any

from cyclone.sinks.gateway import Address
from cyclone.sinks.publisher import Publisher, PushOptions
from cyclone.sinks.spool import Spool
from tests.support.metrics_records import Record, block
from tests.support.pushgateway import labels

NOW = 1_700_000_000.0
JOURNAL = "j" * 32
CHECK = "cyclone_lustre_file_creation_check"
OK_0_5 = {labels(target="hebe", mdt_index="0", ost_index="5"): 1.0}


class Bench:
    """A spool and its publisher, which can be started anew, with what was neither saved nor done forgotten."""

    def __init__(self, folder: Path, url: str, **options: Any) -> None:
        self.folder = folder
        self.now = NOW
        address = Address(url, "cyclone", 5.0) if url else None
        self._options = PushOptions(
            **{"gateway": address, "textfile": None, "interval_s": 60, "expire_s": 0, "delete_on_stop": False} | options
        )
        self.spool = Spool(folder / "spool", 1 << 30)
        self.publisher = self._new()
        self._number = 0

    def spooled(self, *records: Record) -> None:
        """A block with these records is there."""
        self._number += 1
        self.spool.put(JOURNAL, self._number, [block(*records, started=self.now - 1)])

    def take(self, *records: Record) -> None:
        """The same, and the publisher has taken it in."""
        self.spooled(*records)
        assert self.publisher.take()

    def restart(self) -> None:
        self.spool.close()
        self.spool = Spool(self.folder / "spool", 1 << 30)
        self.publisher = self._new()

    def _new(self) -> Publisher:
        return Publisher(self.spool, self._options, self.folder, lambda: self.now)
