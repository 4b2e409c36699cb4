"""``cyclone show``: everything about one job, or about one task of it."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cyclone.cli import causes, columns, common, connecting, jobs, logs, output, parsing, selectors, tasks
from cyclone.errors import CycloneError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import JobDetail
    from cyclone.protocol.job_spec import JobSpec

# How a job's options are shown to people; what has its default is left out.
_MOMENTS = ("not_before", "not_after")
# Told by the summary, or nobody's business.
_SHOWN_ELSEWHERE = ("task_class", "shared", "name", "namespace", "session", "tags", "priority", "qos")
# Of a task that shares all that it has with its job; of a command the entry of its array stands there, and is none.
_NO_ARGS = ("[]", "[null]")

_EXAMPLES = (
    ("cyclone show 5", "a job: its options, how far it is, and the kinds of its failures"),
    ("cyclone show last.17", "task 17 of the newest job: its arguments, its value or its traceback"),
)


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its command line."""
    parser = verbs.add_parser(
        "show",
        help="everything about one job or one task",
        description="Show a job with its options and the kinds of its failures, or a task with its arguments and its "
        "value or error.",
        epilog=f"Exit codes: 0 done, 1 there is none, {connecting.EXIT_CODES}.",
    )
    add_place(parser)
    output.add_json_option(parser)
    connecting.add_options(parser)
    parsing.add_examples(parser, *_EXAMPLES)


def add_place(parser: argparse.ArgumentParser) -> None:
    """One job or one task."""
    argument = parser.add_argument(
        "place", metavar="ID", type=selectors.task, help="a job: 5 or last; or a task of it: 5.17 or last.17"
    )
    argument.completer = connecting.offered_jobs  # type: ignore[attr-defined]


def newest(client: "Client", place: selectors.Task) -> int:
    """The number of the job, where the newest is meant also. Raises NoSuchJob."""
    if place.job is not None:
        return place.job
    return next(tasks.job_ids(client, selectors.LAST))


def show(args: argparse.Namespace) -> int:
    """The verb; returns the exit code."""
    with connecting.client(args) as client:
        job_id = newest(client, args.place)
        if args.place.number is None:
            detail = client.detail(job_id)
            _show_job(detail, _failures(client, detail), _qos_text(client, detail.spec), args.json)
        else:
            task = one_task(client, job_id, args.place.number)
            _show_task(task, logs.cut_of(client, job_id, task.row.index) if task.row.started else "", args.json)
    return common.EXIT_OK


def one_task(client: "Client", job_id: int, number: int) -> tasks.JobTask:
    """A task with its arguments and value. Raises CycloneError where there is none."""
    chosen = selectors.Tasks(selectors.one_job(job_id), ((number, number),))
    for task in tasks.with_classes(client, tasks.chosen(client, [chosen], with_args=True, with_values=True)):
        return task
    job = client.detail(job_id).job
    raise CycloneError((job and tasks.lacks(job, chosen.indexes)) or f"job {job_id} has no task {number}")


@dataclass(frozen=True)
class _Failure:
    """A kind of failures: ``example`` is the error of the task with this index, whole."""

    error: str
    count: int
    index: int
    example: str


def _failures(client: "Client", detail: "JobDetail") -> list[_Failure]:
    """Kinds as the master tells them are without what differs from task to task, which people want to read."""
    assert detail.job is not None
    job_id = detail.job.job_id
    return [
        _Failure(text, count, index, causes.example(client, job_id, index) or text)
        for text, count, index in detail.failures
    ]


def _qos_text(client: "Client", spec: "JobSpec | None") -> str:
    """The class of service of a job, and what it means at this master today."""
    if spec is None or not spec.qos:
        return ""
    meaning = client.status().qos.get(spec.qos)
    if meaning is None:
        return f"{spec.qos}: this master has no such class any more, and takes it for normal"
    return f"{spec.qos}: adds {meaning[0]:,} to its priority, and multiplies its namespace's weight by {meaning[1]:g}"


