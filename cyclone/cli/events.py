"""``cyclone events``: what has happened at a master, in order, and who asked for it.

Owns which of them are chosen, and how an event reads. How they become one stream is ``client.event_log``'s; what is an
event, the master knows.
"""

import argparse
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from cyclone.cli import common, connecting, output, parsing, selectors
from cyclone.cli.columns import ID, MOMENT, NUMBER, TALLY, TEXT, Column, Listing, error_text, moment_text, safe
from cyclone.cli.submit_values import past
from cyclone.client.event_log import MISSED, Reader, Since, Told
from cyclone.errors import ConfigError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.event_messages import Happening

SCHEMA = "cyclone.events/1"
TERMINAL_LIMIT = 100
# Only what begins like a number can be one of an event; of an epoch in front of it, too.
_NUMBER = re.compile(r"(?:([0-9]{1,18})\.)?([0-9]{1,18})", re.ASCII)


LISTING = Listing(
    SCHEMA,
    "events",
    (
        Column("epoch", lambda told: told.epoch, ID),
        Column("number", lambda told: told.event.number, ID),
        Column("time", lambda told: told.event.time, MOMENT),
        Column("kind", lambda told: told.event.kind, TEXT),
        Column("by", lambda told: told.event.by, TEXT),
        Column("job", lambda told: told.event.job_id, ID),
        Column("namespace", lambda told: told.event.namespace, TEXT),
        Column("name", lambda told: told.event.name, TEXT),
        Column("node", lambda told: told.event.controller, TEXT),
        Column("tasks", lambda told: told.event.tasks, TALLY),
        Column("count", lambda told: sum(told.event.tasks.values()), NUMBER),
        Column("text", lambda told: told.event.text, TEXT),
        Column("restored", lambda told: told.event.restored, TEXT),
    ),
    lines=True,
)

_EXAMPLES = (
    ("cyclone events -f", "the last of what has happened, and what happens from now on"),
    ("cyclone events --since 20:00 --kind task_failed", "failures since eight in the evening"),
    (
        "cyclone events --since 1h --node 'node[001-016]' --kind controller",
        "controllers of these nodes that came, left or fell silent",
    ),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "events",
        help="what has happened, in order, and who asked for it",
        description="Print what has happened: jobs that came, were held, released, sealed, cancelled and ended, the "
        "first failures of each, controllers, namespaces, the master itself. It keeps the last 10,000 events in "
        "memory; after a restart only those are known again that say when jobs came and ended. Where some are "
        "missing, an event of the kind missed says so.",
        epilog=f"Exit codes: 0 done, {connecting.EXIT_CODES}.",
    )
    # -f is a configuration file with the other verbs; whoever follows says --connect, or has $CYCLONE_SERVER.
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens from now on")
    parser.add_argument(
        "--since",
        metavar="WHEN",
        type=_since,
        default=Since(),
        help="only what was later: 10m (ago), 20:00, 2026-11-20T12:00, the number of an event, also with its epoch: "
        "3.1200",
    )
    parser.add_argument("--job", metavar="JOBS", type=selectors.jobs, help="only of these jobs: 5, 1,3,5-8 or last")
    namespace = parser.add_argument("-n", "--namespace", metavar="NAMESPACE", help="only of this namespace")
    namespace.completer = connecting.offered_namespaces  # type: ignore[attr-defined]
    nodes = parser.add_argument(
        "--node", metavar="NODES", help="only of these controllers, and failures there: node7, node[001-176]"
    )
    nodes.completer = connecting.offered_nodes  # type: ignore[attr-defined]
    kinds = parser.add_argument(
        "--kind",
        metavar="KINDS",
        type=_kinds,
        default=(),
        help="only of these kinds, or beginning with this: job_ended,task_failed or controller",
    )
    kinds.completer = _complete_kinds  # type: ignore[attr-defined]
    parser.add_argument(
        "--limit",
        metavar="N",
        type=selectors.number,
        help=f"of those that there are the last N, 0 for all (default: {TERMINAL_LIMIT} on a terminal, else all)",
    )
    output.add_list_options(parser, LISTING)
    connecting.add_options(parser, config_file=False)
    parsing.add_examples(parser, *_EXAMPLES)


