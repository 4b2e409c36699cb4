"""Which stored blocks come back into memory, and what makes room for them. PURE.

What waits lies in memory up to a bound and else in the journal, see ``TaskQueue``. Loaded are those lanes that are
next, however full the memory is; ahead of time whatever is first on its shelf, as long as there is room; and what
somebody wants to see, to end it. What cannot be leased, or comes last, goes back to where it came from.
"""

from itertools import chain, islice

from cyclone.master.state import PAGE_BYTES, PAGE_TASKS
from cyclone.master.waiting.lane import Lane
from cyclone.master.waiting.lanes import Lanes
from cyclone.master.waiting.picks import Picker

# Stored blocks come back in time, a few at once, as long as less than this can be leased out of memory.
LOAD_BELOW_TASKS = 16384
LOAD_BELOW_BYTES = 64 * 1024 * 1024
LOAD_BLOCKS = 8
# Beyond this, what cannot be leased now makes room for what can.
MEMORY_TASKS = 2 * PAGE_TASKS
MEMORY_BYTES = 2 * PAGE_BYTES
# So many shelves are looked at in a turn for what may be loaded ahead of time.
_SHELVES_AHEAD = 64


class Paging:
    """See the module."""

    def __init__(self, lanes: Lanes, picker: Picker) -> None:
        self._lanes = lanes
        self._picker = picker
        self._sought: dict[int, None] = {}

    def seek(self, job_id: int) -> None:
        """The next stored blocks of a job are to be seen, whether they can be leased or not."""
        self._sought[job_id] = None

    def next_blocks(self) -> list[int]:
        """With which ids the blocks begin that are to be loaded now; asked where any are stored."""
        lanes, picker, count = self._lanes, self._picker, LOAD_BLOCKS
        asked = dict.fromkeys([*self._sought, *picker.wanted])
        if picker.wanted:
            asked.update(dict.fromkeys(self._beside(picker.wanted, count)))
            picker.wanted = {}
        firsts: list[int] = []
        for job_id in asked:
            if len(firsts) == count:
                break
            self._sought.pop(job_id, None)
            if job_id in lanes:
                firsts += lanes.lane(job_id).next_stored(count - len(firsts))
        is_low = lanes.ready_count < LOAD_BELOW_TASKS and lanes.window.bytes_in_memory < LOAD_BELOW_BYTES
        if is_low and len(firsts) < count:
            for lane in self._ahead():
                if lane.job_id not in asked and len(firsts) < count:
                    firsts += lane.next_stored(count - len(firsts))
        if firsts:
            self.make_room()
        return firsts

    def make_room(self) -> None:
        """Where there is far too much in memory, what comes last goes back to the journal."""
        window = self._lanes.window
        if window.fresh_count <= MEMORY_TASKS and window.fresh_bytes <= MEMORY_BYTES:
            return
        last = sorted(self._lanes, key=lambda lane: (lane.key is None, lane.key or (0, 0)), reverse=True)
        for lane in last:
            if window.fresh_count <= MEMORY_TASKS // 2 and window.fresh_bytes <= MEMORY_BYTES // 2:
                break
            lane.unload()
            self._lanes.rank(lane)

    def _beside(self, wanted: dict[int, None], count: int) -> list[int]:
        """Small jobs behind a small job on its shelf: else a turn would bring one of them."""
        lane = self._lanes.lane(next(iter(wanted))) if next(iter(wanted)) in self._lanes else None
        if lane is None or len(lane.next_stored(count)) == count:
            return []
        return [other.job_id for other in lane.shelf.in_order()[:count]]

    def _ahead(self) -> list[Lane]:
        shelves = chain.from_iterable(share.active for share in self._lanes.shares.in_order())
        lanes = (shelf.first() for shelf in islice(shelves, _SHELVES_AHEAD))
        return [lane for lane in lanes if lane and lane.stored_count]
