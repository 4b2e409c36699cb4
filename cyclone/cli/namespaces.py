"""``cyclone namespaces``, ``pause`` and ``resume``: what holds jobs, how it shares the slots, and whether it may.

A change says what is to be: what a command line leaves out is taken from what the namespace is now. The master makes
what it does not know; that a name is a new one, or a known one, is looked at here, for the sake of those who mistype.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cyclone.cli import answers, common, connecting, nodes, output, paging, parsing, selectors
from cyclone.cli.columns import NUMBER, STATE, TALLY, TEXT, Column, Listing, counted
from cyclone.cli.submit_values import argument, label
from cyclone.errors import ConfigError, NoSuchNamespace, NotGranted, UsageError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import NamespaceSummary
    from cyclone.protocol.job_spec import Namespace

LISTING = Listing(
    "cyclone.namespaces/1",
    "namespaces",
    (
        Column("name", lambda one: one.namespace.name, TEXT),
        Column("state", lambda one: "paused" if one.namespace.paused else "on", STATE),
        Column("weight", lambda one: one.namespace.weight, NUMBER),
        Column("share", lambda one: round(one.share, 4), NUMBER),
        Column("open_jobs", lambda one: one.open_jobs, NUMBER, title="jobs"),
        Column("open_tasks", lambda one: sum(one.tasks.values()), NUMBER, title="open"),
        Column("tasks", lambda one: one.tasks, TALLY, shown=False),
        Column("jobs_max", lambda one: one.namespace.jobs_max, NUMBER),
        Column("tasks_max", lambda one: one.namespace.tasks_max, NUMBER),
    ),
)
# Options of the actions that the list has not.
_OWN = ("weight", "jobs_max", "tasks_max", "exist_ok", "dry_run", "yes", "names")
_LIST = "list"
_NONE = "none"
_NO_BOUND = ("none", "unlimited")
# What else may be meant where a name is no namespace, by whether it is to be paused.
_OTHERS = {
    True: "; jobs are held by `cyclone hold`, controllers by `cyclone drain`",
    False: "; for jobs there is `cyclone release`, for controllers `cyclone resume --nodes`",
}

_EXAMPLES = {
    "namespaces": (
        ("cyclone namespaces", "all, with their weights, bounds and open work"),
        ("cyclone namespaces night -o name,state,share", "one of them, with these fields"),
    ),
    "create": (
        (
            "cyclone namespaces create night --weight 2 --jobs-max 100",
            "twice the usual part of the slots, and at most 100 open jobs",
        ),
    ),
    "set": (("cyclone namespaces set night --tasks-max none", "change this one bound, and nothing else"),),
    "delete": (("cyclone namespaces delete night", "delete one that has no open jobs"),),
    "purge": (("cyclone namespaces purge night --dry-run", "what would be cancelled; nothing is done"),),
    "pause": (("cyclone pause night", "start none of its tasks; what runs goes on"),),
    "resume": (
        ("cyclone resume night", "start its tasks again"),
        ("cyclone resume --nodes 'node[001-016]'", "give tasks again to controllers that were drained"),
    ),
}


class _Actions(argparse._SubParsersAction):  # type: ignore[type-arg]
    """What is no action is the name of a namespace, which is listed then."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """See argparse."""
        words = values if values[0] in self._name_parser_map else [_LIST, *values]
        super().__call__(parser, namespace, words, option_string)


class _AnyWord(dict[str, argparse.ArgumentParser]):
    """The actions; every word is taken for one that may be."""

    def __contains__(self, word: object) -> bool:
        return True


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Their command lines."""
    _add_namespaces(verbs)
    _add_pause(verbs)


