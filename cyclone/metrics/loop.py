"""What every main loop shows: how long its turns take and what went through its socket; and how often it shows it.

Owns the rhythm. A turn costs two readings of the clock; a snapshot is made once a second, whoever asks for it.
"""

import time

from cyclone.metrics.board import Board, Sheet
from cyclone.metrics.histogram import Histogram
from cyclone.metrics.names import LAST_TURN, LOOP_LAG, MESSAGE_BYTES, MESSAGES, MESSAGES_DROPPED
from cyclone.protocol.traffic import Traffic

PUBLISH_S = 1.0


class LoopMeter:
    """See the module."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lag = Histogram(LOOP_LAG.bounds)
        self._publish_at = 0.0

    def turned(self, woke_at: float) -> bool:
        """A turn that began with the end of its wait is over; whether it is time for ``show``."""
        now = time.monotonic()
        self._lag.observe(now - woke_at)
        self._board.turned_at = now
        if now < self._publish_at:
            return False
        self._publish_at = now + PUBLISH_S
        return True

    def show(self, sheet: Sheet, traffic: Traffic, bad_messages: int) -> None:
        """Put up this sheet, with what is every loop's own."""
        sheet.put(LOOP_LAG, self._lag.buckets())
        sheet.put(LAST_TURN, time.time())
        for direction, messages, size in (
            ("received", traffic.received, traffic.received_bytes),
            ("sent", traffic.sent, traffic.sent_bytes),
        ):
            sheet.put(MESSAGES, messages, direction)
            sheet.put(MESSAGE_BYTES, size, direction)
        sheet.put(MESSAGES_DROPPED, bad_messages)
        self._board.turned_at = time.monotonic()
        self._board.snapshot = sheet.done()
