"""``cyclone top``: a live view of a master, or one look at it.

Owns what is asked for a look and the terminal: keys, size, and that it is left as it was found, however this ends. What
is shown is ``top_view``.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from cyclone.cli import causes, common, connecting, interrupts, jobs, namespaces, output, parsing, selectors, top_view
from cyclone.cli.top_view import SORTS, Sample, View
from cyclone.errors import ConfigError, NoSuchJob, Unreachable

if TYPE_CHECKING:
    import curses

    from cyclone.cli.columns import Listing
    from cyclone.client.client import Client
    from cyclone.protocol.job_spec import JobSelection

_EVERY_MIN_S = 0.1
# How many jobs are asked for the kinds of their failures, of those that are open and of those that ended so lately.
_FAILING_JOBS_MAX = 10
_LATELY_S = 86400.0
_EXAMPLES_MAX = 20
_SCHEMA = "cyclone.top/1"
_ONCE_HEIGHT = 1000
_KEYS = "q quit   p pause   s sort: {}"
_PAINTS = {
    top_view.HEAD: "A_BOLD",
    top_view.FAINT: "A_DIM",
    top_view.BAD: "A_BOLD",
}
_COLOURS = {top_view.GOOD: "COLOR_GREEN", top_view.BAD: "COLOR_RED", top_view.WARN: "COLOR_YELLOW"}

_EXAMPLES = (
    ("cyclone top", "a live view; q ends it"),
    ("cyclone top -d 5 --sort failures -n night", "every five seconds, the jobs of a namespace that fail most on top"),
    ("cyclone top --once", "one look, also for a mail or a log"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "top",
        help="a live view: rates, slots, namespaces, jobs, failures by cause",
        description="Show what a master is doing, again and again: tasks a second, slots, namespaces with their shares "
        "and what waits in them, nodes, open jobs with progress and the time that they still take, failures by "
        "cause, also of jobs that ended within a day. "
        f"Keys: q quits, p pauses, s sorts jobs otherwise ({', '.join(SORTS)}).",
        epilog=f"Exit codes: 0 done, 130 Ctrl-C, 143 SIGTERM, {connecting.EXIT_CODES}.",
    )
    parser.add_argument(
        "-d", "--delay", metavar="TIME", type=_delay, default=1.0, help="between two looks: 1, 500ms, 1m (default: 1)"
    )
    parser.add_argument("--once", action="store_true", help="print one look and end, as where no terminal reads it")
    output.add_json_option(parser, "one look as one JSON object, cyclone.top/1")
    parser.add_argument("--sort", choices=SORTS, default=SORTS[0], help="how jobs are sorted (default: %(default)s)")
    namespace = parser.add_argument("-n", "--namespace", metavar="NAMESPACE", help="only jobs of this namespace")
    namespace.completer = connecting.offered_namespaces  # type: ignore[attr-defined]
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def top(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        view = View(str(client.address), args.sort)
        if args.namespace:
            namespaces.require(client, args.namespace)
        look = _Look(client, args.namespace)
        is_live = output.is_terminal() and sys.stdin.isatty() and os.environ.get("TERM") != "dumb"
        if args.once or args.json or not is_live:
            first = look()
            time.sleep(args.delay)
            second = look()
            view.rates = top_view.rates(first, second)
            if args.json:
                output.print_json(_SCHEMA, _as_json(second, view))
                return common.EXIT_OK
            width = os.get_terminal_size(sys.stdout.fileno()).columns if output.is_terminal() else _ONCE_HEIGHT
            for line in top_view.lines(second, view, width, _ONCE_HEIGHT):
                output.write("".join(text for text, _ in line).rstrip())
            return common.EXIT_OK
        return _live(look, view, args.delay)


def _as_json(sample: Sample, view: View) -> dict[str, Any]:
    """One look: lists as their own verbs have them, and what they have not, rates and the time left."""
    status, rates = sample.status, view.rates
    return {
        "address": view.address,
        "version": status.version,
        "epoch": status.epoch,
        "stopping": status.stopping,
        "started_per_s": _rounded(rates.started),
        "ended_per_s": _rounded(rates.ended),
        "slots": sum(one.slots for one in status.controllers),
        "busy": sample.busy,
        "tasks": status.tasks,
        "awaited": status.awaited,
        "nodes": top_view.nodes_by_state(status),
        "namespaces": [_row(namespaces.LISTING, one) for one in sample.namespaces],
        "jobs": [
            _row(jobs.LISTING, job)
            | {
                "ended_per_s": _rounded(rates.jobs.get(job.job_id)),
                "eta_s": _rounded(top_view.eta_s(job, rates.jobs.get(job.job_id))),
            }
            for job in top_view.sorted_jobs(sample.jobs, view)
        ],
        "failures": [{"error": text, "count": count, "example": task} for text, count, task in sample.failures],
    }


def _row(listing: "Listing", row: object) -> dict[str, Any]:
    return {one.name: one.kind.as_json(one.get(row)) for one in listing.columns}


def _rounded(value: float | None) -> float | None:
    # No clock has more digits.
    return None if value is None else round(value, 3)


class _Look:
    """One look at the master after the other."""

    def __init__(self, client: "Client", namespace: str | None) -> None:
        self._client = client
        self._open = _jobs_in(selectors.OPEN_JOB_STATES, namespace)
        self._failed = _jobs_in(("failed",), namespace)
        # Of jobs that have ended: nothing about them changes any more.
        self._of_ended: dict[int, list[tuple[str, int, int]]] = {}
        # The errors of the tasks that stand for kinds, by task and kind.
        self._examples: dict[tuple[str, str], str] = {}

    def __call__(self) -> Sample:
        """Raises Unreachable."""
        client = self._client
        status = client.status()
        open_jobs = list(islice(client.jobs(self._open, page=top_view.JOBS_MAX), top_view.JOBS_MAX))
        failing = [job for job in open_jobs if any(job.tasks.get(state) for state in selectors.BAD_TASK_STATES)]
        kinds = []
        for job in failing[:_FAILING_JOBS_MAX]:
            # It may have gone since we were told of it.
            with suppress(NoSuchJob):
                kinds.append((job.job_id, client.detail(job.job_id).failures))
        kinds += self._lately().items()
        failures = self._with_examples(top_view.grouped(kinds))
        return Sample(time.monotonic(), status, client.namespaces(), open_jobs, failures)

    def _with_examples(self, failures: Sequence[tuple[str, int, str]]) -> list[tuple[str, int, str]]:
        """The most frequent kinds with the text of the task that shows each; of the others the kind."""
        known, self._examples = self._examples, {}
        found = []
        for at, (kind, count, task) in enumerate(failures):
            place = (task, kind)
            if at < _EXAMPLES_MAX:
                self._examples[place] = known.get(place) or self._example(task) or kind
            found.append((self._examples.get(place, kind), count, task))
        return found

    def _example(self, task: str) -> str:
        job_id, _, index = task.partition(".")
        with suppress(NoSuchJob):
            return causes.example(self._client, int(job_id), int(index))
        return ""

    def _lately(self) -> "dict[int, list[tuple[str, int, int]]]":
        """The kinds of failures of jobs that ended lately: whoever looks in the morning wants to know of the night."""
        since = time.time() - _LATELY_S
        ended = islice(self._client.jobs(self._failed, page=_FAILING_JOBS_MAX), _FAILING_JOBS_MAX)
        found = {}
        for job in ended:
            if job.finished < since:
                continue
            with suppress(NoSuchJob):
                found[job.job_id] = self._of_ended.get(job.job_id) or self._client.detail(job.job_id).failures
        self._of_ended = found
        return found


def _jobs_in(states: tuple[str, ...], namespace: str | None) -> "JobSelection":
    return selectors.ALL.selection(argparse.Namespace(namespace=namespace, job_states=states))


def _live(look: Callable[[], Sample], view: View, delay_s: float) -> int:
    """Until a key ends it; the exit code. Raises Interrupted, when the terminal is as it was."""
    import curses

    # So that Esc is not waited for.
    os.environ.setdefault("ESCDELAY", "25")
    with interrupts.raised():
        try:
            # Whatever is wrong with the master is said where it stays to be read.
            first = look()
            curses.wrapper(_show, first, look, view, delay_s)
        except curses.error as error:
            terminal = os.environ.get("TERM", "")
            raise ConfigError(f"a terminal {terminal!r} cannot show this ({error}): say --once, or set TERM") from None
    return common.EXIT_OK


def _show(screen: "curses.window", sample: Sample, look: Callable[[], Sample], view: View, delay_s: float) -> None:
    paints, due = _paints(), time.monotonic() + delay_s
    while True:
        _draw(screen, sample, view, paints)
        screen.timeout(max(0, int((due - time.monotonic()) * 1000)) if not view.paused else -1)
        match screen.getch():
            case 113 | 81 | 27:  # q Q Esc
                return
            case 112 | 32:  # p, space
                view.paused = not view.paused
            case 115:  # s
                view.sort = SORTS[(SORTS.index(view.sort) + 1) % len(SORTS)]
        if not view.paused and time.monotonic() >= due:
            due = time.monotonic() + delay_s
            try:
                before, sample = sample, look()
            except Unreachable:
                # A master that is started again is worth waiting for.
                view.error = "no answer"
                continue
            view.error, view.rates = "", top_view.rates(before, sample)


def _draw(screen: "curses.window", sample: Sample, view: View, paints: dict[str, int]) -> None:
    import curses

    view.keys = _KEYS.format(view.sort)
    height, width = screen.getmaxyx()
    screen.erase()
    for row, line in enumerate(top_view.lines(sample, view, width - 1, height)):
        at = 0
        for text, style in line:
            try:
                screen.addstr(row, at, text, paints.get(style, 0))
            except curses.error:
                # It became smaller while we drew: the next key that comes is KEY_RESIZE.
                return
            at += len(text)
    screen.refresh()


def _paints() -> dict[str, int]:
    """What curses calls each style; colours only where they are wanted, and there are any."""
    import curses

    with suppress(curses.error):
        curses.curs_set(0)
    found: dict[str, int] = {style: getattr(curses, name) for style, name in _PAINTS.items()}
    if os.environ.get("NO_COLOR") or not curses.has_colors():
        return found
    curses.use_default_colors()
    for number, (style, colour) in enumerate(_COLOURS.items(), 1):
        curses.init_pair(number, getattr(curses, colour), -1)
        found[style] = found.get(style, 0) | curses.color_pair(number)
    return found


def _delay(text: str) -> float:
    seconds: Any = connecting.duration(text)
    if seconds < _EVERY_MIN_S:
        raise argparse.ArgumentTypeError(f"{text}: a look takes some time itself; at least {_EVERY_MIN_S:g} s")
    return float(seconds)
