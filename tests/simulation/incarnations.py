"""Who may drive out whom: of two controllers of a name, the newer one stays.

Which one is the newer, a master knows only of those that it met, or that the journal of its predecessors names.
"""

from typing import TYPE_CHECKING

from cyclone.protocol import messages
from cyclone.protocol.messages import Hello

if TYPE_CHECKING:
    from tests.simulation.controller import VirtualController


class Incarnations:
    """In which order they said their first hello, by epoch."""

    def __init__(self) -> None:
        self._epochs: list[dict[str, tuple[int, str]]] = []

    def epoch_begins(self, live: dict[str, str]) -> None:
        """Another master, which has read who was there."""
        met = [(incarnation, name) for name, incarnation in live.items()]
        self._epochs.append({incarnation: (at, name) for at, (incarnation, name) in enumerate(met, start=1)})

    def greeted(self, hello: Hello) -> None:
        """A hello is handled by the master."""
        met = self._epochs[-1]
        met.setdefault(hello.incarnation, (len(met) + 1, hello.name))

    def check_exit(self, controller: "VirtualController", code: int, reason: str) -> None:
        """A controller ends by itself: drained, or superseded by one that started after it."""
        if code == 0:
            assert controller.agent.draining, f"{controller.name} exits with 0, and nobody asked: {reason}"
            return
        assert code == 1 and reason.startswith(messages.SUPERSEDED), f"{controller.name} exits with {code}: {reason}"
        newer = any(_has_successor(met, controller) for met in self._epochs)
        assert newer, f"{controller.name} is superseded by an older incarnation: {reason}"


def _has_successor(met: dict[str, tuple[int, str]], controller: "VirtualController") -> bool:
    mine = met.get(controller.incarnation, (0, ""))[0]
    return any(name == controller.name and number > mine for number, name in met.values())
