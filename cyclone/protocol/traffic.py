"""How much the master has sent and received over its socket: for people, benchmarks and the loop, not for the brain."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Traffic:
    """Messages and their bytes, those of the frames alone: what TCP and encryption add is not in them."""

    sent: int = 0
    sent_bytes: int = 0
    received: int = 0
    received_bytes: int = 0

    def on_sent(self, frames: Sequence[bytes]) -> None:
        """A message has left."""
        self.sent += 1
        self.sent_bytes += sum(map(len, frames))

    def on_received(self, frames: Sequence[bytes]) -> None:
        """A message has come, whatever it is."""
        self.received += 1
        self.received_bytes += sum(map(len, frames))
