"""From recorded blocks to gauges, and from there to a Pushgateway, a textfile, or both.

Owns the gauges and where they are kept and published. Of what was measured only the last value matters, so an outage of
the gateway costs no memory and no disk: the spool forgets a block as soon as the gauges that it led to are in the state
file. With that file the gauges begin after a restart, so that nothing vanishes from a dashboard until it is measured
again; blocks that the spool has not forgotten are taken in a second time, which changes nothing.

Knows no thread and does not wait: when it is time to publish is its caller's to say.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.exposition import generate_latest

from cyclone.errors import ConfigError
from cyclone.logs import RateLimit
from cyclone.metrics.histogram import Histogram
from cyclone.metrics.names import SINK_FLUSH
from cyclone.settings import PushSettings
from cyclone.sinks.gateway import Address, Gateway, GatewayRefused, GatewayUnreachable, read_address
from cyclone.sinks.gauges import KINDS, Gauges
from cyclone.sinks.rows import Row, rows
from cyclone.sinks.spool import Spool, SpoolFull
from cyclone.sinks.whole_file import replace_file
from cyclone.units import format_duration

log = logging.getLogger("cyclone.sink")

STATE_NAME = "pushgateway_client.json"
# Results that are taken out of the spool at once; whether one of them has a record shows only then.
_TASKS_AT_ONCE = 10_000
# What is taken in before the state is saved out of turn, so that a long interval does not fill the spool.
_UNSAVED_BYTES_MAX = 64 << 20
# Names of records are in a block as they are, and most blocks hold none.
_MARKS = tuple(name.encode() for name in KINDS)


@dataclass(frozen=True, slots=True)
class PushOptions:
    """``gateway`` and ``textfile``: one of them is None at most. Durations in seconds."""

    gateway: Address | None
    textfile: Path | None
    interval_s: float
    expire_s: float
    delete_on_stop: bool


def push_options(settings: PushSettings) -> PushOptions:
    """What ``[push]`` says, with the files that it names. Raises ConfigError."""
    textfile = settings.textfile
    if not settings.url and not textfile:
        raise ConfigError(
            "[push] url: is empty, and so is textfile: write where metrics go, such as http://gateway:9091"
        )
    if textfile and textfile.suffix != ".prom":
        raise ConfigError(f"[push] textfile: {textfile} does not end in .prom: node_exporter would not read it")
    if textfile and not textfile.parent.is_dir():
        raise ConfigError(f"[push] textfile: {textfile.parent} is no folder: make it, or name that of node_exporter")
    if 0 < settings.expire_s < settings.interval_s:
        expire, interval = format_duration(settings.expire_s), format_duration(settings.interval_s)
        raise ConfigError(
            f"[push] expire: {expire} is shorter than interval, {interval}: a value would be gone before it is "
            "published; write a few times as long as a round, or 0"
        )
    return PushOptions(
        gateway=read_address(settings) if settings.url else None,
        textfile=textfile,
        interval_s=settings.interval_s,
        expire_s=settings.expire_s,
        delete_on_stop=settings.delete_on_stop,
    )


class PushCounts:
    """What there is to count since the start. Written by one thread, read by any."""

    def __init__(self) -> None:
        # Records by name: those that became a metric, and those that cannot.
        self.stored: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.errors = 0
        # Of the first those that came after all was published last.
        self.buffered = 0
        self.flush_seconds = Histogram(SINK_FLUSH.bounds)


class _Outage:
    """Says once that something fails, again when the reason is another one, and when it is over."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._since: float | None = None
        self._reason = ""

    @property
    def text(self) -> str:
        """For people; '' where nothing fails. Any thread may ask."""
        since = self._since
        if since is None:
            return ""
        return f"{self._what} fails since {format_duration(round(time.monotonic() - since))}: {self._reason}"

    def failed(self, reason: str) -> None:
        """It has failed."""
        self._since = time.monotonic() if self._since is None else self._since
        if reason != self._reason:
            log.error("%s fails, it is tried again at each interval: %s", self._what, reason)
        self._reason = reason

    def over(self) -> None:
        """It has worked."""
        if self._since is not None:
            log.info("%s works again, after %s", self._what, format_duration(round(time.monotonic() - self._since)))
        self._since, self._reason = None, ""


