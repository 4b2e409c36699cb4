"""``cyclone nodes`` and ``drain``: the controllers of a master, and which of them get no new tasks."""

import argparse
import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from cyclone.cli import answers, common, connecting, output, paging, parsing, status
from cyclone.cli.columns import DURATION, NAMES, NUMBER, PAIRS, SIZE, STATE, TEXT, WORD, Column, Listing
from cyclone.cli.submit_values import argument, label
from cyclone.errors import ConfigError, CycloneError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.client_messages import ControllerStatus

_MARKS = ("drained", "leaving", "suspected")
_NODES_FORMS = "node7, node[001-176], node[1-9]!node3, @group"


@dataclasses.dataclass(frozen=True)
class _Nodes:
    """A controller, or several that are alike: ``names`` is folded, and figures are sums; ``silent_s`` the longest."""

    names: str
    count: int
    slots: int
    busy: int
    resting: int
    open: int
    silent_s: float
    one: "ControllerStatus"


LISTING = Listing(
    "cyclone.nodes/1",
    "nodes",
    (
        Column("name", lambda nodes: nodes.names, TEXT),
        Column("count", lambda nodes: nodes.count, NUMBER, shown=False, title="nodes"),
        Column("host", lambda nodes: nodes.one.host, TEXT, shown=False),
        Column("state", lambda nodes: nodes.one.mark or "up", STATE),
        Column("slots", lambda nodes: nodes.slots, NUMBER),
        Column("busy", lambda nodes: nodes.busy, NUMBER),
        Column("resting", lambda nodes: nodes.resting, NUMBER, shown=False),
        Column("tasks", lambda nodes: nodes.open, NUMBER),
        Column("silent_s", lambda nodes: nodes.silent_s, DURATION, title="heard"),
        Column("namespaces", lambda nodes: nodes.one.offer.namespaces, NAMES),
        Column("labels", lambda nodes: nodes.one.offer.labels, NAMES),
        Column("mem_bytes", lambda nodes: nodes.one.offer.mem_bytes, SIZE, shown=False, title="mem"),
        Column("resources", lambda nodes: nodes.one.offer.resources, PAIRS),
        Column("by_value", lambda nodes: nodes.one.offer.by_value, TEXT, shown=False),
        Column("version", lambda nodes: nodes.one.version, WORD),
        Column("python", lambda nodes: nodes.one.python, TEXT, shown=False),
    ),
)