def _show_job(detail: "JobDetail", failures: list[_Failure], qos: str, as_json: bool) -> None:
    job = detail.job
    assert job is not None
    if as_json:
        fields = {one.name: one.kind.as_json(one.get(job)) for one in jobs.LISTING.columns}
        kinds = [asdict(one) for one in failures]
        options = _options(detail.spec) if detail.spec else None
        output.print_json(
            "cyclone.job/1", {"job": {**fields, "options": options, "failures": kinds, "reason": detail.reason}}
        )
        return
    named = {one.name: columns.safe(one.kind.for_people(one.get(job))) for one in jobs.LISTING.columns}
    times = [f"{what} {named[what]}" for what in ("submitted", "finished") if named[what]]
    output.print_pairs(
        [
            ("job", f"{named['id']}  {named['name']}".rstrip()),
            ("state", f"{named['state']}{'' if job.sealed else ', takes more tasks'}"),
            ("tasks", named["tasks"] or "none yet"),
            ("class", named["class"]),
            ("namespace", named["namespace"]),
            ("owner", named["owner"]),
            ("session", named["session"]),
            ("tags", named["tags"]),
            ("priority", named["priority"] if job.priority else ""),
            ("qos", columns.safe(qos)),
            ("time", ", ".join([*times, *([f"took {named['seconds']}"] if named["seconds"] else [])])),
            ("reason", columns.safe(detail.reason)),
            *(_for_people(detail.spec) if detail.spec else ()),
        ]
    )
    if failures:
        output.write("\nfailures")
    for one in failures:
        text = columns.ERROR.for_people(one.example)
        output.write(f"{one.count:>9,}  {columns.safe(text)}  (such as {job.job_id}.{one.index})")


def _options(spec: "JobSpec") -> dict[str, Any]:
    """The spec as JSON has it: moments as text, and nothing that only workers can read."""
    import msgspec

    fields = {name: value for name, value in msgspec.structs.asdict(spec).items() if name != "shared"}
    return {**fields, **{name: columns.moment_json(fields[name] or 0.0) for name in _MOMENTS}}


def _for_people(spec: "JobSpec") -> Iterator[tuple[str, str]]:
    """What is not as it would be without a word: name and value."""
    usual = type(spec)(task_class=spec.task_class)
    for field in spec.__struct_fields__:
        value = getattr(spec, field)
        if field in _SHOWN_ELSEWHERE or value == getattr(usual, field):
            continue
        if field in _MOMENTS:
            text = columns.moment_text(value)
        elif field.endswith("_s"):
            text = columns.duration_text(value)
        elif field.endswith("_bytes"):
            text = columns.SIZE.for_people(value)
        elif isinstance(value, dict):
            text = columns.PAIRS.for_people(value)
        elif isinstance(value, tuple):
            text = _names(field, value)
        else:
            text = "yes" if value is True else str(value)
        yield option_name(field), columns.safe(text)


def option_name(field: str) -> str:
    """What people call a field of a JobSpec."""
    # It may have been released since: the state tells.
    return {"held": "held at submit"}.get(field) or field.removesuffix("_s").removesuffix("_bytes").replace("_", " ")


def _names(field: str, names: tuple[str, ...]) -> str:
    if field not in ("nodes", "exclude"):
        return ", ".join(names)
    from cyclone.ranges import fold_nodes

    return fold_nodes(names)


def _show_task(task: tasks.JobTask, cut: str, as_json: bool) -> None:
    listed = tasks.LISTING.columns
    if as_json:
        fields = {one.name: one.kind.as_json(one.get(task)) for one in listed}
        output.print_json("cyclone.task/1", {"task": {**fields, "output_cut": cut or None}})
        return
    named = {one.name: columns.safe(one.kind.for_people(one.get(task))) for one in listed}
    output.print_pairs(
        [
            ("task", f"{named['id']}, of the whole master {named['task_id']}"),
            ("state", named["state"]),
            ("since", f"{named['since']}, with {named['node']}" if task.row.since else ""),
            ("attempt", f"{named['attempt']}: so often was it given to a node" if task.row.attempt > 1 else ""),
            ("node", "" if task.row.since else named["node"]),
            ("started", named["started"]),
            ("time", named["seconds"]),
            ("cpu", named["cpu_s"]),
            ("peak", named["peak_bytes"]),
            ("entry", named["entry"]),
            ("args", "" if named["args"] in _NO_ARGS else named["args"]),
            ("value", named["value"]),
            ("printed", f"more than is kept: {cut}" if cut else ""),
            ("error", columns.error_text(task.row.error)),
        ]
    )
    for line in task.row.traceback.splitlines():
        output.write(columns.safe(line))
