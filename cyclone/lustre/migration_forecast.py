"""What a migration would do, before it does anything: ``cyclone lustre plan`` and ``cyclone run --dry-run`` print it.

Reads the input once, in memory that depends on the OSTs alone, and asks for the fill levels once. An estimate, not a
simulation: sources give until they reach their threshold, targets take alike until they reach theirs.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cyclone.errors import CycloneError
from cyclone.lustre.fill_levels import ask, levels
from cyclone.lustre.input_folder import SUFFIX
from cyclone.lustre.migration_input import RECORD_BYTES_MAX, SNIFF_BYTES, BadRecord, Entry, find_form
from cyclone.lustre.migration_options import MigrationOptions
from cyclone.lustre.migration_plan import Level, MigrationPlan, Ost, State

# Bytes a second of a stream, where nothing better is known.
RATE_BYTES = 200_000_000
_READ_BYTES = 1 << 20


@dataclass(slots=True)
class Listed:
    """What the input lists of one source: paths, and of those of known size how many and how large."""

    paths: int = 0
    sized: int = 0
    sized_bytes: int = 0


@dataclass(slots=True)
class Input:
    """What the input lists."""

    files: int = 0
    bad: int = 0
    sources: dict[int, Listed] = field(default_factory=dict)


class SourceForecast(msgspec.Struct):
    """What a source would give. Bytes are None where no size is known nor assumed."""

    state: str
    fill_percent: float | None
    paths: int
    files: int
    bytes: int | None


class TargetForecast(msgspec.Struct):
    """What a target would take; ``room_bytes`` is what is left up to its threshold."""

    state: str
    fill_percent: float | None
    room_bytes: int
    files: int
    bytes: int | None


class Forecast(msgspec.Struct):
    """``seconds`` is None where sizes are neither known nor assumed, or nothing could be moved."""

    input_files: int
    paths: int
    bad_records: int
    known_bytes: int
    known_paths: int
    files: int
    bytes: int | None
    streams: int
    bytes_per_s_and_stream: int
    seconds: float | None
    sources: dict[int, SourceForecast]
    targets: dict[int, TargetForecast]


def read_input(options: MigrationOptions) -> Input:
    """Count what the input files list. Raises BadRecord for a file whose columns make no sense, and OSError."""
    found = Input()
    for path in sorted(options.input_dir.glob(f"*{SUFFIX}")):
        found.files += 1
        for entry in _entries(path, options):
            if entry is None:
                found.bad += 1
                continue
            listed = found.sources.setdefault(entry.ost, Listed())
            listed.paths += 1
            if entry.size_bytes is not None:
                listed.sized += 1
                listed.sized_bytes += entry.size_bytes
    return found


def look_ahead(options: MigrationOptions, rate_bytes: int = RATE_BYTES, file_bytes: int | None = None) -> Forecast:
    """The forecast of this input at these fill levels. Raises CycloneError."""
    try:
        listed = read_input(options)
    except (BadRecord, OSError) as error:
        raise CycloneError(f"{options.input_dir}: cannot be read: {error}") from error
    return forecast(options, listed, levels(ask(options)), rate_bytes, file_bytes)


def forecast(
    options: MigrationOptions,
    listed: Input,
    levels: Mapping[int, Level],
    rate_bytes: int,
    file_bytes: int | None,
) -> Forecast:
    """What would move where, at so many bytes a second and stream; ``file_bytes`` is a file of unknown size."""
    plan = MigrationPlan(options.rules)
    plan.set_levels(levels)
    known_bytes = sum(source.sized_bytes for source in listed.sources.values())
    known = sum(source.sized for source in listed.sources.values())
    mean = known_bytes // known if known and file_bytes is None else file_bytes
    for index in listed.sources:
        plan.set_waiting(index, True)
    sources = {index: _source(plan.sources[index], listed.sources[index], mean) for index in sorted(listed.sources)}
    files = sum(source.files for source in sources.values())
    size = _total([source.bytes for source in sources.values()])
    targets = _targets(plan, files, size)
    moved = sum(target.files for target in targets.values())
    moved_bytes = _total([target.bytes for target in targets.values()])
    streams = _streams(options, plan, sources)
    seconds = None
    if moved_bytes is not None and streams:
        longest = max((source.bytes or 0) for source in sources.values()) / options.rules.streams_per_source
        seconds = max(moved_bytes / streams, min(longest, moved_bytes)) / rate_bytes
    paths = sum(source.paths for source in sources.values())
    return Forecast(
        *(listed.files, paths, listed.bad, known_bytes, known),
        *(moved, moved_bytes, streams, rate_bytes, seconds),
        *(sources, targets),
    )


def _entries(path: Path, options: MigrationOptions) -> Iterator[Entry | None]:
    """What is listed, None for each bad record."""
    with path.open("rb") as file:
        form = find_form(file.read(SNIFF_BYTES), options.columns)
        read: Callable[[bytes], Entry] = form.reader(options.task.fs_path)
        file.seek(form.skip_bytes)
        rest = b""
        while data := file.read(_READ_BYTES):
            *records, rest = (rest + data).split(form.separator)
            for record in records:
                if record.strip():
                    yield _entry(read, record)
            if len(rest) > RECORD_BYTES_MAX:
                rest = b"?" * RECORD_BYTES_MAX
        if rest.strip():
            yield _entry(read, rest)


def _entry(read: Callable[[bytes], Entry], record: bytes) -> Entry | None:
    try:
        return read(record)
    except BadRecord:
        return None


def _source(ost: Ost, listed: Listed, mean: int | None) -> SourceForecast:
    files, size = listed.paths, None
    if ost.state is not State.READY:
        files = 0
    if mean is not None:
        size = listed.sized_bytes + (listed.paths - listed.sized) * mean
        assert ost.level or not files
        if files and ost.level:
            movable = ost.level.used_bytes - int(ost.threshold * ost.level.capacity_bytes / 100)
            if size > movable:
                each = max(1, size // listed.paths)
                files = min(files, -(-movable // each))
                size = files * each
        else:
            size = 0
    return SourceForecast(ost.state, _rounded(ost), listed.paths, files, size)


def _targets(plan: MigrationPlan, files: int, size: int | None) -> dict[int, TargetForecast]:
    """Alike to all, but to none more than it has room for."""
    rooms = {
        index: max(0, int(ost.threshold * ost.level.capacity_bytes / 100) - ost.level.used_bytes) if ost.level else 0
        for index, ost in sorted(plan.targets.items())
    }
    each = None if size is None or not files else max(1, size // files)
    takes: dict[int, int] = {}
    ready = sorted((i for i in rooms if plan.targets[i].state is State.READY), key=rooms.__getitem__)
    left = files
    for place, index in enumerate(ready):
        share = -(-left // (len(ready) - place))
        takes[index] = share if each is None else min(share, -(-rooms[index] // each))
        left -= takes[index]
    return {
        index: TargetForecast(
            ost.state,
            _rounded(ost),
            rooms[index],
            takes.get(index, 0),
            None if size is None else takes.get(index, 0) * (each or 0),
        )
        for index, ost in sorted(plan.targets.items())
    }


def _streams(options: MigrationOptions, plan: MigrationPlan, sources: Mapping[int, SourceForecast]) -> int:
    rules = options.rules
    giving = sum(bool(source.files) for source in sources.values()) * rules.streams_per_source
    taking = sum(ost.window.limit for ost in plan.targets.values() if ost.state is State.READY)
    return min(giving, taking, rules.streams_max or giving)


def _total(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _rounded(ost: Ost) -> float | None:
    percent = ost.expected_percent
    return None if percent is None else round(percent, 2)
