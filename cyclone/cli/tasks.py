"""``cyclone tasks``: the tasks of jobs, by index."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING, NamedTuple

from cyclone.cli import common, connecting, output, paging, parsing, selectors
from cyclone.cli.columns import DURATION, ERROR, ID, MOMENT, NUMBER, PACKED, SIZE, STATE, TEXT, Column, Listing
from cyclone.errors import CycloneError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import JobSummary, TaskRow


_JOB_ID_MAX = (1 << 31) - 1
# None in msgpack.
_NIL = b"\xc0"


class JobTask(NamedTuple):
    """A task and its job; the class, where its entry of an array is wanted."""

    job_id: int
    row: "TaskRow"
    task_class: str = ""


def _if_it_ran(field: str) -> Callable[[JobTask], float | int | None]:
    return lambda task: getattr(task.row, field) if task.row.started else None


def _entry(task: JobTask) -> bytes:
    """That of a command or a script, which has it and perhaps its index behind all else of its own."""
    if not task.task_class or not task.row.args:
        return b""
    import msgspec

    from cyclone.cli.submit_plan import COMMAND_CLASS, SCRIPT_CLASS

    if task.task_class not in (COMMAND_CLASS, SCRIPT_CLASS):
        return b""
    try:
        own = msgspec.msgpack.decode(task.row.args, type=list[msgspec.Raw])
    except msgspec.DecodeError:
        # Submitted by another program, which may pack them otherwise.
        return b""
    entry = bytes(own[max(len(own) - 2, 0)]) if own else _NIL
    return b"" if entry == _NIL else entry


COLUMNS = (
    Column("id", lambda task: f"{task.job_id}.{task.row.index}", ID),
    Column("job", lambda task: task.job_id, ID, shown=False),
    Column("index", lambda task: task.row.index, ID, shown=False),
    Column("task_id", lambda task: task.row.task_id, ID),
    Column("state", lambda task: task.row.state, STATE),
    # Each time that a node is given it counts, also where it never began: people would take that for failures.
    Column("attempt", lambda task: task.row.attempt, NUMBER, shown=False),
    Column("node", lambda task: task.row.controller, TEXT),
    Column("since", lambda task: task.row.since, MOMENT),
    Column("started", lambda task: task.row.started, MOMENT),
    Column("seconds", _if_it_ran("seconds"), DURATION, title="time"),
    Column("cpu_s", _if_it_ran("cpu_s"), DURATION, shown=False, title="cpu"),
    Column("peak_bytes", _if_it_ran("peak_bytes"), SIZE, shown=False, title="peak"),
    Column("error", lambda task: task.row.error or None, ERROR),
)
ARGS = Column("args", lambda task: task.row.args, PACKED, shown=False)
ENTRY = Column("entry", _entry, PACKED, shown=False)
VALUE = Column("value", lambda task: task.row.value, PACKED, shown=False)
_SHOWN_VALUE = VALUE._replace(shown=True)
TRACEBACK = Column("traceback", lambda task: task.row.traceback or None, TEXT, shown=False)
LISTING = Listing("cyclone.tasks/1", "tasks", (*COLUMNS, ENTRY, ARGS, VALUE, TRACEBACK))

_EXAMPLES = (
    ("cyclone tasks 5 -s bad -o id,node,seconds,error", "what went wrong in job 5, and where"),
    ("cyclone tasks 5 -o id,entry,state,cpu_s,peak_bytes", "what each task of an array has taken"),
    ("cyclone tasks last.0-9 --args --values --json", "the first ten of the newest job, with arguments and values"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "tasks",
        help="list the tasks of jobs, by index",
        description="List tasks of jobs, in the order of their indexes. The tasks of job 0 are the generator's; their "
        "indexes are their ids.",
        epilog=f"Exit codes: 0 done, 1 there is no such job or task, {connecting.EXIT_CODES}.",
    )
    add_selection(parser)
    selectors.add_states_option(parser, "-s", "--state", help="only tasks in these states")
    parser.add_argument("--args", action="store_true", help="also their arguments")
    parser.add_argument(
        "--values", action="store_true", help="also the values of those that completed, and tracebacks in JSON"
    )
    paging.add_option(parser, "the first so many")
    output.add_list_options(parser, LISTING)
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def add_selection(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    """Which tasks."""
    argument = parser.add_argument(
        "selection", metavar="TASKS", nargs=nargs, type=selectors.tasks, help=f"which: {selectors.TASKS_FORMS}"
    )
    argument.completer = connecting.offered_jobs  # type: ignore[attr-defined]


def tasks(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    asked = {column.name for column in args.shape.columns} if args.shape else set()
    with_entries = "entry" in asked
    with_args, with_values = args.args or "args" in asked, args.values or not asked.isdisjoint(("value", "traceback"))
    more = [*([ARGS._replace(shown=True)] if with_args else ()), *((_SHOWN_VALUE, TRACEBACK) if with_values else ())]
    with connecting.client(args) as client:
        with_own = with_args or with_entries
        found = chosen(client, args.selection, args.states, with_own, with_values, paging.page_rows(args))
        if with_entries:
            found = with_classes(client, found)
        first = next(found, None)
        if first is None and not args.states and all(one.indexes for one in args.selection):
            raise no_task(args.selection)
        rows = paging.Limited(found if first is None else chain([first], found), args)
        output.print_rows(LISTING._replace(columns=(*COLUMNS, *more)), rows, args)
    if rows.last and rows.following:
        output.note(f"there are more behind {rows.last.job_id}.{rows.last.row.index}: --limit 0 lists all", args.json)
    return common.EXIT_OK


def no_task(selection: Sequence[selectors.Tasks]) -> CycloneError:
    """The error where there is none of these."""
    return CycloneError(f"there is no task {' '.join(map(selectors.tasks_text, selection))}")


def lacks(job: "JobSummary", indexes: Sequence[tuple[int, int]]) -> str:
    """That a job has none of these tasks, and which it has; '' where it has some, or is the generator's."""
    count = sum(job.tasks.values())
    if not job.job_id or any(low < count for low, _ in indexes):
        return ""
    which = f"its indexes are 0-{count - 1}" if count > 1 else "its only index is 0" if count else "it has none"
    return f"job {job.job_id} has no task {selectors.fold(indexes)}: {which}{'' if job.sealed else ' so far'}"


def check_indexes(client: "Client", job_id: int, indexes: Sequence[tuple[int, int]]) -> None:
    """Raise NoSuchJob, or CycloneError where it has none of these tasks."""
    job = client.detail(job_id).job
    if job and indexes and (text := lacks(job, indexes)):
        raise CycloneError(text)


def chosen(
    client: "Client",
    selection: Sequence[selectors.Tasks],
    states: Sequence[str] = (),
    with_args: bool = False,
    with_values: bool = False,
    page: int = 4096,
    is_of_generator: bool = True,
) -> Iterator[JobTask]:
    """The tasks that are meant, job by job, in the order of indexes; asked for as they are read. Raises as
    ``check_indexes``.

    ``is_of_generator``: those of job 0 may be meant, too.
    """
    for one in selection:
        for job_id in job_ids(client, one.jobs) if is_of_generator else submitted(client, one.jobs):
            is_empty = True
            for low, high in one.indexes or ((0, None),):
                rows = client.tasks(
                    job_id,
                    start=low,
                    states=states,
                    with_args=with_args,
                    with_values=with_values,
                    page=page if high is None else min(page, high - low + 1),
                )
                for row in rows:
                    if high is not None and row.index > high:
                        break
                    is_empty = False
                    yield JobTask(job_id, row)
            if is_empty:
                # There is nothing to tell, or nothing to tell it of.
                check_indexes(client, job_id, one.indexes)


def with_classes(client: "Client", found: Iterable[JobTask]) -> Iterator[JobTask]:
    """The same with their classes, for which each job is asked once."""
    for job_id, of_job in groupby(found, key=lambda task: task.job_id):
        job = client.detail(job_id).job
        yield from (task._replace(task_class=job.task_class if job else "") for task in of_job)


def job_ids(client: "Client", jobs: selectors.Jobs) -> Iterator[int]:
    """The numbers of these jobs: as they are asked for, where ranges or ``all`` are, the newest first.

    Raises NoSuchJob where there is none, unless all are meant.
    """
    if jobs.ids and jobs.ids[-1][1] > _JOB_ID_MAX:
        raise selectors.no_job(jobs)
    if jobs.ids and all(low == high for low, high in jobs.ids):
        # Also where there is none of that number: then the question for its tasks says so.
        yield from (low for low, _ in jobs.ids)
        return
    is_none = True
    for job in client.jobs(jobs.selection()):
        is_none = False
        yield job.job_id
    if is_none and not jobs.is_all:
        raise selectors.no_job(jobs)


def submitted(client: "Client", jobs: selectors.Jobs) -> Iterator[int]:
    """The same without the generator's. Raises CycloneError where that is meant by its number."""
    for job_id in job_ids(client, jobs):
        if job_id:
            yield job_id
        elif jobs.ids:
            raise CycloneError("job 0 is the generator's: this is for jobs that were submitted")
