"""The messages with which a client asks what the tasks of a job come to, without being told of each.

Owns this part of the one language of docs/protocol.md. Must not import anything of Cyclone but its limits and the other
messages. Moments are Unix seconds, durations seconds, sizes bytes.
"""

import msgspec

from cyclone.protocol.client_messages import FromClient, ToClient
from cyclone.protocol.job_spec import Index
from cyclone.protocol.messages import Count


class FiguresRequest(FromClient, tag=219, frozen=True):
    """The sums over the tasks of a job with indexes from ``start`` up to ``stop``; None for all that follow."""

    request: Count
    job_id: Count
    start: Index = 0
    stop: Index | None = None


class TaskFigures(msgspec.Struct, array_like=True, frozen=True):
    """Sums over tasks. ``tasks`` counts by state, ``attempts`` are those of all; ``nodes`` are who has or had them.

    The figures behind are of the ``ran`` tasks with a result that were started: 0 where there are none. ``failures``
    are the kinds of errors, how many there are of each, and an index that shows it.
    """

    tasks: dict[str, int] = {}
    attempts: int = 0
    nodes: list[str] = []
    ran: int = 0
    seconds: float = 0.0
    shortest_s: float = 0.0
    longest_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    started: float = 0.0
    finished: float = 0.0
    failures: list[tuple[str, int, int]] = []


class FiguresReport(ToClient, tag=312, frozen=True):
    """Answers ``FiguresRequest``, for the tasks below ``next``; None where these are all."""

    request: Count
    figures: TaskFigures
    next: Index | None
