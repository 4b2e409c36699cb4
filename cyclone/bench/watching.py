"""What a running master gets done, from what it answers to ``status``: a cluster at its own work, seen from outside.

Owns the figures of ``cyclone bench --connect``; all functions are pure. Nothing is submitted, so the rate is that of
the work that is there, and says how fast the cluster is only while tasks wait.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from cyclone.protocol import states
from cyclone.protocol.client_messages import StatusReport


class Sample(NamedTuple):
    """One answer. ``at`` is monotonic, ``trip_us`` how long it took."""

    at: float
    trip_us: float
    epoch: int
    done: int
    queued: int
    leased: int
    controllers: int
    slots: int


def sample(answer: StatusReport, at: float, trip_us: float) -> Sample:
    """What counts of an answer."""
    return Sample(
        at,
        trip_us,
        answer.epoch,
        sum(answer.tasks.get(state, 0) for state in states.FINAL_STATES),
        answer.tasks.get("queued", 0),
        answer.tasks.get("leased", 0),
        len(answer.controllers),
        sum(controller.slots for controller in answer.controllers),
    )


def of_samples(samples: Sequence[Sample]) -> dict[str, Any]:
    """The report; ``spread`` is over the times between two answers. ValueError where another master has taken over."""
    first, last = samples[0], samples[-1]
    if any(one.epoch != first.epoch for one in samples):
        raise ValueError("the master was started again meanwhile")
    rates = [(later.done - earlier.done) / (later.at - earlier.at) for earlier, later in pairwise(samples)]
    trips = sorted(one.trip_us for one in samples)
    seconds = last.at - first.at
    return {
        "mode": "watch",
        "seconds": round(seconds, 4),
        "tasks": last.done - first.done,
        "tasks_per_s": round((last.done - first.done) / seconds, 1),
        "spread": {"tasks_per_s": [round(min(rates), 1), round(max(rates), 1)]},
        "controllers": last.controllers,
        "slots": last.slots,
        "queued": last.queued,
        "leased": last.leased,
        "waiting_share": round(sum(one.queued > 0 for one in samples) / len(samples), 3),
        "question_p50_us": round(trips[len(trips) // 2], 1),
        "question_max_us": round(trips[-1], 1),
    }


def lines(report: dict[str, Any]) -> Iterator[str]:
    """For people."""
    least, greatest = report["spread"]["tasks_per_s"]
    waited = report["waiting_share"]
    yield f"rate         {report['tasks_per_s']:,.1f} tasks/s  ({least:,.1f} to {greatest:,.1f})"
    yield f"done         {report['tasks']:,} tasks in {report['seconds']:.1f} s"
    yield f"cluster      {report['controllers']:,} controllers with {report['slots']:,} workers in all"
    yield f"now          {report['queued']:,} tasks wait, {report['leased']:,} are at the controllers"
    yield f"a question   {report['question_p50_us']:,.0f} us, at most {report['question_max_us']:,.0f} us"
    if waited < 1:
        yield (
            f"beware       tasks waited in {waited * 100:.0f} % of the looks only: "
            "in the others the work was what there was too little of"
        )