class Publisher:
    """See the module. The state lies in ``folder``; ``clock`` is Unix time. Other threads may read ``state`` and
    ``counts``.

    Raises ConfigError where the state file may not be read.
    """

    def __init__(
        self, spool: Spool, options: PushOptions, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self.counts = PushCounts()
        self._spool = spool
        self._textfile = options.textfile
        self._state_file = folder / STATE_NAME
        self._clock = clock
        # Who measures more often than we publish must not lose a value between two of our looks.
        self._gauges = Gauges(options.expire_s, round_min_s=options.interval_s)
        self._gateway = Gateway(options.gateway) if options.gateway else None
        # The last block that is taken in, the last one that is in the state file too, and how much lies between them.
        self._sequence = self._saved_sequence = 0
        self._unsaved_bytes = 0
        self._saving = _Outage("saving the state")
        self._pushing = _Outage("pushing")
        self._writing = _Outage("writing the textfile")
        self._published = "nothing published"
        self._log_limit = RateLimit()
        self._load()

    @property
    def state(self) -> str:
        """How it goes, for people."""
        troubles = [outage.text for outage in (self._saving, self._pushing, self._writing) if outage.text]
        return "; ".join(troubles) or self._published

    def take(self) -> bool:
        """Take in what is next in the spool; False where there is nothing. Raises SpoolBroken."""
        entries = self._spool.take(_TASKS_AT_ONCE, self._sequence)
        for entry in entries:
            if any(mark in entry.block for mark in _MARKS):
                for row in rows(entry.journal_id, entry.block):
                    self._take_row(row)
            self._sequence = entry.sequence
            self._unsaved_bytes += len(entry.block)
        if self._unsaved_bytes > _UNSAVED_BYTES_MAX:
            self._save()
        return bool(entries)

    def publish(self, may_go_on: Callable[[], bool] = lambda: True) -> None:
        """Replace what is published by what is known now, group after group while it may go on. Raises SpoolBroken."""
        began, errors = time.monotonic(), self.counts.errors
        self._gauges.expire(self._clock())
        self._save()
        if self._gateway:
            faults = self._for_each_target(self._gateway, self._put, may_go_on)
            self._note(self._pushing, "; ".join(faults))
        if self._textfile:
            self._write(self._textfile)
        if self.counts.errors == errors:
            self.counts.buffered = 0
            self._published = f"{self._gauges.series_count} series of {len(self._gauges.targets)} targets published"
        self.counts.flush_seconds.observe(time.monotonic() - began)

    def withdraw(self, may_go_on: Callable[[], bool] = lambda: True) -> None:
        """Delete what is published, keep what is known. Raises SpoolBroken."""
        self._save()
        faults = self._for_each_target(self._gateway, Gateway.delete, may_go_on) if self._gateway else []
        if self._textfile:
            try:
                self._textfile.unlink(missing_ok=True)
            except OSError as error:
                faults.append(f"{self._textfile}: {error.strerror}")
        if faults:
            log.error("what was published stays, against delete_on_stop: %s", "; ".join(faults))

    def _load(self) -> None:
        path = self._state_file
        try:
            self._gauges.load(path.read_bytes())
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{path}: what was known before cannot be read: {error.strerror}") from None
        except ValueError as error:
            # Of another version, perhaps. It will be measured anew, and until then nobody is better off without us.
            aside = path.with_suffix(".unreadable")
            path.replace(aside)
            log.error(
                "%s cannot be read, it is %s now, and values are known when they are measured: %s", path, aside, error
            )
            return
        log.info("%d series of %s are known from before", self._gauges.series_count, ", ".join(self._gauges.targets))

    def _take_row(self, row: Row) -> None:
        try:
            if self._gauges.take(row, self._clock()):
                self.counts.stored[row.name] += 1
                self.counts.buffered += 1
        except ValueError as error:
            self.counts.rejected[row.name] += 1
            if self._log_limit.allow((row.name, str(error)), time.monotonic()):
                log.warning("a record %s of task %d on %s is no metric: %s", row.name, row.task_id, row.node, error)

    def _save(self) -> None:
        """The state first: what the spool has forgotten is nowhere else."""
        if self._sequence == self._saved_sequence:
            return
        try:
            replace_file(self._state_file, self._gauges.dump(), 0o600)
            self._spool.done(self._sequence)
        except OSError as error:
            self._note(self._saving, f"{self._state_file}: {error.strerror}")
            return
        except SpoolFull as error:
            self._note(self._saving, str(error))
            return
        self._saved_sequence, self._unsaved_bytes = self._sequence, 0
        self._note(self._saving, "")

    def _put(self, gateway: Gateway, target: str) -> None:
        gateway.put(target, self._gauges.of(target))

    def _for_each_target(
        self, gateway: Gateway, act: Callable[[Gateway, str], None], may_go_on: Callable[[], bool]
    ) -> list[str]:
        """What went wrong. Refused is one group; without an answer there is none for the others either."""
        faults = []
        for target in self._gauges.targets:
            if not may_go_on():
                break
            try:
                act(gateway, target)
            except GatewayRefused as error:
                faults.append(f"target {target!r}: {error}")
            except GatewayUnreachable as error:
                return [*faults, str(error)]
        return faults

    def _write(self, path: Path) -> None:
        try:
            replace_file(path, generate_latest(self._gauges.of(*self._gauges.targets)), 0o644)
        except OSError as error:
            self._note(self._writing, f"{path}: {error.strerror}")
        else:
            self._note(self._writing, "")

    def _note(self, outage: _Outage, fault: str) -> None:
        if fault:
            self.counts.errors += 1
            outage.failed(fault)
        else:
            outage.over()
