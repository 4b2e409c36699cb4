"""The consumer of ``cyclone-database-proxy``: from the spool into a store, a batch at a time.

Owns the thread that does it. Takes whole blocks, makes rows of them by the layout, and stores them when they are enough
or have waited long enough; only then the spool forgets them. While the store is not to be had they stay there, and are
tried again. Every row ends in the store or, where that will never take it, in the file of rejects.
"""

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from cyclone.errors import ConfigError, CycloneError
from cyclone.logs import RateLimit
from cyclone.metrics.histogram import Histogram
from cyclone.metrics.names import SINK_FLUSH
from cyclone.sinks.glance import holds_records
from cyclone.sinks.layouts import Layout, Table, row_id
from cyclone.sinks.rejects import Reject, RejectFile
from cyclone.sinks.rows import Row, rows
from cyclone.sinks.spool import Entry, Spool, SpoolFull
from cyclone.sinks.stores.base import Batch, Outcome, Store, StoreUnavailable

T = TypeVar("T")

log = logging.getLogger("cyclone.sink")

# Large rows are stored before they are many: they lie in memory, and have to go into a transaction.
_BATCH_BYTES_MAX = 16 << 20
_UNKNOWN_NAMES_MAX = 100
# In place of a table, for a block of which nobody knows what it held.
_UNREADABLE = "(unreadable)"
_RETRY_FIRST_S = 0.5
_RETRY_MAX_S = 30.0


class ProxyCounts:
    """What there is to count since the start. Written by the consumer's thread, read by any.

    Which tables there are does not change, so that another thread can go through them at any time.
    """

    def __init__(self, tables: Iterable[str]) -> None:
        self.stored: Counter[str] = Counter(dict.fromkeys(tables, 0))
        self.rejected: Counter[str] = Counter(dict.fromkeys([*self.stored, _UNREADABLE], 0))
        # Rows that were there before: those of a batch of which nobody knew whether it had been stored.
        self.present = 0
        # Records that no table of the layout takes, by name.
        self.unknown: Counter[str] = Counter()
        self.errors = 0
        self.buffered = 0
        self.flush_seconds = Histogram(SINK_FLUSH.bounds)


@dataclass(slots=True)
class _Pending:
    """Rows that were taken and are not stored yet."""

    batch: Batch = field(default_factory=Batch)
    sources: dict[Table, list[Row]] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    # Those that are in the file already: the same batch may be tried many times.
    in_file: set[tuple[str, str]] = field(default_factory=set)
    sequence: int = 0
    count: int = 0
    size_bytes: int = 0
    since: float = 0.0


