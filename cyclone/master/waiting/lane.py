"""One lane: the tasks of one job that wait, on which terms they are leased, and what is out. PURE.

Kept by ``Lanes``, which alone changes it; everybody may look.
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from cyclone.master.waiting.queue import TaskQueue, Window
from cyclone.protocol.job_spec import DEFAULT_NAMESPACE, GENERATOR_JOB, RowOptions

if TYPE_CHECKING:
    from cyclone.master.waiting.shares import Share
    from cyclone.master.waiting.shelves import Shelf

# What tasks are reckoned to take as long as nothing is known: what is too much is given back with the first results.
FIRST_GUESS_S = 1.0
# No task costs less than to be handed out does, so that no-ops are shared by their number.
TASK_S_MIN = 1e-5
# What waits for its time apart is in memory: with more of a job, nothing else of it is looked at. A generator is asked
# for no more by then.
DELAYED_MAX = 131072
# So many results weigh as much as all that was known before.
_MEMORY = 64


class LaneTerms(NamedTuple):
    """On which terms a lane is leased. ``nodes`` are names of controllers or their hosts, () for all.

    ``weight`` is that of the namespace times that of the quality of service; ``cpus`` are slots of one controller,
    ``mem_bytes`` and ``resources`` amounts of one controller; ``labels`` must all be there. ``parallel`` bounds the
    lane, ``limits`` how many tasks of the whole cluster hold each name. ``not_before`` is monotonic, 0 for at once.
    """

    namespace: str = DEFAULT_NAMESPACE
    priority: int = 0
    weight: float = 1.0
    cpus: int = 1
    mem_bytes: int = 0
    resources: Mapping[str, int] = {}
    nodes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    parallel: int | None = None
    limits: Mapping[str, int] = {}
    not_before: float = 0.0
    by_value: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether only so many of its tasks may be leased at once, wherever; such tasks are exclusive."""
        return self.parallel is not None or bool(self.limits)

    @property
    def is_bounded(self) -> bool:
        """Whether anything is counted for it: such tasks go into free slots only, and never wait at a controller."""
        return self.is_limited or self.cpus > 1 or self.mem_bytes > 0 or bool(self.resources)


class Lane(TaskQueue):
    """See the module.

    ``out`` tasks are leased, or may be since an earlier epoch; ``delayed`` ones wait for their time apart, not many
    more than ``delayed_max``. Of ``lingering`` ones nobody knows yet that their lease is over. ``pending_s`` are the
    slot-seconds that its namespace was charged for what is out, ``mean_s`` is what a task takes, 0 as long as nobody
    knows; none has ended for ``quiet_s``. ``not_before`` (Unix time) and ``time_limits`` are of single tasks, by id. It
    ``rests`` while nothing of it is to be leased, whatever the reason. ``horizon`` is the last id that was ever
    offered, ``reserved`` for how many tasks controllers are kept. ``key`` is its place among those that can be leased,
    as far as anybody has looked; None where it cannot. ``counted`` and ``entry`` are for those who keep the sums and
    the order.
    """

    __slots__ = (
        "counted",
        "delayed",
        "delayed_max",
        "entry",
        "has_news",
        "held",
        "horizon",
        "is_bounded",
        "is_early",
        "key",
        "lingering",
        "mean_s",
        "not_before",
        "out",
        "pending_s",
        "quiet_s",
        "quiet_since",
        "reserved",
        "rests",
        "share",
        "shelf",
        "terms",
        "time_limits",
        "weight",
    )

    def __init__(self, job_id: int, terms: LaneTerms, share: "Share", shelf: "Shelf", window: Window) -> None:
        super().__init__(job_id, window)
        self.terms = terms
        self.share = share
        self.shelf = shelf
        self.is_bounded = terms.is_bounded
        self.weight = terms.weight
        self.held = False
        self.is_early = terms.not_before > 0
        self.rests = self.is_early or share.paused
        self.out = 0
        self.delayed = 0
        self.delayed_max = math.inf if job_id == GENERATOR_JOB else DELAYED_MAX
        self.lingering = 0
        self.reserved = 0
        self.pending_s = 0.0
        self.mean_s = 0.0
        self.quiet_s = 0.0
        self.quiet_since = 0.0
        self.has_news = True
        self.horizon = 0
        self.not_before: dict[int, float] = {}
        self.time_limits: dict[int, float] = {}
        self.counted = 0
        self.key: tuple[int, int] | None = None
        self.entry = 0

    @property
    def room(self) -> float:
        """How many more of its tasks may be out, as far as ``parallel`` says."""
        parallel = self.terms.parallel
        return math.inf if parallel is None else parallel - self.out - self.lingering

    @property
    def may_go(self) -> bool:
        """Whether it may be leased, wherever, as far as it alone says."""
        return not self.rests and self.delayed < self.delayed_max and (not self.is_bounded or self.room > 0)

    def task_s(self, unknown_s: float) -> float:
        """What a task is reckoned to take, where nothing is known of its job as much as others do."""
        return max(self.mean_s or unknown_s, self.quiet_s, TASK_S_MIN)

    def take_options(self, first: int, options: Iterable[RowOptions]) -> None:
        """What differs from task to task of the block that begins with this id."""
        for row, not_before, time_limit_s in options:
            if not_before is not None:
                self.not_before[first + row] = not_before
            if time_limit_s is not None:
                self.time_limits[first + row] = time_limit_s

    def unload(self) -> list[tuple[int, int]]:
        """See ``TaskQueue``. What single tasks have of their own comes back with them."""
        unloaded = super().unload()
        for first, count in unloaded if self.not_before or self.time_limits else ():
            self.forget_options(range(first, first + count))
        return unloaded

    def forget_options(self, task_ids: Iterable[int]) -> None:
        """These tasks have their result."""
        for task_id in task_ids:
            self.not_before.pop(task_id, None)
            self.time_limits.pop(task_id, None)

    def learn(self, count: int, seconds: float) -> None:
        """So many tasks have taken so long together."""
        self.has_news, self.quiet_s = True, 0.0
        mean_s = seconds / count
        self.mean_s = mean_s if not self.mean_s else self.mean_s + (mean_s - self.mean_s) * count / (count + _MEMORY)
