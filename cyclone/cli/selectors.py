"""Which jobs and which tasks are meant: ``5``, ``1,3,5-8``, ``2-10:2``, ``last``, ``all``; ``5.17``, ``5.0-99``.

Owns this grammar. Whether there is such a job or task, the master knows. A ValueError (for argparse: ArgumentTypeError)
starts with the offending text and ends with what would be right. Imports the messages only when a selection is made,
so that a command line is read without them.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cyclone.cli import connecting
from cyclone.cli.submit_values import argument, label
from cyclone.errors import ConfigError, NoSuchJob, UsageError

if TYPE_CHECKING:
    from cyclone.protocol.job_spec import JobSelection

Container = argparse._ActionsContainer
Ranges = list[tuple[int, int]]

OPEN_JOB_STATES = ("held", "queued", "delayed", "running", "cancelling", "waiting")
ENDED_JOB_STATES = ("completed", "failed", "cancelled", "expired")
OPEN_TASK_STATES = ("held", "blocked", "delayed", "queued", "leased", "running")
BAD_TASK_STATES = ("failed", "timed_out", "setup_failed", "quarantined", "refused")
# Those that never came to an end of their own.
MISSING_TASK_STATES = ("cancelled", "expired")
ENDED_TASK_STATES = ("completed", "processed", *BAD_TASK_STATES, *MISSING_TASK_STATES)
# Slurm's letters, and words of others for the same.
_OTHER_WORDS = {"pd": "pending", "r": "running", "cd": "completed", "done": "completed"}
_OTHER_WORDS |= {"f": "failed", "to": "timed_out", "timeout": "timed_out", "ca": "cancelled", "canceled": "cancelled"}
_JOB_GROUPS = {"open": OPEN_JOB_STATES, "pending": ("held", "queued", "delayed"), "ended": ENDED_JOB_STATES}
_TASK_GROUPS = {"open": OPEN_TASK_STATES, "pending": ("held", "blocked", "delayed", "queued")}
_TASK_GROUPS |= {"ended": ENDED_TASK_STATES, "bad": BAD_TASK_STATES}
_TASK_GROUPS |= {"missing": MISSING_TASK_STATES}

JOBS_FORMS = "5, 1,3,5-8, 2-10:2, last or all"
TASKS_FORMS = f"{JOBS_FORMS}; of one job also 5.17, 5.0-99 or last.3"
_TASK_FORMS = "5.17, 5.0-99 or last.3"
_ONE_FORMS = "5, last, 5.17 or last.17"
_IDS_FORMS = "17, 17-42 or 1,3,5-8"

# As many ranges as a message holds; with a step each number is one.
_RANGES_MAX = 65536
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+)(?::([0-9]+))?)?", re.ASCII)
# A task of an array as Slurm writes it: never to be taken for a larger number.
_SLURM_TASK = re.compile(r"([0-9]+)(?:_\[?|\.\[)([0-9][0-9,:-]*)(?:%[0-9]+)?\]?", re.ASCII)
_ANY_TASK = re.compile(r"([0-9]+|last)(?:\.|_)[0-9\[]\S*", re.ASCII)
_DIGITS_MAX = 18


class Jobs(NamedTuple):
    """Jobs: those with these numbers, both ends of a range included, or the newest, or all."""

    ids: tuple[tuple[int, int], ...] = ()
    last: bool = False

    def selection(self, filters: argparse.Namespace | None = None) -> "JobSelection":
        """As the master is asked, with what ``add_filters`` has added to a command line. Raises ConfigError."""
        import msgspec

        from cyclone.protocol.job_spec import JobSelection

        given = {} if filters is None else {field: getattr(filters, name, None) for field, name in _FILTERS.items()}
        fields = {"ids": self.ids, "last": self.last, **{field: value for field, value in given.items() if value}}
        try:
            return msgspec.convert(fields, JobSelection)
        except msgspec.ValidationError as error:
            from cyclone.cli.submit_spec import field_of, in_words

            raise ConfigError(f"no job can be meant by that: {field_of(error)}: {in_words(error)}") from None

    @property
    def is_all(self) -> bool:
        """Whether no number narrows it."""
        return not self.ids and not self.last


class Tasks(NamedTuple):
    """All tasks of jobs, or those of one job with these indexes."""

    jobs: Jobs
    indexes: tuple[tuple[int, int], ...] = ()


class Task(NamedTuple):
    """A job, or the one task with this number in it; ``job`` is None for the newest."""

    job: int | None
    number: int | None = None


ALL = Jobs()
LAST = Jobs(last=True)
# Fields of a JobSelection, and how a command line calls them.
_FILTERS = {name: name for name in ("namespace", "owner", "name", "session", "tags")} | {"states": "job_states"}


def one_job(number: int) -> Jobs:
    """The job with this number."""
    return Jobs(((number, number),))


def jobs(text: str) -> Jobs:
    """``5``, ``1,3,5-8``, ``2-10:2``, ``last``, ``all``; raises ArgumentTypeError."""
    if found := _ANY_TASK.fullmatch(text.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} means tasks, and here whole jobs are meant; write {found[1]}")
    return _whole(text)


def _whole(text: str) -> Jobs:
    match text.strip():
        case "all":
            return ALL
        case "last":
            return LAST
    return Jobs(tuple(_ranges(text, text, JOBS_FORMS)))


def tasks(text: str) -> Tasks:
    """What ``jobs`` takes, or tasks of one job: ``5.17``, ``5.0-99``, ``5.1,3``, ``last.3``."""
    job, dot, rest = text.strip().partition(".")
    if not dot:
        return Tasks(_whole(text))
    return Tasks(_one_job(text, job, _TASK_FORMS), tuple(_ranges(text, rest, TASKS_FORMS)))


def task(text: str) -> Task:
    """One job, ``5`` or ``last``, or one task, ``5.17``."""
    job, dot, rest = text.strip().partition(".")
    chosen = _one_job(text, job, _ONE_FORMS)
    number = None if chosen.last else chosen.ids[0][0]
    if not dot:
        return Task(number)
    found = _ranges(text, rest, _ONE_FORMS)
    if len(found) != 1 or found[0][0] != found[0][1]:
        raise argparse.ArgumentTypeError(f"{text!r} means several tasks; write one, such as 5.17")
    return Task(number, found[0][0])


def task_ids(text: str) -> tuple[tuple[int, int], ...]:
    """``17``, ``17-42``, ``1,3,5-8``: the ids that tasks have in the whole master, from 1."""
    found = tuple(_ranges(text, text, _IDS_FORMS))
    if not found[0][0]:
        raise argparse.ArgumentTypeError(f"{text!r}: ids of tasks begin with 1; write {_IDS_FORMS}")
    return found


def job_states(text: str) -> tuple[str, ...]:
    """``running,failed``: states of jobs; also ``open`` and ``ended``, and Slurm's letters."""
    return _states(text, (*OPEN_JOB_STATES, *ENDED_JOB_STATES), _JOB_GROUPS)