def events(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    args.config_file = None
    with connecting.client(args, is_patient=args.follow) as client:
        rows = newest(_chosen(client, args), _limit(args))
        if args.json:
            _print_json(rows, args.shape)
        elif args.shape or args.parsable:
            output.print_rows(LISTING, rows, args, at_once=args.follow)
        else:
            for told in rows:
                output.write(safe(f"{moment_text(told.event.time):<12}  {sentence(told.event)}"))
                sys.stdout.flush()
    return common.EXIT_OK


def sentence(event: "Happening") -> str:
    """An event for people."""
    about = _job_text(event) if event.job_id is not None else event.namespace
    is_failure = event.kind == "task_failed"
    tally = "" if is_failure else TALLY.for_people(event.tasks)
    text = _failure_text(event.text) if is_failure else event.text
    parts = (about, event.controller, tally, text, f"(by {event.by})" if event.by else "")
    return f"{event.kind:<20}  {'  '.join(part for part in parts if part)}"


def _failure_text(text: str) -> str:
    """``task 3: ValueError: no``, without the module of the type."""
    task, sign, error = text.partition(": ")
    return f"{task}{sign}{error_text(error)}"


def newest(rows: Iterable[Told | None], limit: int | None) -> Iterator[Told]:
    """Of what comes before the None the last ``limit``, then what comes behind it."""
    kept: deque[Told] = deque(maxlen=limit)
    source = iter(rows)
    for told in source:
        if told is None:
            break
        kept.append(told)
    yield from kept
    yield from (told for told in source if told is not None)


def _chosen(client: "Client", args: argparse.Namespace) -> Iterator[Told | None]:
    """Those that the filters leave, with a None where all that there were at first have been told."""
    fits = _filter(client, args)
    has_caught_up = False
    for batch in Reader(client.event_page, args.since).batches(args.follow):
        yield from (told for told in batch.rows if told.event.kind == MISSED or fits(told.event))
        if batch.pause_s:
            if not has_caught_up:
                has_caught_up = True
                yield None
            time.sleep(batch.pause_s)


def _filter(client: "Client", args: argparse.Namespace) -> "Callable[[Happening], bool]":
    ids = args.job.ids if args.job else ()
    if args.job and args.job.last:
        ids = tuple((job.job_id, job.job_id) for job in client.jobs(args.job.selection()))
        if not ids:
            raise selectors.no_job(args.job)
    nodes = set(common.names(args.node)) if args.node else None

    def fits(event: "Happening") -> bool:
        return (
            (not ids or any(low <= event.job_id <= high for low, high in ids if event.job_id is not None))
            and (not (args.job and not ids) or event.job_id is not None)
            and args.namespace in (None, event.namespace)
            and (nodes is None or event.controller in nodes)
            and (not args.kind or event.kind.startswith(args.kind))
        )

    return fits


def _limit(args: argparse.Namespace) -> int | None:
    if args.limit is None:
        return TERMINAL_LIMIT if output.is_terminal() and not args.json else None
    found: int = args.limit
    return found or None


def _print_json(rows: Iterable[Told], shape: output.Shape | None) -> None:
    """An object a line, each with the schema: a stream has no end at which one value could be closed."""
    if shape and shape.template:
        raise ConfigError("--json has no template: name the fields, such as -o time,kind")
    for told in rows:
        fields = {one.name: one.kind.as_json(one.get(told)) for one in (shape.columns if shape else LISTING.columns)}
        output.print_json(SCHEMA, fields)


def _job_text(event: "Happening") -> str:
    if event.job_id is None:
        return ""
    if not event.job_id:
        return "generator"
    name = f" {event.name}" if event.name else ""
    inside = f" in {event.namespace}" if event.namespace not in ("", "default") else ""
    return f"job {event.job_id}{name}{inside}"


def _since(text: str) -> Since:
    """``1200``, ``3.1200``, ``10m``, ``12:03``, ``2026-11-20T12:03``. Raises ArgumentTypeError."""
    if number := _NUMBER.fullmatch(text.strip()):
        return Since(after=int(number[2]), epoch=int(number[1] or 0))
    try:
        return Since(moment=past(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment and no event: write 10m, 12:03, 2026-11-20T12:03, 1200 or 3.1200"
        ) from None


def _complete_kinds(prefix: str, **_: object) -> list[str]:
    from cyclone.protocol.event_messages import EVENT_KINDS

    return selectors.completer(*EVENT_KINDS)(prefix)


def _kinds(text: str) -> tuple[str, ...]:
    """``job_ended,task_failed``, ``controller``. Raises ArgumentTypeError."""
    from cyclone.protocol.event_messages import EVENT_KINDS

    kinds = tuple(part.strip() for part in text.split(",") if part.strip())
    for kind in kinds or (text,):
        if not kind or not any(known.startswith(kind) for known in (*EVENT_KINDS, MISSED)):
            raise argparse.ArgumentTypeError(f"{kind!r} begins no kind of event; there are {', '.join(EVENT_KINDS)}")
    return kinds