class DatabaseProxy:
    """See the module and ``cyclone.sinks.receiver.Consumer``. ``chance`` spreads retries. Owns the store."""

    def __init__(
        self,
        spool: Spool,
        store: Store,
        layout: Layout,
        rejects: RejectFile,
        store_max_count: int,
        store_timeout_s: float,
        chance: random.Random,
    ) -> None:
        self.counts = ProxyCounts(table.name for table in layout.tables)
        self._spool = spool
        self._store = store
        self._layout = layout
        self._rejects = rejects
        self._store_max_count = store_max_count
        self._store_timeout_s = store_timeout_s
        self._chance = chance
        self._wake: Callable[[], None] = lambda: None
        self._news = threading.Condition()
        self._has_news = False
        self._stop_at: float | None = None
        self._failure: CycloneError | None = None
        self._down_since: float | None = None
        self._down_text = ""
        self._log_limit = RateLimit()
        # An insert that hangs must not keep the process from ending: what it was about is still spooled.
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    def start(self, wake: Callable[[], None]) -> None:
        """See ``Consumer``."""
        self._wake = wake
        self._thread.start()

    def stored(self, now: float) -> None:
        """See ``Consumer``."""
        with self._news:
            self._has_news = True
            self._news.notify()

    def state(self) -> str:
        """See ``Consumer``."""
        if self._failure:
            raise self._failure
        if self._down_since is not None:
            return f"cannot store since {time.monotonic() - self._down_since:.0f} s: {self._down_text}"
        rejected = self.counts.rejected.total()
        return f"{self.counts.stored.total()} rows stored" + (f", {rejected} rejected" if rejected else "")

    def stop(self, wait_s: float) -> None:
        """See ``Consumer``."""
        with self._news:
            self._stop_at = time.monotonic() + wait_s
            self._news.notify()
        self._thread.join(wait_s)
        if self._thread.is_alive():
            log.warning("the database has not answered within stop_timeout: what it was given stays in the spool, too")

    def _run(self) -> None:
        try:
            while self._store_some():
                pass
        except CycloneError as error:
            self._failure = error
        except Exception as error:
            log.exception("storing ended by a mistake of ours")
            self._failure = CycloneError(f"storing ended by a mistake of ours: {type(error).__name__}: {error}")
        finally:
            self._store.close()
            self._wake()

    def _store_some(self) -> bool:
        """Gather a batch and store it; False when it is time to end."""
        pending = _Pending()
        while pending.count < self._store_max_count and pending.size_bytes < _BATCH_BYTES_MAX:
            with self._news:
                self._has_news = False
            entries = self._tried(lambda: self._take(pending))
            now = time.monotonic()
            if pending.count and not pending.since:
                pending.since = now
            if self._stop_at is not None and (not entries or now >= self._stop_at):
                break
            due_s = pending.since + self._store_timeout_s - now if pending.count else None
            if due_s is not None and due_s <= 0:
                break
            if not entries:
                with self._news:
                    self._news.wait_for(lambda: self._has_news or self._stop_at is not None, due_s)
        if self._is_stop_over():
            return False
        return self._flush(pending) and (self._stop_at is None or pending.sequence > 0)

    def _is_stop_over(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _take(self, pending: _Pending) -> int:
        """Add the next blocks to the batch; how many there were."""
        entries = self._spool.take(self._store_max_count - pending.count, pending.sequence)
        for entry in entries:
            is_wanted = self._layout.takes_results or holds_records(entry.block)
            if is_wanted and not self._store.has(entry.journal_id, entry.number):
                self._open(entry, pending)
            pending.sequence = entry.sequence
        if entries and not pending.count:
            # They hold nothing for this layout.
            self._spool.done(pending.sequence)
        return len(entries)

    def _open(self, entry: Entry, pending: _Pending) -> None:
        for row in rows(entry.journal_id, entry.block):
            taken = False
            if not row.task_id:
                pending.count += 1
                pending.rejects.append(Reject(_UNREADABLE, row, row.error))
                continue
            for table in self._layout.tables_of(row):
                taken = True
                pending.count += 1
                try:
                    cells = table.cells(row)
                except ValueError as error:
                    pending.rejects.append(Reject(table.name, row, str(error)))
                else:
                    pending.batch.rows.setdefault(table, []).append(cells)
                    pending.sources.setdefault(table, []).append(row)
            if row.ordinal and not taken:
                self._count_unknown(row)
        pending.batch.ends[entry.journal_id] = entry.number
        pending.size_bytes += len(entry.block)
        self.counts.buffered = pending.count

    def _flush(self, pending: _Pending) -> bool:
        """Store it, however long that takes; False where a stop came first."""
        if not pending.count:
            return True
        began = time.monotonic()
        outcome = self._tried(lambda: self._attempt(pending))
        if outcome is None:
            return False
        self._note_stored(pending, outcome, time.monotonic() - began)
        # Were the process killed here, the store would find that it has them.
        return self._tried(lambda: self._forget(pending.sequence)) is not None

    def _forget(self, sequence: int) -> int:
        self._spool.done(sequence)
        return sequence

    def _tried(self, attempt: Callable[[], T]) -> T | None:
        """What it returns in the end, tried again while there is no store or no room; None where a stop came first."""
        retry_s = _RETRY_FIRST_S
        while True:
            try:
                result = attempt()
            except (StoreUnavailable, ConfigError, SpoolFull, OSError) as error:
                self._note_failure(str(error))
            else:
                self._note_success()
                return result
            with self._news:
                self._news.wait_for(lambda: self._stop_at is not None, retry_s * self._chance.uniform(0.5, 1.0))
            if self._stop_at is not None:
                return None
            retry_s = min(2 * retry_s, _RETRY_MAX_S)

    def _attempt(self, pending: _Pending) -> Outcome:
        outcome = self._store.insert(pending.batch)
        rejects = pending.rejects + [
            Reject(bad.table.name, pending.sources[bad.table][bad.place], bad.error) for bad in outcome.rejected
        ]
        new = [reject for reject in rejects if (reject.table, row_id(reject.row)) not in pending.in_file]
        if new:
            self._rejects.append(new)
            for reject in new:
                self._count_reject(reject)
            pending.in_file |= {(reject.table, row_id(reject.row)) for reject in new}
        self._store.commit()
        return outcome

    def _count_reject(self, reject: Reject) -> None:
        self.counts.rejected[reject.table] += 1
        # Each error is another one: most quote the value.
        if self._log_limit.allow(("rejected", reject.table), time.monotonic()):
            log.error(
                "a row of %s is rejected (task %d on %s), it is in %s: %s",
                reject.table,
                reject.row.task_id,
                reject.row.node,
                self._rejects.path,
                reject.error,
            )

    def _count_unknown(self, row: Row) -> None:
        unknown = self.counts.unknown
        # A task may make up as many names as it likes, and must not keep other lines out of the log with them.
        name = row.name if row.name in unknown or len(unknown) < _UNKNOWN_NAMES_MAX else "..."
        unknown[name] += 1
        if self._log_limit.allow(("unknown", name), time.monotonic()):
            log.warning("records called %r are in no table of layout %s: not stored", row.name, self._layout.name)

    def _note_failure(self, text: str) -> None:
        self.counts.errors += 1
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
            log.error("cannot store, rows stay in the spool and it is tried again: %s", text)
            self._wake()
        elif text != self._down_text and self._log_limit.allow(("down", text), now):
            log.error("still cannot store: %s", text)
        self._down_text = text

    def _note_success(self) -> None:
        if self._down_since is not None:
            down_s = time.monotonic() - self._down_since
            self._down_since = None
            log.info("storing again after %.0f s, %d blocks wait", down_s, self._spool.waiting_blocks)
            self._wake()

    def _note_stored(self, pending: _Pending, outcome: Outcome, took_s: float) -> None:
        counts = self.counts
        counts.buffered = 0
        counts.present += outcome.present
        counts.flush_seconds.observe(took_s)
        for table, stored in outcome.stored.items():
            counts.stored[table.name] += stored
        log.debug("%d rows stored in %.3f s", pending.count, took_s)
        if outcome.present:
            # As if nothing had happened; but who doubts that should see it.
            log.info(
                "%d rows of %d were stored already, by an attempt that had no answer", outcome.present, pending.count
            )