def task_states(text: str) -> tuple[str, ...]:
    """The same for tasks; also ``bad``, and ``missing`` for what was cancelled or has expired."""
    return _states(text, (*OPEN_TASK_STATES, *ENDED_TASK_STATES), _TASK_GROUPS)


def completer(*choices: str) -> Callable[..., list[str]]:
    """For completion: each further one of these in a list with commas."""

    def complete(prefix: str, **_: object) -> list[str]:
        before, comma, _rest = prefix.rpartition(",")
        taken = before.split(",")
        return [f"{before}{comma}{choice}" for choice in choices if choice not in taken]

    return complete


def add_states_option(
    parser: Container, *flags: str, help: str, of_jobs: bool = False, default: tuple[str, ...] = ()
) -> None:
    """An option that takes states, and is stored under ``states``, those of jobs under ``job_states``."""
    read, groups = (job_states, _JOB_GROUPS) if of_jobs else (task_states, _TASK_GROUPS)
    names = (OPEN_JOB_STATES + ENDED_JOB_STATES) if of_jobs else (OPEN_TASK_STATES + ENDED_TASK_STATES)
    text = f"{help}: {', '.join(names)}; or {', '.join(groups)}"
    dest = "job_states" if of_jobs else "states"
    option = parser.add_argument(*flags, metavar="STATES", dest=dest, type=read, default=default, help=text)
    option.completer = completer(*names, *groups)  # type: ignore[attr-defined]


def number(text: str, least: int = 0) -> int:
    """How many; underscores are welcome. Raises ArgumentTypeError."""
    digits = text.replace("_", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX and int(digits) >= least):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of things: write one from {least} on")
    return int(digits)


def merged(selected: Sequence[Jobs]) -> Jobs:
    """All of these together. Raises UsageError where ``last`` or ``all`` is among several."""
    if len(selected) == 1:
        return selected[0]
    if any(one.last or one.is_all for one in selected):
        raise UsageError("last and all stand alone: write numbers beside numbers, such as 5 7-9")
    return Jobs(tuple(joined(part for one in selected for part in one.ids)))


