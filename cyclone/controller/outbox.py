"""Results on their way to the master: gathered, sent, and kept until the master says that they are recorded. PURE."""

from cyclone.protocol import limits
from cyclone.protocol.messages import ResultBatch, TaskRange

# Gathering saves messages, and a message costs all whom it wakes 2.5 ms of cold caches together: controller, master and
# generator, each in turn. A result waits at most so long for company while there is work left here; where the workers
# have the last of it, the next result may be what the master waits for.
GATHER_S = 0.1
GATHER_LAST_S = 0.002
GATHER_ROWS = 8192
# A message that was not acknowledged by then is sent again.
RESEND_S = 3.0


class Outbox:
    """``pending`` results wait to be sent; ``sent`` ones, by message number, to be recorded."""

    def __init__(self) -> None:
        self._pending: list[ResultBatch] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._pending_since = 0.0
        self._sent: dict[int, tuple[float, list[ResultBatch]]] = {}
        self._last_number = 0

    def __bool__(self) -> bool:
        return bool(self._pending or self._sent)

    def add(self, batch: ResultBatch, now: float) -> None:
        """Gather a batch."""
        if not self._pending:
            self._pending_since = now
        self._pending.append(batch)
        self._pending_rows += len(batch.statuses)
        self._pending_bytes += len(batch.body)

    def flush_at(self, gather_s: float = GATHER_S) -> float | None:
        """When what is gathered must go, None when there is nothing."""
        if not self._pending:
            return None
        full = self._pending_rows >= GATHER_ROWS or self._pending_bytes >= limits.BATCH_BYTES_TARGET
        return 0.0 if full else self._pending_since + gather_s

    def flush(self, now: float) -> list[tuple[int, list[ResultBatch]]]:
        """What is gathered, as numbered messages within the limit of bytes; they count as sent."""
        messages: list[tuple[int, list[ResultBatch]]] = []
        size = 0
        for batch in self._pending:
            full = messages and len(messages[-1][1]) == limits.BATCHES_PER_MESSAGE_MAX
            if not messages or full or size + len(batch.body) > limits.BATCH_BYTES_TARGET:
                self._last_number += 1
                messages.append((self._last_number, []))
                size = 0
            messages[-1][1].append(batch)
            size += len(batch.body)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        for number, batches in messages:
            self._sent[number] = (now, batches)
        return messages

    def overdue(self, now: float, after_s: float = RESEND_S) -> list[tuple[int, list[ResultBatch]]]:
        """Sent messages without an answer for that long; they count as sent again now."""
        # Numbers rise and so do the times, but for what was sent again: the first that is not overdue ends the search.
        late = []
        for number, (sent_at, batches) in self._sent.items():
            if sent_at + after_s > now:
                break
            late.append((number, batches))
        for number, batches in late:
            del self._sent[number]
            self._sent[number] = (now, batches)
        return late

    def resend_at(self) -> float | None:
        """When the oldest unanswered message is overdue."""
        return next((sent_at + RESEND_S for sent_at, _ in self._sent.values()), None)

    def recorded(self, numbers: list[int]) -> None:
        """The master has these."""
        for number in numbers:
            self._sent.pop(number, None)

    def clear(self) -> None:
        """Forget everything: it was for another master's journal."""
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        self._sent.clear()

    def held(self) -> list[TaskRange]:
        """What this controller still answers for, because its result is not recorded."""
        batches = [*self._pending, *(batch for _, sent in self._sent.values() for batch in sent)]
        return [TaskRange(batch.first, len(batch.statuses), batch.epoch, batch.attempt) for batch in batches]
