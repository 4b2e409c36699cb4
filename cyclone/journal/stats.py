"""``cyclone journal stats``: what a journal holds, in figures.

Owns the figures; must not know how they are shown.
"""

from pathlib import Path

import msgspec

from cyclone.journal import blocks, recovery
from cyclone.journal.reader import Reader
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.protocol import states


class Stats(msgspec.Struct):
    """The names are those of the JSON object. ``tasks`` counts all tasks that were ever added, by state; ``jobs`` those
    that were submitted and are still there.
    """

    journal_id: str
    generator_class: str
    created_by: str
    epochs: int
    tasks: dict[str, int]
    last_id: int
    horizon: int
    blocks_open: int
    blocks_closed: int
    result_batches: int
    attempts_ended: int
    keys: int
    tasks_dropped: int
    jobs: dict[str, int]
    namespaces: list[str]
    generator: dict[str, int | bool] | None
    controllers: list[str]
    file_bytes: int
    wal_bytes: int


def read_stats(path: Path) -> Stats:
    """The figures of a journal, which a master may be writing meanwhile."""
    with Reader(path) as reader, reader.snapshot() as progress:
        db = reader.db
        ended = progress.ended
        jobs = recovery.load_open_jobs(db)
        opened = recovery.load_open_blocks(db, progress.horizon, jobs)
        for part in recovery.open_parts(db, opened, progress.horizon):
            for block in opened.overlapping(part.first, part.end):
                ended = blocks.add_counts(ended, part.counts(block.first, block.end))
        return Stats(
            journal_id=reader.meta["journal_id"],
            generator_class=reader.meta["generator_class"],
            created_by=reader.meta["created_by"],
            epochs=db.execute("SELECT epoch FROM fence").get,
            tasks={
                "queued": progress.last_id - sum(ended.values()),
                **{state: ended[state] for state in states.STATE_NAMES.values() if state in ended},
            },
            last_id=progress.last_id,
            horizon=progress.horizon,
            blocks_open=len(opened),
            blocks_closed=db.execute("SELECT count(*) FROM done").get,
            result_batches=progress.number,
            attempts_ended=db.execute("SELECT coalesce(sum(count), 0) FROM attempts").get,
            keys=db.execute("SELECT count(*) FROM keys").get,
            tasks_dropped=sum(progress.dropped.values()),
            jobs={"open": len(jobs), "ended": db.execute("SELECT count(*) FROM ended_jobs").get},
            namespaces=[name for (name,) in db.execute("SELECT name FROM namespaces ORDER BY name")],
            generator=None if progress.generator is None else _figures(progress.generator),
            controllers=[name for (name,) in db.execute("SELECT name FROM controllers ORDER BY name")],
            file_bytes=path.stat().st_size,
            wal_bytes=_size(path.with_name(path.name + "-wal")),
        )


def _figures(progress: GeneratorProgress) -> dict[str, int | bool]:
    """How far the generator has come; its cursor is its own business."""
    return {
        "pulled": progress.pulled,
        "consumed": progress.consumed,
        "cursor_pulled": progress.cursor_pulled,
        "cursor_consumed": progress.cursor_consumed,
        "cursor_bytes": len(progress.cursor),
        "exhausted": progress.exhausted,
    }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