def fold(ranges: Iterable[tuple[int, int]]) -> str:
    """Ranges as they are written: ``1-3,7``."""
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def tasks_text(tasks: Tasks) -> str:
    """Tasks as they are written: ``5.0-99``."""
    jobs = "last" if tasks.jobs.last else fold(tasks.jobs.ids) or "all"
    return f"{jobs}.{fold(tasks.indexes)}" if tasks.indexes else f"of job {jobs}"


def no_job(jobs: Jobs) -> NoSuchJob:
    """The error where nothing is meant by a selection."""
    from cyclone.protocol.job_messages import NO_JOB

    if jobs.ids and jobs == one_job(jobs.ids[0][0]):
        return NoSuchJob(NO_JOB, f"there is no job {jobs.ids[0][0]}")
    return NoSuchJob(NO_JOB, f"there are no jobs {fold(jobs.ids)}" if jobs.ids else "there are no jobs yet")


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Options that narrow which jobs are meant, alike in all verbs; ``Jobs.selection`` reads them."""
    group = parser.add_argument_group("which jobs")
    option = group.add_argument(
        "-n", "--namespace", metavar="NAMESPACE", type=argument(label), help="only jobs of this namespace"
    )
    option.completer = connecting.offered_namespaces  # type: ignore[attr-defined]
    group.add_argument("--name", metavar="NAME", help="only jobs of this name")
    group.add_argument("--owner", metavar="KEY", help="only jobs that were submitted with the key of this name")
    group.add_argument("--session", metavar="SESSION", help="only jobs of this session")
    group.add_argument(
        "--tag",
        metavar="NAME=VALUE",
        dest="tags",
        action=_AddTag,
        help="only jobs with this tag; may be repeated, then with all of them",
    )


class _AddTag(argparse.Action):
    def __call__(self, parser: object, namespace: argparse.Namespace, values: object, option: object = None) -> None:
        name, sign, value = str(values).partition("=")
        if not (name and sign):
            raise argparse.ArgumentError(self, f"{values!r} is no tag: write NAME=VALUE")
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), name: value})


def _states(text: str, known: tuple[str, ...], groups: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        state = _OTHER_WORDS.get(word, word)
        if state not in known and state not in groups:
            of_tasks = "a state of tasks, and " if state in ENDED_TASK_STATES else ""
            raise argparse.ArgumentTypeError(
                f"{word!r} is {of_tasks}no state here; there are {', '.join(known)}; and {', '.join(groups)}"
            )
        found |= dict.fromkeys(groups.get(state, (state,)))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names no state; there are {', '.join(known)}")
    return tuple(found)


def _one_job(text: str, job: str, forms: str) -> Jobs:
    if job == "all":
        raise argparse.ArgumentTypeError(f"{text!r} means all jobs, and one is needed; write {forms}")
    chosen = LAST if job == "last" else Jobs(tuple(_ranges(text, job, forms)))
    if not chosen.last and (len(chosen.ids) != 1 or chosen.ids[0][0] != chosen.ids[0][1]):
        raise argparse.ArgumentTypeError(f"{text!r}: one job is needed; write its number, or last")
    return chosen


def _ranges(text: str, ranges: str, forms: str) -> Ranges:
    """In their order, those that touch joined. Raises ArgumentTypeError that shows the whole text."""
    found: Ranges = []
    for part in ranges.split(","):
        match = _RANGE.fullmatch(part.strip())
        if not match or any(len(number) > _DIGITS_MAX for number in match.groups() if number):
            if slurm := _SLURM_TASK.fullmatch(text.strip()):
                raise argparse.ArgumentTypeError(
                    f"{text!r}: a task is written {slurm[1]}.{slurm[2]}, job, dot, index; indexes begin with 0"
                )
            raise argparse.ArgumentTypeError(f"{text!r} is no selection; write {forms}")
        low = int(match[1])
        high = int(match[2] or low)
        step = int(match[3] or 1)
        if low > high:
            raise argparse.ArgumentTypeError(f"{text!r} begins behind its end; write the smaller number first")
        if not step:
            raise argparse.ArgumentTypeError(f"{text!r} has a step of 0; write at least 1")
        if len(found) + (1 if step == 1 else (high - low) // step + 1) > _RANGES_MAX:
            raise argparse.ArgumentTypeError(f"{text!r} is more than {_RANGES_MAX:,} ranges; write fewer")
        found += [(low, high)] if step == 1 else [(number, number) for number in range(low, high + 1, step)]
    return joined(found)


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Ascending, each number once, neighbours in one range."""
    joined: Ranges = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined
