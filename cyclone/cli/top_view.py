"""What ``cyclone top`` shows: from what a master said at two moments to lines of text. Knows no terminal.

Owns the layout: which figures there are, in which order, and what goes first where there is too little room. A line is
a list of pieces, text with the name of a style. Names that others have given never reach it unescaped.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cyclone.cli import selectors
from cyclone.cli.columns import ERROR, duration_text, safe

if TYPE_CHECKING:
    from cyclone.protocol.client_messages import StatusReport
    from cyclone.protocol.job_messages import JobSummary, NamespaceSummary

PLAIN, HEAD, GOOD, BAD, WARN, FAINT = "plain", "head", "good", "bad", "warn", "faint"
Line = list[tuple[str, str]]

SORTS = ("newest", "rate", "progress", "failures", "eta")
JOBS_MAX = 200
WIDTH_MIN, HEIGHT_MIN = 20, 4
_BAR_WIDTH = 10
# A rate is of no use where two looks are nearer than this.
_APART_MIN_S = 0.05


@dataclass(frozen=True)
class Sample:
    """What a master said at a moment (monotonic). ``failures`` are kinds of errors: text, how many, a task."""

    now: float
    status: "StatusReport"
    namespaces: "Sequence[NamespaceSummary]" = ()
    jobs: "Sequence[JobSummary]" = ()
    failures: Sequence[tuple[str, int, str]] = ()

    @property
    def ended(self) -> int:
        """Tasks with a result."""
        return sum(self.status.tasks.get(state, 0) for state in selectors.ENDED_TASK_STATES)

    @property
    def busy(self) -> int:
        """Tasks that are being executed."""
        return sum(one.busy for one in self.status.controllers)


class Rates(NamedTuple):
    """Tasks per second between two samples, None where that is not known; ``jobs`` has ended tasks by job."""

    started: float | None = None
    ended: float | None = None
    jobs: dict[int, float] = {}


@dataclass
class View:
    """How somebody wants to see it."""

    address: str
    sort: str = SORTS[0]
    paused: bool = False
    error: str = ""
    keys: str = ""
    rates: Rates = field(default_factory=Rates)


def rates(before: Sample | None, now: Sample) -> Rates:
    """What happened between two samples of one epoch of a master."""
    if before is None or before.status.epoch != now.status.epoch:
        return Rates()
    apart_s = now.now - before.now
    if apart_s < _APART_MIN_S:
        return Rates()
    ended = now.ended - before.ended
    # What is executed now and was not is started, too.
    started = max(0, ended + now.busy - before.busy)
    of_before = {job.job_id: _ended(job) for job in before.jobs}
    jobs = {job.job_id: (_ended(job) - of_before.get(job.job_id, 0)) / apart_s for job in now.jobs}
    return Rates(started / apart_s, ended / apart_s, jobs)


def eta_s(job: "JobSummary", rate: float | None) -> float | None:
    """How long it takes on at this rate; None where nobody can say."""
    left = sum(job.tasks.values()) - _ended(job)
    return left / rate if rate and left and job.sealed else None


def grouped(failures: Iterable[tuple[int, Sequence[tuple[str, int, int]]]]) -> list[tuple[str, int, str]]:
    """Kinds of errors of several jobs, the most frequent first, each with a task that shows it."""
    found: dict[str, tuple[int, str]] = {}
    for job_id, kinds in failures:
        for kind, count, index in kinds:
            known, example = found.get(kind, (0, f"{job_id}.{index}"))
            found[kind] = (known + count, example)
    return sorted(((kind, count, example) for kind, (count, example) in found.items()), key=lambda one: -one[1])


def nodes_by_state(status: "StatusReport") -> dict[str, dict[str, int]]:
    """How many controllers are up, drained, suspected.., with their slots, and how many of these are busy."""
    states: dict[str, dict[str, int]] = {}
    for one in status.controllers:
        counts = states.setdefault(one.mark or "up", {"nodes": 0, "slots": 0, "busy": 0})
        for name, value in (("nodes", 1), ("slots", one.slots), ("busy", one.busy)):
            counts[name] += value
    if status.awaited:
        states["awaited"] = {"nodes": len(status.awaited), "slots": 0, "busy": 0}
    return states


def lines(sample: Sample, view: View, width: int, height: int) -> list[Line]:
    """The screen: at most so many lines, none wider than that."""
    sections = [_namespace_lines(sample), _controller_lines(sample), _job_lines(sample, view), _failure_lines(sample)]
    head = _head_lines(sample, view)
    foot: list[Line] = [[(view.keys, FAINT)]] if view.keys else []
    room = height - len(head) - len(foot)
    body = _fitted([section for section in sections if section], room)
    body += [[] for _ in range(room - len(body))] if foot else []
    return [_cut(line, width) for line in (*head, *body, *foot)][:height]


def _head_lines(sample: Sample, view: View) -> list[Line]:
    status, rate = sample.status, view.rates
    slots = sum(one.slots for one in status.controllers)
    left = sum(count for state, count in status.tasks.items() if state not in selectors.ENDED_TASK_STATES)
    marks = [("  stopping", WARN)] if status.stopping else []
    marks += [("  paused", WARN)] if view.paused else []
    marks += [(f"  {safe(view.error)}", BAD)] if view.error else []
    bad = sum(status.tasks.get(state, 0) for state in selectors.BAD_TASK_STATES)
    return [
        [(f"{safe(view.address)}  Cyclone {status.version}, epoch {status.epoch}", HEAD), *marks],
        [
            ("tasks  ", FAINT),
            (f"{_rate(rate.started)} started  {_rate(rate.ended)} ended", PLAIN),
            (f"  {left:,} open  {sample.ended:,} ended", PLAIN),
            *([(f"  {bad:,} badly", BAD)] if bad else []),
        ],
        [
            ("slots  ", FAINT),
            (_bar(sample.busy, slots), GOOD),
            (f"  {sample.busy:,} busy  {max(0, slots - sample.busy):,} free", PLAIN),
        ],
    ]


def _controller_lines(sample: Sample) -> list[Line]:
    states = nodes_by_state(sample.status)
    found: list[Line] = [[(f"{'NODES':<12} {'':>8} {'SLOTS':>8} {'BUSY':>8}", HEAD)]]
    styles = {"up": GOOD, "drained": WARN, "leaving": WARN, "suspected": BAD, "awaited": WARN}
    for state, counts in sorted(states.items()):
        figures = "".join(f" {count:>8,}" for count in counts.values())
        found.append([(f"{state:<12}", styles.get(state, PLAIN)), (figures, PLAIN)])
    if not states:
        found.append([("none: start cyclone-controller on a node", WARN)])
    return found


def _namespace_lines(sample: Sample) -> list[Line]:
    found: list[Line] = [[(f"{'NAMESPACE':<20} {'SHARE':>6} {'WEIGHT':>7} {'WAIT':>10} {'RUN':>8} {'JOBS':>7}", HEAD)]]
    for one in sorted(sample.namespaces, key=lambda one: (-one.share, -one.open_jobs, one.namespace.name)):
        waits = sum(one.tasks.get(state, 0) for state in ("held", "blocked", "delayed", "queued"))
        runs = sum(one.tasks.get(state, 0) for state in ("leased", "running"))
        if not (one.open_jobs or one.namespace.paused):
            continue
        style = WARN if one.namespace.paused else PLAIN
        text = f"{_name(one.namespace.name, 20)} {one.share:>6.0%} {one.namespace.weight:>7g} {waits:>10,} {runs:>8,}"
        found.append([(f"{text} {one.open_jobs:>7,}{'  paused' if one.namespace.paused else ''}", style)])
    return found if len(found) > 1 else []


def _job_lines(sample: Sample, view: View) -> list[Line]:
    head = (
        f"{'JOB':>7} {'NAME':<12} {'STATE':<9} {'DONE':<{_BAR_WIDTH + 5}} {'LEFT':>9} {'BAD':>6} {'/S':>7} {'ETA':>6}"
    )
    found: list[Line] = [[(head, HEAD)]]
    for job in sorted_jobs(sample.jobs, view):
        total, ended = sum(job.tasks.values()), _ended(job)
        rate = view.rates.jobs.get(job.job_id)
        eta = eta_s(job, rate)
        bad = _bad(job)
        part = f"{ended / total:>4.0%}" if total else "   -"
        found.append(
            [
                (f"{job.job_id:>7} {_name(job.name, 12)} {job.state:<9} ", PLAIN),
                (f"{_bar(ended, total)} {part}", GOOD),
                (f" {total - ended:>9,}", PLAIN),
                (f" {bad:>6,}", BAD if bad else FAINT),
                (f" {'' if rate is None else _figure(rate):>7} {'' if eta is None else duration_text(eta):>6}", PLAIN),
            ]
        )
    return found if len(found) > 1 else [[("no open jobs", FAINT)]]


def _failure_lines(sample: Sample) -> list[Line]:
    if not sample.failures:
        return []
    found: list[Line] = [[(f"{'FAILED':>7}  {'SUCH AS':<12} CAUSE", HEAD)]]
    for cause, count, example in sample.failures:
        found.append([(f"{count:>7,}", BAD), (f"  {example:<12} {safe(ERROR.for_people(cause))}", PLAIN)])
    return found


def _fitted(sections: list[list[Line]], room: int) -> list[Line]:
    """Sections with a blank line between them; where room is short the longest ones are cut, and say so."""
    while sections and sum(map(len, sections)) + len(sections) > room:
        longest = max(sections, key=len)
        if len(longest) <= 2:
            # Not even a line of each fits: what stands last goes.
            sections = sections[:-1]
            continue
        longest.pop()
    found: list[Line] = []
    for section in sections:
        found += [[], *section]
    return found


def _cut(line: Line, width: int) -> Line:
    found: Line = []
    for text, style in line:
        found.append((text[:width], style))
        width -= len(found[-1][0])
        if width <= 0:
            break
    return found


def sorted_jobs(jobs: "Sequence[JobSummary]", view: View) -> "list[JobSummary]":
    """As somebody wants to see them."""
    by_rate = view.rates.jobs

    def place(job: "JobSummary") -> float:
        match view.sort:
            case "rate":
                return -by_rate.get(job.job_id, 0.0)
            case "progress":
                return -(_ended(job) / (sum(job.tasks.values()) or 1))
            case "failures":
                return -_bad(job)
            case "eta":
                eta = eta_s(job, by_rate.get(job.job_id))
                return float("inf") if eta is None else eta
        return 0.0

    return sorted(sorted(jobs, key=lambda job: -job.job_id), key=place)


def _ended(job: "JobSummary") -> int:
    return sum(job.tasks.get(state, 0) for state in selectors.ENDED_TASK_STATES)


def _bad(job: "JobSummary") -> int:
    return sum(job.tasks.get(state, 0) for state in selectors.BAD_TASK_STATES)


def _bar(part: int, whole: int) -> str:
    full = min(_BAR_WIDTH, part * _BAR_WIDTH // whole) if whole else 0
    return f"{'#' * full}{'.' * (_BAR_WIDTH - full)}"


def _rate(per_s: float | None) -> str:
    return "-/s" if per_s is None else f"{_figure(per_s)}/s"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _name(name: str, width: int) -> str:
    text = safe(name) if name.isascii() else safe(name).encode("ascii", "replace").decode()
    return f"{text if len(text) <= width else text[: width - 1] + '~':<{width}}"
