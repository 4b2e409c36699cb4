"""What has happened at a master, as one stream, also through its restarts.

Owns how the pages of its event log become that stream, and what stands where a part of it is missing. What is an event,
the master knows. Knows no socket. Light to import.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from cyclone.client.pacing import Batch

if TYPE_CHECKING:
    from cyclone.protocol.event_messages import EventsReport, Happening

MISSED = "missed"
"""The kind of the event that stands for those that nobody can tell any more."""
_LOOK_EVERY_S = 0.5


class Since(NamedTuple):
    """Where to begin: behind this number, of this epoch (0 for the present one), or at this moment (Unix time)."""

    after: int = 0
    epoch: int = 0
    moment: float = 0.0


class Told(NamedTuple):
    """An event, and the epoch that it has its number in."""

    epoch: int
    event: "Happening"


class Reader:
    """The event log of a master page by page. ``ask`` is ``Client.event_page``."""

    def __init__(self, ask: "Callable[[int, int], EventsReport]", since: Since) -> None:
        self._ask = ask
        self._since = since
        self._after, self._epoch = since.after, since.epoch
        self._goes_on = since.after > 0
        # Of the epochs before: what was until then has been told.
        self._told_to = self._newest = 0.0
        self.is_at_end = False

    def batches(self, follow: bool) -> Iterator[Batch[Told]]:
        """All that there are, page by page, and with ``follow`` what happens from then on."""
        while True:
            found = self.read()
            if self.is_at_end and not follow:
                yield Batch(found)
                return
            yield Batch(found, _LOOK_EVERY_S if self.is_at_end else 0.0)

    def read(self) -> list[Told]:
        """What comes next, with an event of the kind ``missed`` in the place of those that nobody can tell any more."""
        report = self._ask(self._after, self._epoch)
        if not self._epoch:
            self._epoch = report.epoch
            if self._after:
                report = self._ask(self._after, self._epoch)
        found = self._missing(report)
        found += [Told(report.epoch, event) for event in report.events if self._is_news(event)]
        self._newest = max([self._newest, *(event.time for event in report.events)])
        self._epoch, self._goes_on = report.epoch, True
        self._after = report.events[-1].number if report.events else report.last
        self.is_at_end = self._after >= report.last
        return found

    def _missing(self, report: "EventsReport") -> list[Told]:
        if report.epoch != self._epoch:
            self._told_to = self._newest
            text = f"epoch {self._epoch} is over; of it only when jobs came and how they ended is known"
        elif self._goes_on and report.first > self._after + 1:
            count = report.first - self._after - 1
            text = f"{count:,} event{'s' * (count != 1)} of before were forgotten"
        else:
            return []
        from cyclone.protocol.event_messages import Happening

        moment = report.events[0].time if report.events else 0.0
        return [Told(report.epoch, Happening(report.first - 1, moment, MISSED, text=text))]

    def _is_news(self, event: "Happening") -> bool:
        return event.time >= self._since.moment and not (event.restored and event.time <= self._told_to)