_EXAMPLES = {
    "nodes": (
        ("cyclone nodes", "all controllers: their state, slots, and what they have"),
        ("cyclone nodes -C gpu --idle", "where a task that needs this label could start now"),
        ("cyclone nodes 'node[001-016]' -o name,state,slots,busy,version", "these, with these fields"),
    ),
    "drain": (
        ("cyclone drain node017", "no new tasks for it; what it runs is finished"),
        ("cyclone drain 'node[001-016]' --undo", "tasks for these again"),
    ),
}


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Their command lines."""
    nodes = verbs.add_parser(
        "nodes",
        help="list the controllers: slots, what they run, labels, versions",
        description="List controllers, one for each node as a rule. More than a screen of them are folded for people: "
        "those that are alike share a line. state is up, drained, suspected, or leaving: it finishes what it runs, and "
        "takes no more. Of the busy slots some may be resting, as a job wants it after its tasks: where some are, a "
        "column has them. tasks are those that it has, heard how long it has been silent.",
        epilog=f"Exit codes: 0 done, 1 there is none of these names, {connecting.EXIT_CODES}.",
    )
    option = nodes.add_argument("names", metavar="NODES", nargs="?", type=names, help=f"only these: {_NODES_FORMS}")
    option.completer = connecting.offered_nodes  # type: ignore[attr-defined]
    nodes.add_argument("-s", "--state", choices=("up", *_MARKS), help="only those in this state")
    nodes.add_argument(
        "-n", "--namespace", metavar="NAMESPACE", type=argument(label), help="only those that serve this namespace"
    )
    nodes.add_argument("-C", "--label", metavar="LABEL", help="only those with this label")
    nodes.add_argument("--idle", action="store_true", help="only those with a free slot that get tasks")
    nodes.add_argument("--each", action="store_true", help="a line for each, also where there are many")
    nodes.add_argument("--fold", action="store_true", help="a line for all that are alike, also where there are few")
    paging.add_option(nodes, "the first so many")
    output.add_list_options(nodes, LISTING)
    connecting.add_options(nodes)
    drained = verbs.add_parser(
        "drain",
        help="give controllers no new tasks",
        description="Give controllers no new tasks; what they run is finished, what they have not started goes "
        "elsewhere. `cyclone drain --undo`, or `cyclone resume --nodes`, gives them tasks again.",
        epilog=f"Exit codes: 0 done, 1 not granted, {connecting.EXIT_CODES}.",
    )
    option = drained.add_argument(
        "names", metavar="NODES", type=names, help=f"names of controllers, or of hosts: {_NODES_FORMS}"
    )
    option.completer = connecting.offered_nodes  # type: ignore[attr-defined]
    drained.add_argument("--undo", action="store_true", help="give them tasks again")
    output.add_json_option(drained)
    connecting.add_options(drained)
    parsing.add_examples(nodes, *_EXAMPLES["nodes"])
    parsing.add_examples(drained, *_EXAMPLES["drain"])


def nodes(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    wanted = set(args.names) if args.names else None
    with connecting.client(args) as client:
        found = client.nodes(wanted, state=args.state, namespace=args.namespace, label=args.label, idle=args.idle)
        if wanted and not (found or client.nodes(wanted)):
            raise CycloneError(f"there is no node {_fold(wanted)}: `cyclone nodes` lists them")
    folded = args.fold or (len(found) > status.APART_MAX and output.is_terminal() and not args.each)
    if args.json or args.each or not folded:
        rows: Iterable[_Nodes] = (_together([one]) for one in found)
    else:
        rows = _folded(found)
    limited = paging.Limited(rows, args)
    output.print_rows(_listing(found, args), limited, args)
    limited.note_more()
    if wanted and (missing := sorted(wanted - {one.name for one in found} - {one.host for one in found})):
        output.note(f"not among them: {_fold(missing)}", args.json)
    return common.EXIT_OK


def drain(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    return mark(args, args.names, args.undo)


def names(text: str) -> list[str]:
    """The names that a set of nodes stands for; for argparse."""
    try:
        return common.names(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def mark(args: argparse.Namespace, names: Iterable[str], undo: bool) -> int:
    """Drain these controllers, or undo it; the exit code."""
    with connecting.client(args) as client:
        return answers.say([(name, client.drain(name, undo=undo)) for name in _meant(client, names)], args)


def _meant(client: "Client", names: Iterable[str]) -> Iterator[str]:
    """The controllers of these names; where there is none, those on the host that is called so."""
    known = client.status().controllers
    for name in names:
        on_host = [] if any(one.name == name for one in known) else [one.name for one in known if one.host == name]
        yield from on_host or (name,)


def _listing(found: "list[ControllerStatus]", args: argparse.Namespace) -> Listing:
    """For people with the slots that rest, where there are any; for scripts always the same columns."""
    if args.parsable or not any(one.resting for one in found):
        return LISTING
    shown = [column._replace(shown=True) if column.name == "resting" else column for column in LISTING.columns]
    return LISTING._replace(columns=shown)


def _fold(names: Iterable[str]) -> str:
    from cyclone.ranges import fold_nodes

    return fold_nodes(sorted(names))


def _together(alike: "list[ControllerStatus]") -> _Nodes:
    return _Nodes(
        names=alike[0].name if len(alike) == 1 else _fold(one.name for one in alike),
        count=len(alike),
        slots=sum(one.slots for one in alike),
        busy=sum(one.busy for one in alike),
        resting=sum(one.resting for one in alike),
        open=sum(one.open for one in alike),
        silent_s=max(one.silent_s for one in alike),
        one=alike[0],
    )


def _folded(found: "list[ControllerStatus]") -> Iterator[_Nodes]:
    """Those together that differ in nothing but their names and what they do at the moment."""
    kinds: dict[tuple[object, ...], list[ControllerStatus]] = {}
    for one in sorted(found, key=lambda one: (one.mark, -one.slots, one.name)):
        offer = (one.offer.namespaces, one.offer.labels, one.offer.mem_bytes, tuple(one.offer.resources.items()))
        kinds.setdefault((one.mark, one.slots, *offer, one.version, one.python), []).append(one)
    return map(_together, kinds.values())
