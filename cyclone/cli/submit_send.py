"""A planned job on its way to the master: its first tasks with it, then the rest as they come.

Owns what is told of a key that has made a job before, and what becomes of a job whose tasks cannot all be sent.
"""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from cyclone.cli import columns, connecting, output
from cyclone.errors import ConfigError, CycloneError, NoSuchJob, NoSuchNamespace, SubmitRefused, Unreachable
from cyclone.protocol.limits import BATCH_BYTES_TARGET, TASKS_PER_BATCH_MAX

if TYPE_CHECKING:
    from cyclone.cli.submit_plan import Plan
    from cyclone.client.client import Client

_OTHER_KEY = "another --key makes another job of these tasks"


def send(client: "Client", plan: "Plan", as_json: bool = False) -> tuple[int, int]:
    """Submit it: the job's number, and how many tasks it has. What breaks off half-way is cancelled."""
    from cyclone.cli.submit_values import key_of

    key = None if plan.key is None else key_of(plan.key)
    tasks = plan.tasks()
    first, is_all = _first_block(tasks)
    if not is_all and plan.total:
        _check_quota(client, plan.spec.namespace, plan.total)
    newest = connecting.newest_job(client) if key else 0
    try:
        job_id = client.submit(plan.spec, first, key=key, sealed=is_all)
    except NoSuchNamespace as error:
        hint = "-n is the namespace, and --array makes several tasks"
        raise NoSuchNamespace(error.code, f"{error}: {hint}") from None
    except SubmitRefused as error:
        _refuse_more(error)
        raise
    except Unreachable as error:
        if error.may_be_done:
            output.note(_perhaps_submitted(key is not None), as_json)
        raise
    has = len(first)
    given = has if is_all else plan.total
    if job_id <= newest:
        note, has = _made_before(client, plan, job_id, first, given)
        output.note(note, as_json)
    if is_all:
        return job_id, has
    try:
        sent, count = _send_rest(client, job_id, len(first), tasks, key is not None)
    except NoSuchJob:
        raise
    except (CycloneError, KeyboardInterrupt) as error:
        if key is not None:
            _refuse_more(error)
        output.note(_broke_off(client, job_id, key is not None, error), as_json)
        raise
    has = max(has, count)
    if given is None and sent < has:
        output.note(f"job {job_id}: {_other_number(has, sent)}", as_json)
    return job_id, has


def _refuse_more(error: BaseException) -> None:
    """Raise what would be right where a job that was made before has all of its tasks, and takes no more."""
    from cyclone.protocol.job_messages import SEALED

    if isinstance(error, SubmitRefused) and error.code == SEALED:
        raise SubmitRefused(SEALED, f"{error}: {_OTHER_KEY}") from None


def _perhaps_submitted(has_key: bool) -> str:
    again = "the same command again makes no second one" if has_key else "with --key the same command could be repeated"
    return f"perhaps there is a job all the same: `cyclone jobs` tells when the master answers; {again}"


def _check_quota(client: "Client", namespace: str, count: int) -> None:
    """What can never fit is not begun: some of it would be done by the time that it is refused."""
    for one in client.namespaces():
        most = one.namespace.tasks_max
        if one.namespace.name == namespace and most is not None and count > most:
            text = f"namespace {namespace} may have {most:,} open tasks at a time"
            raise ConfigError(f"{count:,} tasks are too many for one job: {text}; submit them in parts")


def _send_rest(
    client: "Client", job_id: int, count: int, tasks: Iterator[bytes | None], has_key: bool
) -> tuple[int, int]:
    """What comes behind so many tasks: how many there were in all, and how many the job has, as far as that is said."""
    given = count

    def counted() -> Iterator[bytes | None]:
        nonlocal given
        for packed in tasks:
            given += packed is not None
            yield packed

    rest = counted()
    try:
        has = client.add(job_id, rest, offset=count, sealed=True)
    except NoSuchJob as error:
        # It has ended: cancelled meanwhile, or the same key has made it long ago.
        job = client.detail(job_id).job
        if not has_key or job is None:
            raise
        for _ in rest:
            pass
        if given > (has := sum(job.tasks.values())):
            text = f"job {job_id} takes no more tasks: it has ended with {has} of them: {_OTHER_KEY}"
            raise NoSuchJob(error.code, text) from None
    return given, has


def _made_before(client: "Client", plan: "Plan", job_id: int, first: list[bytes], given: int | None) -> tuple[str, int]:
    """For whoever takes a key again for something else, and would believe that it is done; how many tasks the job has.

    ``given`` is how many there are now, ``first`` the first of them.
    """
    from cyclone.cli.show import option_name

    text = f"job {job_id} was made with this key before, and is not submitted again"
    try:
        detail = client.detail(job_id, with_shared=True)
    except NoSuchJob:
        return f"{text}, though nothing of it is kept any more: {_OTHER_KEY}", 0
    assert detail.job is not None
    text = f"{text}: it is of {columns.moment_text(detail.job.submitted)}"
    has = sum(detail.job.tasks.values())
    fields = (name for name in plan.spec.__struct_fields__ if getattr(plan.spec, name) != getattr(detail.spec, name))
    others = ["what it runs" if name == "shared" else option_name(name) for name in fields]
    # One that is not sealed waits for the rest.
    if given is not None and (given < has or (given > has and detail.job.sealed)):
        text += f"; {_other_number(has, given)}"
    elif _has_others(client, job_id, first):
        others.append("the entries")
    differs = f"; different from now: {', '.join(others)}" if others else ""
    return text + differs, has


def _other_number(has: int, given: int) -> str:
    return f"it has {columns.counted(has, 'task')}, this command line gives {given:,}"


def _has_others(client: "Client", job_id: int, first: list[bytes]) -> bool:
    """Whether the first tasks of a job are others than these, as far as the master tells what they were given.

    It does so of those that have ended, unless it has had to forget it.
    """
    rows = islice(client.tasks(job_id, with_args=True, page=len(first)), len(first))
    return any(row.args and row.args != first[row.index] for row in rows if row.index < len(first))


def _broke_off(client: "Client", job_id: int, has_key: bool, error: BaseException) -> str:
    """What becomes of a job that has not all of its tasks: it is cancelled, unless the rest may still come."""
    if isinstance(error, Unreachable) or (has_key and not isinstance(error, ConfigError)):
        ways = f"{'the same command sends them, ' * has_key}cyclone seal or cancel {job_id} ends it"
        return f"job {job_id} has not all of its tasks, and waits for them: {ways}"
    from cyclone.protocol.job_spec import JobSelection

    client.cancel(JobSelection(ids=[(job_id, job_id)]), reason="its submission broke off")
    used_up = "; its key stands for it, take another one" if has_key else ""
    return f"job {job_id} is cancelled: not all of its tasks could be sent{used_up}"


def _first_block(tasks: Iterator[bytes | None]) -> tuple[list[bytes], bool]:
    """What fits into one message, or has waited long enough, and whether these are all."""
    block: list[bytes] = []
    size = 0
    for packed in tasks:
        if packed is None:
            if block:
                return block, False
            continue
        block.append(packed)
        size += len(packed)
        if len(block) == TASKS_PER_BATCH_MAX or size >= BATCH_BYTES_TARGET:
            return block, False
    return block, True
