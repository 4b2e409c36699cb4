"""Records as gauges for Prometheus: of everything that is measured the last value, for as long as it is fresh.

Owns which record becomes which metric, how long a value lasts without a new one, and the state that is kept over a
restart. Knows no gateway, no file and no clock: ``now`` is Unix time, because records are dated by the nodes that made
them, and may come late.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from cyclone.sinks.rows import Row

TARGETS_MAX = 64
SERIES_MAX = 200_000
"""Bounds that no file system comes near: records are made by tasks, and a mistake there must not fill the memory."""

_LABEL_CHARS_MAX = 255
# A value lasts for so many rounds without a new one: one that is late, and one that was lost.
_ROUNDS = 3
_STATE_VERSION = 1


class _Reading(NamedTuple):
    """What a record says of one series: its values, none where it could not be measured, or that there is none."""

    target: str
    labels: tuple[str, ...]
    values: tuple[float, ...]
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class _Gauge:
    name: str
    help: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """A sort of records. ``values`` are its gauges, one for each value of a reading.

    ``error`` is 1 where a series could not be measured: for each of them, or one for all where ``error_for_all``.
    """

    labels: tuple[str, ...]
    values: tuple[_Gauge, ...]
    error: _Gauge
    error_for_all: bool
    last_run: _Gauge
    read: Callable[[Mapping[str, Any]], _Reading]

    def fits(self, sample: "_Sample") -> bool:
        """Whether it is one of this kind."""
        return len(sample.labels) == len(self.labels) and len(sample.values) in (0, len(self.values))


class _Sample(msgspec.Struct, array_like=True, frozen=True):
    """The last reading of a series, and the time between it and the one before it, 0 for the first."""

    labels: tuple[str, ...]
    values: tuple[float, ...]
    at: float
    interval_s: float


class _SavedKind(msgspec.Struct):
    last_run: float
    samples: list[_Sample]


class _State(msgspec.Struct):
    version: int
    targets: dict[str, dict[str, _SavedKind]]


class _Series:
    """All series of a kind at one target."""

    def __init__(self, last_run: float = 0.0, samples: Iterable[_Sample] = ()) -> None:
        self.last_run = last_run
        self.samples = {sample.labels: sample for sample in samples}

    def take(self, reading: _Reading, at: float) -> None:
        self.last_run = max(self.last_run, at)
        if reading.is_gone:
            self.samples.pop(reading.labels, None)
            return
        former = self.samples.get(reading.labels)
        interval_s = at - former.at if former and at > former.at else former.interval_s if former else 0.0
        self.samples[reading.labels] = _Sample(reading.labels, reading.values, at, interval_s)

    def expire(self, now: float, expire_s: float, round_min_s: float) -> None:
        # What is from the future came while our own clock was ahead, and is as doubtful as what is old.
        self.last_run = min(self.last_run, now)
        # Not the longest: one node whose clock is wrong for a moment has had a round of years.
        seen_s = [sample.interval_s for sample in self.samples.values() if sample.interval_s]
        round_s = max(statistics.median_high(seen_s), round_min_s) if seen_s else 0.0
        limit_s = expire_s or _ROUNDS * round_s
        if limit_s:
            self.samples = {
                labels: sample for labels, sample in self.samples.items() if abs(now - sample.at) <= limit_s
            }


class Gauges:
    """See the module. ``expire_s`` of 0: three rounds, as long as they were seen to take, ``round_min_s`` at least."""

    def __init__(self, expire_s: float, round_min_s: float = 0.0) -> None:
        self._expire_s = expire_s
        self._round_min_s = round_min_s
        self._targets: dict[str, dict[str, _Series]] = {}

    @property
    def targets(self) -> list[str]:
        """What was measured: each is a group of its own."""
        return sorted(self._targets)

    @property
    def series_count(self) -> int:
        """How many series are held."""
        return sum(len(series.samples) for kinds in self._targets.values() for series in kinds.values())

    def take(self, row: Row, now: float) -> bool:
        """Take a record in, and say whether it is of a kind that becomes a metric.

        Raises ValueError for one whose fields are not those of its kind, or for which there is no room.
        """
        kind = KINDS.get(row.name)
        if kind is None or row.ordinal == 0:
            return False
        reading = kind.read(row.fields)
        kinds = self._targets.get(reading.target, {})
        series = kinds.get(row.name) or _Series()
        if not kinds and len(self._targets) >= TARGETS_MAX:
            raise ValueError(
                f"target {reading.target!r} would be one too many: at most {TARGETS_MAX} are kept; one that is gone "
                "for good is forgotten when the client is stopped and its state file removed"
            )
        if reading.labels not in series.samples and not reading.is_gone and self.series_count >= SERIES_MAX:
            raise ValueError(f"it would be one series too many: at most {SERIES_MAX} are kept")
        # A node whose clock is ahead must not keep its values fresh for longer, and infinity cannot be saved.
        series.take(reading, max(0.0, min(now, row.started + row.seconds)))
        self._targets.setdefault(reading.target, {})[row.name] = series
        return True

    def expire(self, now: float) -> None:
        """Forget what was not measured for too long. That there was something to measure is not forgotten."""
        for kinds in self._targets.values():
            for series in kinds.values():
                series.expire(now, self._expire_s, self._round_min_s)

    def of(self, *targets: str) -> Collector:
        """What prometheus-client makes a text of: the metrics of these targets as they are now."""
        return _Collected(list(self._families(targets)))

    def dump(self) -> bytes:
        """All of it, as ``load`` takes it."""
        targets = {
            target: {name: _SavedKind(series.last_run, list(series.samples.values())) for name, series in kinds.items()}
            for target, kinds in self._targets.items()
        }
        return msgspec.json.encode(_State(_STATE_VERSION, targets))

    def load(self, state: bytes) -> None:
        """Go on with what ``dump`` gave. Raises ValueError where it is none of this version."""
        found = msgspec.json.decode(state, type=_State)
        if found.version != _STATE_VERSION:
            raise ValueError(f"its version is {found.version}, this one knows {_STATE_VERSION}")
        for kinds in found.targets.values():
            for name, saved in kinds.items():
                if name in KINDS and not all(map(KINDS[name].fits, saved.samples)):
                    raise ValueError(f"a series of {name} has other labels or values than its kind")
        self._targets = {
            target: {name: _Series(saved.last_run, saved.samples) for name, saved in kinds.items() if name in KINDS}
            for target, kinds in found.targets.items()
        }

    def _families(self, targets: Iterable[str]) -> Iterator[Family]:
        for name, kind in KINDS.items():
            found = {target: self._targets[target][name] for target in targets if name in self._targets[target]}
            if found:
                yield from _families_of(kind, found)


def _families_of(kind: _Kind, found: Mapping[str, _Series]) -> Iterator[Family]:
    for number, gauge in enumerate(kind.values):
        family = GaugeMetricFamily(gauge.name, gauge.help, labels=["target", *kind.labels])
        for target, series in found.items():
            for sample in series.samples.values():
                if sample.values:
                    family.add_metric([target, *sample.labels], sample.values[number])
        yield family
    errors = GaugeMetricFamily(
        kind.error.name, kind.error.help, labels=["target", *(() if kind.error_for_all else kind.labels)]
    )
    last_run = GaugeMetricFamily(kind.last_run.name, kind.last_run.help, labels=["target"])
    for target, series in found.items():
        failed = {sample.labels: float(not sample.values) for sample in series.samples.values()}
        if kind.error_for_all:
            failed = {(): max(failed.values(), default=0.0)}
        for labels, value in failed.items():
            errors.add_metric([target, *labels], value)
        last_run.add_metric([target], series.last_run)
    yield errors
    yield last_run


class _Collected(Collector):
    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> list[Family]:
        return self._families


def _read_file_creation(fields: Mapping[str, Any]) -> _Reading:
    outcomes: dict[str, tuple[float, ...]] = {"OK": (1.0,), "FAILED": (0.0,), "ERROR": (), "IGNORED": ()}
    outcome = fields.get("outcome")
    if not isinstance(outcome, str) or outcome not in outcomes:
        raise ValueError(f"its outcome is {str(outcome)[:_LABEL_CHARS_MAX]!r}, not one of {', '.join(outcomes)}")
    labels = _label(fields, "mdt_index"), _label(fields, "ost_index")
    return _Reading(_label(fields, "target"), labels, outcomes[outcome], outcome == "IGNORED")


def _read_ost_io(fields: Mapping[str, Any]) -> _Reading:
    target, labels, error = _label(fields, "fs"), (_label(fields, "ost"),), fields.get("error")
    if error:
        # Lustre itself knows that an inactive one cannot be measured.
        return _Reading(target, labels, (), error == "inactive")
    return _Reading(target, labels, (_number(fields, "write_bytes_per_s"), _number(fields, "read_bytes_per_s")))


def _label(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or not 0 < len(str(value)) <= _LABEL_CHARS_MAX:
        raise ValueError(f"its {name} is {str(value)[:_LABEL_CHARS_MAX]!r}, neither a number nor a name")
    # Of a path some bytes may be no text, and the exposition is.
    return str(value).encode("utf-8", "replace").decode()


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"its {name} is {str(value)[:_LABEL_CHARS_MAX]!r}, and no number")
    return float(value)


KINDS: Mapping[str, _Kind] = {
    # The first two names are those of the original Cyclone.
    "lustre_file_creation_check": _Kind(
        labels=("mdt_index", "ost_index"),
        values=(
            _Gauge(
                "cyclone_lustre_file_creation_check",
                "1 if a file could be created by this MDT on this OST, 0 if it came to lie elsewhere.",
            ),
        ),
        error=_Gauge("cyclone_lustre_file_creation_error", "1 if the last check of an MDT and OST ended in an error."),
        error_for_all=True,
        last_run=_Gauge(
            "cyclone_lustre_file_creation_check_last_run_timestamp_seconds", "When the last check ended, Unix time."
        ),
        read=_read_file_creation,
    ),
    "lustre_ost_io": _Kind(
        labels=("ost",),
        values=(
            _Gauge("cyclone_lustre_ost_write_bytes_per_second", "How fast the last file was written to this OST."),
            _Gauge("cyclone_lustre_ost_read_bytes_per_second", "How fast the last file was read from this OST."),
        ),
        error=_Gauge("cyclone_lustre_ost_io_error", "1 if the last write or read of this OST failed."),
        error_for_all=False,
        last_run=_Gauge("cyclone_lustre_ost_io_last_run_timestamp_seconds", "When the last probe ended, Unix time."),
        read=_read_ost_io,
    ),
}
"""What becomes of the records of each name."""