def _add_namespaces(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listing = verbs.add_parser(
        "namespaces",
        help="list namespaces; make, change, delete or purge one",
        description="List namespaces, all or those that are named, or change them: those that have work share the "
        "slots by their weights.",
        epilog=f"Exit codes: 0 done, 1 not granted, or there is none, {connecting.EXIT_CODES}.",
    )
    paging.add_option(listing, "the first so many")
    output.add_list_options(listing, LISTING)
    connecting.add_options(listing)
    actions = listing.add_subparsers(dest="action", metavar="ACTION", action=_Actions)
    listed = actions.add_parser(
        _LIST,
        help="list namespaces; also without this word",
        description="List namespaces, all or those that are named: `cyclone namespaces night` is the same as "
        "`cyclone namespaces list night`.",
    )
    names = listed.add_argument("names", metavar="NAME", nargs="*", help="only these")
    names.completer = connecting.offered_namespaces  # type: ignore[attr-defined]
    paging.add_option(listed, "the first so many")
    output.add_list_options(listed, LISTING)
    created = actions.add_parser(
        "create", help="make a namespace", description="Make a namespace; it must not be there already."
    )
    changed = actions.add_parser(
        "set",
        help="change a namespace",
        description="Change a namespace that is there: what is not named stays as it is.",
    )
    for made in (created, changed):
        made.add_argument("name", metavar="NAME", type=argument(label), help="the namespace")
        made.add_argument(
            "--weight", metavar="W", type=_weight, help="its part of the slots against others (default: 1)"
        )
        for what, text in (("jobs", "jobs that are open"), ("tasks", "tasks without a result")):
            made.add_argument(
                f"--{what}-max", metavar="N", type=_bound, help=f"at most so many {text}; none for no bound"
            )
    created.add_argument(
        "--exist-ok", action="store_true", help="where it is there already, change it as `set` does; for automation"
    )
    deleted = actions.add_parser("delete", help="delete a namespace that has no open jobs")
    purged = actions.add_parser("purge", help="cancel all jobs of a namespace")
    for action in (deleted, purged):
        action.add_argument("name", metavar="NAME", help="the namespace")
        action.add_argument("--dry-run", action="store_true", help="say what it holds, and do nothing")
        output.add_yes_option(action)
    for action in (created, changed, deleted, purged):
        output.add_json_option(action)
    for action in (listed, created, changed, deleted, purged):
        connecting.add_options(action)
        # What was said before the action holds for it, too.
        for option in action._actions:
            if option.dest not in (*_OWN, argparse.SUPPRESS):
                option.default = argparse.SUPPRESS
    parsing.add_examples(listing, *_EXAMPLES["namespaces"])
    for name, action in actions.choices.items():
        parsing.add_examples(action, *_EXAMPLES.get(name, ()))
    actions.choices = _AnyWord(actions.choices)


def _add_pause(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    paused = verbs.add_parser(
        "pause",
        help="start no task of namespaces",
        description="Start no task of these namespaces until `cyclone resume`; what runs goes on.",
    )
    resumed = verbs.add_parser(
        "resume",
        help="let paused namespaces, or with --nodes drained controllers, go on",
        description="Let namespaces go on that were paused; with --nodes, give controllers tasks again that were "
        "drained. For jobs that are held there is `cyclone release`.",
    )
    for name, verb in (("pause", paused), ("resume", resumed)):
        parsing.add_examples(verb, *_EXAMPLES[name])
        names = verb.add_argument("names", metavar="NAMESPACE", nargs="*", help="a namespace")
        names.completer = connecting.offered_namespaces  # type: ignore[attr-defined]
        output.add_json_option(verb)
        connecting.add_options(verb)
        verb.epilog = f"Exit codes: 0 done, 1 not granted, {connecting.EXIT_CODES}."
    resumed.add_argument(
        "--nodes", metavar="NODES", type=nodes.names, help="controllers instead: node7, node[001-176], @group"
    )


def namespaces(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        if args.action in ("create", "set"):
            return answers.say([(args.name, client.set_namespace(_changed(client, args)))], args)
        if args.action in ("delete", "purge"):
            return _destroy(client, args)
        rows = paging.Limited(_chosen(client, args.names if args.action else ()), args)
        output.print_rows(LISTING, rows, args)
    rows.note_more()
    return common.EXIT_OK


def _chosen(client: "Client", names: Sequence[str]) -> "list[NamespaceSummary]":
    """Those of these names, or all, by name. Raises NoSuchNamespace."""
    there = {one.namespace.name: one for one in client.namespaces()}
    if unknown := [name for name in names if name not in there]:
        raise _no_namespace(client, unknown[0])
    return [there[name] for name in sorted(set(names) or there)]


def pause(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    if not args.names:
        raise UsageError("pause which namespace? `cyclone namespaces` lists them; for one job there is `cyclone hold`")
    return _pause(args, True)


def resume(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    if bool(args.nodes) == bool(args.names):
        raise UsageError("resume what? Give namespaces, or controllers by --nodes; for jobs there is `cyclone release`")
    if args.nodes:
        return nodes.mark(args, args.nodes, undo=True)
    return _pause(args, False)


def _pause(args: argparse.Namespace, paused: bool) -> int:
    import msgspec

    with connecting.client(args) as client:
        known = [_known(client, name, _OTHERS[paused]) for name in args.names]
        found = []
        for one in known:
            answer = client.set_namespace(msgspec.structs.replace(one, paused=paused))
            text = f"{one.name} {'starts no more tasks' if paused else 'goes on'}" if answer.granted else answer.text
            found.append((one.name, msgspec.structs.replace(answer, text=text)))
        return answers.say(found, args)


def _changed(client: "Client", args: argparse.Namespace) -> "Namespace":
    """The namespace with what the command line says. Raises ConfigError, NotGranted or NoSuchNamespace."""
    import msgspec

    from cyclone.protocol.job_spec import Namespace

    known = next((one.namespace for one in client.namespaces() if one.namespace.name == args.name), None)
    if known and args.action == "create" and not args.exist_ok:
        raise NotGranted(f"there is a namespace {args.name!r} already: `cyclone namespaces set` changes it")
    if not known and args.action == "set":
        raise _no_namespace(client, args.name, f": `cyclone namespaces create {args.name}` makes it")
    given = {"weight": args.weight, "jobs_max": args.jobs_max, "tasks_max": args.tasks_max}
    said = {field: None if value == _NONE else value for field, value in given.items() if value is not None}
    fields = {**(msgspec.structs.asdict(known) if known else {"name": args.name}), **said}
    try:
        return msgspec.convert(fields, Namespace)
    except msgspec.ValidationError as error:
        from cyclone.cli.submit_spec import field_of, in_words

        field = field_of(error)
        words = in_words(error, fields.get(field))
        raise ConfigError(f"no namespace can be like that: --{field.replace('_', '-')}: {words}") from None


def _destroy(client: "Client", args: argparse.Namespace) -> int:
    held = next((one for one in client.namespaces() if one.namespace.name == args.name), None)
    if held is None:
        raise _no_namespace(client, args.name)
    tasks = counted(sum(held.tasks.values()), "open task")
    holds = f"{args.name} has {counted(held.open_jobs, 'open job')} with {tasks}"
    if args.dry_run:
        if args.json:
            fields = {one.name: one.kind.as_json(one.get(held)) for one in LISTING.columns}
            output.print_json("cyclone.namespace/1", {"namespace": fields})
        else:
            output.write(holds)
        return common.EXIT_OK
    if args.action == "purge":
        if held.open_jobs:
            output.confirm(lambda: f"{holds}: cancel them all?", args)
        return answers.say([(args.name, client.purge(args.name))], args)
    return answers.say([(args.name, client.delete_namespace(args.name))], args)


def _known(client: "Client", name: str, hint: str = "") -> "Namespace":
    for one in client.namespaces():
        if one.namespace.name == name:
            return one.namespace
    raise _no_namespace(client, name, hint)


def require(client: "Client", name: str) -> None:
    """Raises NoSuchNamespace, which names those that there are."""
    _known(client, name)


def _no_namespace(client: "Client", name: str, hint: str = "") -> NoSuchNamespace:
    from cyclone.protocol.job_messages import NO_NAMESPACE

    known = ", ".join(sorted(one.namespace.name for one in client.namespaces()))
    return NoSuchNamespace(NO_NAMESPACE, f"there is no namespace {name!r}; there are {known}{hint}")


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not weight > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no weight: write a number above 0, such as 2 or 0.5")
    return weight


def _bound(text: str) -> int | str:
    return _NONE if text in _NO_BOUND else selectors.number(text)
