"""Calls of a function as a job of a Client: by reference, so that anybody may read its tasks and results.

Owns how ``Client.map`` becomes options and tasks. Nothing is pickled: what goes by value is the Executor's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cyclone.client.byreference import pack_arguments, pack_function
from cyclone.client.options import CALL_CLASS, function_fields, job_fields
from cyclone.errors import BadRequest
from cyclone.protocol.job_spec import JobSpec
from cyclone.protocol.limits import NAME_CHARS_MAX
from cyclone.values import encode


def job_of_calls(
    function: Callable[..., Any] | str, iterables: Iterable[Iterable[Any]], options: Mapping[str, Any]
) -> tuple[JobSpec, Iterator[bytes]]:
    """The options of the job, and its tasks, which are made as they are pulled. Raises as ``Client.map`` does."""
    if isinstance(function, str):
        if not all(function.partition(":")):
            raise BadRequest(f"function {function!r}: expected module:name, such as math:factorial")
        name, shared, own = function, encode([function]), {}
    else:
        name, shared = str(getattr(function, "__qualname__", "")), pack_function(function)
        own = function_fields(function)
    fields = {"name": name[:NAME_CHARS_MAX], **own, **job_fields(options)}
    return JobSpec(task_class=CALL_CLASS, shared=shared, **fields), map(pack_arguments, zip(*iterables, strict=False))
