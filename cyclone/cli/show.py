"""``cyclone show``: everything about one job, or about one task of it."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cyclone.cli import columns, common, connecting, jobs, output, selectors, tasks
from cyclone.errors import CycloneError

if TYPE_CHECKING:
    from cyclone.client.client import Client
    from cyclone.protocol.job_messages import JobDetail
    from cyclone.protocol.job_spec import JobSpec

# How a job's options are shown to people; what has its default is left out.
_MOMENTS = ("not_before", "not_after")
# Told by the summary, or nobody's business.
_SHOWN_ELSEWHERE = ("task_class", "shared", "name", "namespace", "session", "tags", "priority")


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
            _show_job(client.detail(job_id), args.json)
        else:
            _show_task(one_task(client, job_id, args.place.number), args.json)
    return common.EXIT_OK


def one_task(client: "Client", job_id: int, number: int) -> tasks.JobTask:
    """A task with its arguments and value. Raises CycloneError where there is none."""
    chosen = selectors.Tasks(selectors.one_job(job_id), ((number, number),))
    for task in tasks.chosen(client, [chosen], with_args=True, with_values=True):
        return task
    raise CycloneError(f"job {job_id} has no task {number}")


def _show_job(detail: "JobDetail", as_json: bool) -> None:
    job = detail.job
    assert job is not None
    if as_json:
        fields = {one.name: one.kind.as_json(one.get(job)) for one in jobs.LISTING.columns}
        failures = [{"error": text, "count": count, "index": index} for text, count, index in detail.failures]
        options = _options(detail.spec) if detail.spec else None
        output.print_json(
            "cyclone.job/1", {"job": {**fields, "options": options, "failures": failures, "reason": detail.reason}}
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
            ("time", ", ".join([*times, *([f"took {named['seconds']}"] if named["seconds"] else [])])),
            ("reason", columns.safe(detail.reason)),
            *(_for_people(detail.spec) if detail.spec else ()),
        ]
    )
    if detail.failures:
        output.write("\nfailures")
    for text, count, index in detail.failures:
        output.write(f"{count:>9,}  {columns.safe(columns.error_text(text))}  (such as {job.job_id}.{index})")


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
        name = field.removesuffix("_s").removesuffix("_bytes").replace("_", " ")
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
        yield name, columns.safe(text)


def _names(field: str, names: tuple[str, ...]) -> str:
    if field not in ("nodes", "exclude"):
        return ", ".join(names)
    from cyclone.ranges import fold_nodes

    return fold_nodes(names)


def _show_task(task: tasks.JobTask, as_json: bool) -> None:
    listed = tasks.LISTING.columns
    if as_json:
        output.print_json("cyclone.task/1", {"task": {one.name: one.kind.as_json(one.get(task)) for one in listed}})
        return
    named = {one.name: columns.safe(one.kind.for_people(one.get(task))) for one in listed}
    output.print_pairs(
        [
            ("task", f"{named['id']}, of the whole master {named['task_id']}"),
            ("state", named["state"]),
            ("attempt", named["attempt"]),
            ("node", named["node"]),
            ("started", named["started"]),
            ("time", named["seconds"]),
            ("cpu", named["cpu_s"]),
            ("peak", named["peak_bytes"]),
            ("args", named["args"]),
            ("value", named["value"]),
            ("error", columns.error_text(task.row.error)),
        ]
    )
