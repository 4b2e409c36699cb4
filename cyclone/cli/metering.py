"""Metrics, where ``[metrics] port`` asks for them: what is served, and what counts it. Without a port nothing is
imported, started or counted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclone.master.journal import Journal
    from cyclone.metrics.board import Board
    from cyclone.metrics.controller import ControllerMeter
    from cyclone.metrics.master import MasterMeter
    from cyclone.metrics.sink import Counts, SinkMeter, Waiting
    from cyclone.settings import Settings


@contextmanager
def served(settings: "Settings") -> "Iterator[Board | None]":
    """The board that is served meanwhile, None without a port. Raises AlreadyRunning, ConfigError.

    Owed before anything is opened or started, so that a port that is taken is said at once.
    """
    if not settings.metrics.port:
        yield None
        return
    from cyclone.metrics.board import Board
    from cyclone.metrics.exporter import Exporter

    board = Board()
    with Exporter(board, settings.metrics.address, settings.metrics.port):
        yield board


def of_master(settings: "Settings", board: "Board | None", journal: "Journal") -> "MasterMeter | None":
    """What a master's service takes."""
    if board is None:
        return None
    from cyclone.journal import SqliteJournal
    from cyclone.journal.location import size_bytes
    from cyclone.metrics.master import MasterMeter

    durable = journal if isinstance(journal, SqliteJournal) else None
    meter = MasterMeter(board, settings.task_generator.class_path, lambda: size_bytes(durable.path) if durable else 0)
    if durable:
        durable.on_commit = meter.synced
    return meter


def of_sink(board: "Board | None", spool: "Waiting", counts: "Counts") -> "SinkMeter | None":
    """What a sink's receiver takes."""
    if board is None:
        return None
    from cyclone.metrics.sink import SinkMeter

    return SinkMeter(board, spool, counts)


def of_controller(board: "Board | None", name: str) -> "ControllerMeter | None":
    """What a controller's service takes."""
    if board is None:
        return None
    from cyclone.metrics.controller import ControllerMeter

    return ControllerMeter(board, name)
