"""The options of ``cyclone submit`` and ``cyclone run -- cmd``: one table for the command line, for the ``#CYCLONE``
lines of a script, and for the keys of a job file.

Owns how options are called and what their texts mean. What was given comes out as a dictionary by field: those of a
``JobSpec`` under its names, what else there is under the names in ``Given``. Imported for each ``cyclone --help``: what
is heavy is imported by the readers.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cyclone.cli import connecting, output, parsing
from cyclone.cli import submit_values as values

Given = dict[str, Any]
"""What was asked for, by field. Besides those of a ``JobSpec``: ``command``, ``script``, ``arguments``, ``task_class``,
``properties``, ``stdin``; one of ``SOURCES``; ``key``, ``env_all``."""

# What tasks are made of; one of them at most.
SOURCES = ("array", "each_line", "from_json", "from0", "words", "values")


class Option(NamedTuple):
    """An option: a switch where ``read`` is None. ``many``: it may be repeated, and all that is given counts."""

    flags: str
    field: str
    read: Callable[[str], object] | None
    metavar: str
    help: str
    many: Literal["", "list", "table"] = ""

    @property
    def key(self) -> str:
        """How a job file calls it."""
        if self.many == "table":
            return self.field
        longest = next(flag for flag in self.flags.split("/") if flag.startswith("--"))
        return longest.removeprefix("--").replace("-", "_")


def _text(text: str) -> str:
    return text


JOB = (
    Option("--name", "name", _text, "NAME", "what the job is called in lists (default: its program's)"),
    Option(
        "-n/--namespace", "namespace", values.label, "NAME", "namespace (default: $CYCLONE_NAMESPACE, the profile's)"
    ),
    Option("--session", "session", _text, "NAME", "what belongs together, to find it again"),
    Option("--tag", "tags", values.tag, "NAME=TEXT", "a tag, to find it again; may be repeated", "table"),
    Option("--keep", "keep_s", values.duration, "TIME", "how long its results are kept after its end: 7d"),
    Option(
        "--key", "key", values.key, "TEXT", "submitting again with the same key is the same job, and not another one"
    ),
)
WHEN = (
    Option("--priority", "priority", values.signed, "N", "higher is sooner (default: 0)"),
    Option("--qos", "qos", values.label, "CLASS", "class of service of the master's configuration"),
    Option("--begin", "not_before", values.moment, "MOMENT", f"not before: {values.MOMENT_FORMS}"),
    Option("--deadline/--expires", "not_after", values.moment, "MOMENT", "what has not started by then expires"),
    Option("--hold", "held", None, "", "wait until it is released"),
    Option(
        "--wait-after-success", "wait_after_success_s", values.duration, "TIME", "how long a slot rests after a success"
    ),
    Option(
        "--wait-after-setup-error", "wait_after_setup_error_s", values.duration, "TIME", "the same after a failed setup"
    ),
    Option(
        "--wait-after-run-error", "wait_after_run_error_s", values.duration, "TIME", "the same after another failure"
    ),
)
WHERE = (
    Option("-c/--cpus", "cpus", values.positive, "N", "slots that a task takes (default: 1)"),
    Option("--mem", "mem_bytes", values.memory, "SIZE", "memory that a task takes: 4G, 512MiB"),
    Option("-r/--resource", "resources", values.amount, "NAME=N", "amount of a resource; may be repeated", "table"),
    Option("-w/--nodelist", "nodes", values.nodes, "NODES", "only on these: node[001-010]", "list"),
    Option("-x/--exclude", "exclude", values.nodes, "NODES", "not on these", "list"),
    Option("-C/--constraint", "labels", values.labels, "LABELS", "only where all of these labels are", "list"),
    Option("--parallel", "parallel", values.positive, "N", "at most so many of its tasks at once"),
    Option(
        "--limit", "limits", values.amount, "NAME=N", "at most N holders of NAME in the cluster; repeatable", "table"
    ),
)
FAILURE = (
    Option("-t/--time-limit", "time_limit_s", values.limit, "TIME", "end a task after 90, 10m, 1h30m, 1-12:00:00"),
    Option("--retries", "retries", values.number, "N", "try a task again so often (default: 0)"),
    Option("--backoff", "retry_delay_s", values.duration, "TIME", "wait before that, then twice as long (default: 1s)"),
    Option("--retry-on", "retry_on", values.words, "NAMES", "retry after these exceptions alone", "list"),
    Option(
        "--crash-limit", "crash_limit", values.crash_limit, "N", "workers that a task may kill: N, never, unlimited"
    ),
    Option("--max-fails", "max_fails", values.number, "N", "end the job when more of its tasks have failed"),
    Option("--exclusive", "exclusive", None, "", "start no attempt of a task while an earlier one might run"),
)
SURROUNDINGS = (
    Option("--cwd", "directory", _text, "DIR", "where a task runs (default: this folder)"),
    Option("--env", "environment", values.variable, "NAME[=TEXT]", "a variable, or NAME for what it is here", "table"),
    Option("--env-all", "env_all", None, "", "all variables of this shell"),
    Option("--stdin", "stdin", _text, "FILE", "standard input of each task; - is ours"),
)
ARRAY = (
    Option("--array", "array", _text, "RANGES", "a task for each number: 0-99, 0-99:2%%10 (ten at once), 1,3,5-8"),
    Option("--each-line", "each_line", _text, "FILE", "a task for each line that is not empty; - is standard input"),
    Option("--from0", "from0", _text, "FILE", "the same with NUL bytes for ends of lines, as find -print0 writes"),
    Option("--from-json", "from_json", _text, "FILE", "a task for each value of a JSON array, or of JSON lines"),
)
CLASS = (
    Option("--class", "task_class", _text, "MODULE:CLASS", "tasks of this class, derived from BaseTask"),
    Option("-p/--property", "properties", _text, "NAME=VALUE", "a property of it; {} is the array's entry", "table"),
)
GROUPS = {
    "what": CLASS,
    "arrays": ARRAY,
    "the job": JOB,
    "when": WHEN,
    "where and how many": WHERE,
    "failures": FAILURE,
    "surroundings": SURROUNDINGS,
}
OPTIONS = tuple(option for group in GROUPS.values() for option in group)
# What completion offers, asked of the master.
_OFFERED = {
    "namespace": connecting.offered_namespaces,
    "qos": connecting.offered_classes,
    "nodes": connecting.offered_nodes,
    "exclude": connecting.offered_nodes,
}

_EXAMPLES = (
    ("cyclone submit -- gzip big.dat", "a job of one task: its number is printed, nothing is waited for"),
    (
        "cyclone submit --array 0-99%10 -- ./simulate --seed {}",
        "a task for each number, which is {}; at most ten run at once",
    ),
    (
        "cyclone submit -c 4 --mem 8G -t 2h --each-line files.txt -- ./index {}",
        "a task for each line of a file: 4 slots, 8 GiB, two hours at most",
    ),
    (
        "cyclone submit --class checks:DiskCheck -p path={} ::: /home /scratch",
        "tasks of a Python class, one for each word behind :::",
    ),
    (
        "cyclone submit --progress nightly.sh 2026-11-22",
        "wait for a script, with a bar; its lines #CYCLONE -c 2 are options",
    ),
)


def add_parser(verbs: Any) -> None:
    """The command line of ``cyclone submit``; ``cyclone.cli.submit`` has what it does."""
    parser = verbs.add_parser(
        "submit",
        allow_abbrev=False,
        help="submit a command, a script or tasks of a class as a job",
        usage="cyclone submit [options] -- COMMAND ARGUMENT...  [::: WORD...]\n"
        "       cyclone submit [options] SCRIPT ARGUMENT...  [::: WORD...]\n"
        "       cyclone submit [options] --class MODULE:CLASS -p NAME=VALUE...  [::: WORD...]\n"
        "       cyclone submit [options] --file JOB.toml",
        description="Make a job and print its number, or do more with --wait, --progress, --follow. An array makes a "
        "task of each entry, which is {} in the arguments and $CYCLONE_ENTRY. A script, Python or with a #! line, "
        "travels with the job; the lines #CYCLONE at its beginning are options.",
        epilog="Exit codes: 0 submitted (with --wait: every task completed), 1 a task did not, 2 bad usage, "
        f"{connecting.EXIT_CODES}, 75 over quota: try again later.",
    )
    add_words(parser)
    add_options(parser)
    group = parser.add_argument_group("afterwards")
    group.add_argument("--dry-run", action="store_true", help="print what would be submitted, and do not")
    group.add_argument("--wait", action="store_true", help="wait for the end of the job")
    group.add_argument("--progress", action="store_true", help="the same with a bar")
    group.add_argument("--follow", action="store_true", help="the same, and print what its tasks print, as they end")
    group.add_argument("--parsable", action="store_true", help="print the job's number alone")
    output.add_json_option(group)
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def add_words(parser: argparse.ArgumentParser) -> None:
    """What runs: all that follows the options."""
    parser.add_argument("--wrap", metavar="TEXT", default=None, help="a command for the shell: 'gzip {} && rm {}'")
    parser.add_argument("--file", metavar="JOB.toml", type=Path, default=None, dest="job_file", help="a job file")
    parser.add_argument("words", metavar="COMMAND", nargs=argparse.REMAINDER, help="what to run, and its arguments")


def add_options(parser: argparse.ArgumentParser) -> None:
    """All of the table. What is not given does not show in the namespace."""
    for title, options in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in options:
            _add(group, option)


def given(args: argparse.Namespace) -> Given:
    """What a command line says by these options."""
    found: Given = {}
    for option in OPTIONS:
        if option.field not in vars(args):
            continue
        value = getattr(args, option.field)
        found[option.field] = combine(option, value) if option.many else value
    return found


def combine(option: Option, parts: Sequence[Any]) -> Any:
    """What an option that was given several times means: the last one wins in a table."""
    return dict(parts) if option.many == "table" else [item for part in parts for item in part]


def merge(under: Given, over: Given) -> Given:
    """Both, where ``over`` wins; tables are put over each other, and one source or thing to run replaces another."""
    found = dict(under)
    for alternatives in (SOURCES, ("command", "script", "task_class")):
        if any(name in over for name in alternatives):
            for name in alternatives:
                found.pop(name, None)
    for field, value in over.items():
        found[field] = {**found[field], **value} if isinstance(value, dict) and field in found else value
    return found


def _add(group: "argparse._ArgumentGroup", option: Option) -> None:
    flags = option.flags.split("/")
    if option.read is None:
        group.add_argument(*flags, dest=option.field, action="store_true", default=argparse.SUPPRESS, help=option.help)
        return
    action = group.add_argument(
        *flags,
        dest=option.field,
        metavar=option.metavar,
        type=values.argument(_property if option.field == "properties" else option.read),
        action="append" if option.many else "store",
        default=argparse.SUPPRESS,
        help=option.help,
    )
    if option.field in _OFFERED:
        action.completer = _OFFERED[option.field]  # type: ignore[attr-defined]


def _property(text: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"{text!r} is not a property: write name=value, such as -p path=/tmp; a namespace is -n")
    return name, rest
