"""What a controller says it holds when it says hello: which of it is still its own. PURE.

Owns the rule. A lease of this epoch is known exactly; of two that an earlier epoch gave, the later one counts, whoever
is the first to tell of his. Only looks; ``State.adopt`` binds.
"""

from collections.abc import Iterator, Mapping

from cyclone.master.leases.sessions import Session
from cyclone.master.spans import Span, SpanIndex
from cyclone.protocol.messages import TaskRange

Lease = tuple[int, int]
"""Epoch and attempt."""


def known_leases(held: list[TaskRange], old: Session | None, index: SpanIndex, epoch: int) -> set[Lease]:
    """Of the leases of this epoch that somebody claims, those that there are, and others."""
    asked = {(part.epoch, part.attempt) for part in held if part.epoch == epoch}
    # Who comes back with what he had needs no look at what all others have: there may be thousands who come back.
    leases = {span.token for span in old.spans} if old else set()
    return leases if asked <= leases else {span.token for span in index}


def adoptable(
    part: TaskRange, old: Session | None, index: SpanIndex, epoch: int, ended: Mapping[int, Lease]
) -> Iterator[tuple[int, int]]:
    """The stretches of a claim, each within a span, that are not somebody else's by now.

    ``old`` is the former session of the same incarnation, ``ended`` has the last lease of a task whose end is recorded.
    """
    for span, start, stop in index.overlapping(part.first, part.first + part.count):
        if not _may_adopt(span, part, old, epoch):
            continue
        at = start
        # A lease whose end is recorded has ended, though its controller still waits to be told.
        for task_id in range(start, stop) if ended else ():
            if ended.get(task_id, (0, 0)) >= (part.epoch, part.attempt):
                if at < task_id:
                    yield at, task_id
                at = task_id + 1
        if at < stop:
            yield at, stop


def _may_adopt(span: Span, part: TaskRange, old: Session | None, epoch: int) -> bool:
    lease = (part.epoch, part.attempt)
    if lease == span.token:
        return span.holder is None or (old is not None and span.holder == old.session_id)
    return part.epoch < epoch and lease > span.token
