"""What the one task of a job prints, passed on while it runs.

Owns what was shown already: what is left of it when the task has ended, its result says. Of a job with several tasks
each is passed on when it has ended, so that their lines do not mix.
"""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from cyclone.cli import output
from cyclone.lifecycle import OPEN_STATES

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.client.task_output import OutputReader
    from cyclone.protocol.job_messages import OutputAnswer

_WAIT_S = 2.0


class Live:
    """See the module. ``is_on`` is False for a job of several tasks, of which nothing is shown here."""

    def __init__(self, client: "Client", job_id: int, is_on: bool) -> None:
        self._reader: OutputReader | None = client.read_output(job_id, 0) if is_on else None
        self._attempt = 0
        self._shown: Counter[str] = Counter()

    def follow(self) -> None:
        """Until the task has ended, or cannot be followed; once more where that was broken off."""
        reader = self._reader
        if reader is None:
            return
        for piece in reader.follow(_WAIT_S):
            if reader.lost_bytes or self._is_over(reader.last):
                # The rest comes with its result.
                self._reader = None
                return
            if piece is None:
                continue
            if piece.attempt != self._attempt:
                if self._attempt:
                    output.note(f"cyclone: attempt {self._attempt} has ended; this is attempt {piece.attempt}")
                self._attempt, self._shown = piece.attempt, Counter()
            write(sys.stdout if piece.stream == "stdout" else sys.stderr, piece.data)
            self._shown[piece.stream] += len(piece.data)

    @staticmethod
    def _is_over(last: "OutputAnswer | None") -> bool:
        """Whether nothing more will come this way. Who is away while the task goes on may come back with it."""
        return last is not None and bool(last.text) and not (last.away and last.state in OPEN_STATES)

    def shown_bytes(self, attempt: int, stream: str) -> int:
        """How many bytes of this attempt's were passed on."""
        return self._shown[stream] if attempt == self._attempt else 0


def write(stream: Any, printed: bytes) -> None:
    """Bytes as they were printed, whatever they are."""
    stream.flush()
    stream.buffer.write(printed)
    stream.flush()
