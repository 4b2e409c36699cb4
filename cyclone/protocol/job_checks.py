"""What the types of a job cannot say: which options contradict each other, and what must not stand in a name.

Whoever submits can ask before he sends; the master asks again, for it believes nobody. Owns no limit but that of a
whole job. Must not import anything of Cyclone but the protocol.
"""

import msgspec

from cyclone.protocol import limits
from cyclone.protocol.job_spec import JobSpec
from cyclone.protocol.messages import Job

_encode = msgspec.msgpack.Encoder().encode


def contradiction(spec: JobSpec) -> str:
    """Why these options make no job, and what would be right; '' where they do."""
    module, _, name = spec.task_class.partition(":")
    if not module or not name:
        return f"task_class {spec.task_class!r}: expected module:Class"
    if not _is_array(spec.shared):
        return "shared: expected a msgpack array, or nothing"
    if spec.not_before is not None and spec.not_after is not None and spec.not_after <= spec.not_before:
        return "not_after: expected a moment behind not_before"
    if spec.nodes and not set(spec.nodes) - set(spec.exclude):
        return "exclude: it names all of nodes, so that nobody is left"
    if spec.directory and not spec.directory.startswith("/"):
        return f"directory {spec.directory!r}: expected a path that begins with /"
    if "\0" in spec.directory:
        return "directory: it must not hold a NUL character"
    for variable, value in spec.environment.items():
        if "=" in variable or "\0" in variable + value:
            return f"environment {variable[:64]!r}: expected a name without '=', and no NUL character in either"
    if (size := len(_encode(job_of(1, spec)))) > limits.JOB_BYTES_MAX:
        return f"shared, environment and directory: {size} bytes with all else, expected at most {limits.JOB_BYTES_MAX}"
    if (size := len(_encode(spec))) > limits.SPEC_BYTES_MAX:
        largest = max(spec.__struct_fields__, key=lambda field: len(_encode(getattr(spec, field))))
        return f"{largest}: {size} bytes with all other options, expected at most {limits.SPEC_BYTES_MAX}"
    return ""


def job_of(job_id: int, spec: JobSpec) -> Job:
    """What controllers are told of a job."""
    return Job(
        job_id=job_id,
        task_class=spec.task_class,
        time_limit_s=spec.time_limit_s,
        retries=spec.retries,
        retry_delay_s=spec.retry_delay_s,
        retry_on=spec.retry_on,
        # What only so many may do at once must end with its lease: else a lost controller's would be one too many.
        exclusive=spec.exclusive or spec.parallel is not None or bool(spec.limits),
        shared=spec.shared,
        cpus=spec.cpus,
        waits=(spec.wait_after_success_s, spec.wait_after_setup_error_s, spec.wait_after_run_error_s),
        environment=spec.environment,
        directory=spec.directory,
        by_value=spec.by_value,
        name=spec.name,
        namespace=spec.namespace,
    )


def unprintable(spec: JobSpec) -> str:
    """Which text of a job would harm a terminal or a log, '' for none."""
    texts = {
        "name": (spec.name,),
        "session": (spec.session,),
        "tags": spec.tags.values(),
        "task_class": (spec.task_class,),
        "retry_on": spec.retry_on,
        "nodes": spec.nodes,
        "exclude": spec.exclude,
        "environment": spec.environment,
    }
    return next((field for field, values in texts.items() if not all(map(str.isprintable, values))), "")


def _is_array(packed: bytes) -> bool:
    """Whether it looks like a msgpack array; what is in it only a worker opens."""
    return not packed or 0x90 <= packed[0] <= 0x9F or packed[0] in (0xDC, 0xDD)
