"""The messages with which a client reads what has happened at a master: the event log, page by page.

Owns this part of the one language of docs/protocol.md. Must not import anything of Cyclone but its limits and the other
messages. Events are numbered from 1 in each epoch; who asks names the last one that he has.
"""

import msgspec

from cyclone.protocol import limits
from cyclone.protocol.client_messages import FromClient, ToClient
from cyclone.protocol.job_spec import PageSize
from cyclone.protocol.messages import Count

EVENT_KINDS = (
    "master_started",
    "master_stopping",
    "job_submitted",
    "job_held",
    "job_released",
    "job_sealed",
    "job_ended",
    "cancel_wanted",
    "tasks_cancelled",
    "tasks_expired",
    "tasks_quarantined",
    "tasks_requeued",
    "task_failed",
    "controller_joined",
    "controller_left",
    "controller_drained",
    "controller_undrained",
    "controller_suspected",
    "controller_trusted",
    "namespace_set",
    "namespace_paused",
    "namespace_resumed",
    "namespace_deleted",
)
"""What an event can be. There may be more of them one day: a client shows those that it does not know as they are."""


class EventsRequest(FromClient, tag=218, frozen=True):
    """The events behind number ``after`` of this epoch; of an epoch that is over, or of 0, from the oldest on."""

    request: Count
    epoch: Count = 0
    after: Count = 0
    page: PageSize = limits.PAGE_ROWS_MAX


class Happening(msgspec.Struct, array_like=True, frozen=True):
    """One event. ``time`` is Unix time, ``by`` the name of the key that asked for it, empty for the master itself.

    ``job_id`` is None where it is about no job, 0 for that of the generator; ``name`` is the job's. ``controller`` is
    what it is about, or where it has happened. ``tasks`` counts by state, ``text`` is a reason or an error.
    ``restored``: not seen happen, but read in the journal by a master that was started later.
    """

    number: int
    time: float
    kind: str
    by: str = ""
    job_id: int | None = None
    namespace: str = ""
    name: str = ""
    controller: str = ""
    tasks: dict[str, int] = {}
    text: str = ""
    restored: bool = False


class EventsReport(ToClient, tag=311, frozen=True):
    """Answers ``EventsRequest``: a page of events. The master has those from ``first`` to ``last``; what is older is
    forgotten.
    """

    request: Count
    epoch: Count
    first: Count
    last: Count
    events: list[Happening]
