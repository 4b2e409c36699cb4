"""What a client may say about jobs, and what is refused before anybody looks at it."""

from typing import Any

import msgspec
import pytest

from cyclone.errors import ProtocolError
from cyclone.protocol import limits, wire
from cyclone.protocol.job_checks import contradiction, job_of
from cyclone.protocol.job_lists import spec_bytes
from cyclone.protocol.job_messages import (
    AddRequest,
    CancelJobsRequest,
    ControlRequest,
    FollowRequest,
    JobBlock,
    JobResults,
    JobsRequest,
    NamespaceRequest,
    ProcessedRequest,
    RequeueRequest,
    SubmitRequest,
)
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace, TaskBlock
from cyclone.protocol.messages import Job, State, TaskBatch, TaskRange, Tasks

KEY = bytes(16)
SPEC: dict[str, Any] = {"task_class": "m:A"}


def submitted(**spec: Any) -> list[bytes]:
    """A submission with these options, as they are: nobody has looked at them."""
    return wire.encode(SubmitRequest(1, KEY, SPEC | spec, None))  # type: ignore[arg-type]


def added(args: int, options: list[Any], offset: int = 0) -> list[bytes]:
    return wire.encode(AddRequest(1, 1, TaskBlock(offset, [b"\x90"] * args, options)))


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        pytest.param(submitted(unknown=1), "unknown field", id="an option that there is not"),
        pytest.param(submitted(task_class=""), "length >= 1", id="no class"),
        pytest.param(submitted(name="x" * 256), "length <= 255", id="a name too long"),
        pytest.param(submitted(name="a\x1b[31m"), "name of a job has characters", id="a name that paints"),
        pytest.param(submitted(session="a\nb"), "session of a job has characters", id="a session of two lines"),
        pytest.param(submitted(tags={"k": "a\tb"}), "tags of a job has characters", id="a tag with a tab"),
        pytest.param(submitted(nodes=["a\nb"]), "nodes of a job has characters", id="a node of two lines"),
        pytest.param(submitted(environment={"A\n": "b"}), "environment of a job", id="a variable of two lines"),
        pytest.param(submitted(namespace="default\n"), "matching regex", id="a namespace with an end of line"),
        pytest.param(submitted(namespace=""), "matching regex", id="a namespace without a name"),
        pytest.param(submitted(namespace="../x"), "matching regex", id="a namespace that begins with a dot"),
        pytest.param(submitted(qos="a b"), "matching regex", id="a class of service with a blank"),
        pytest.param(submitted(labels=["a"] * 65), "length <= 64", id="too many labels"),
        pytest.param(submitted(priority=1_000_001), "<= 1000000", id="too high a priority"),
        pytest.param(submitted(retries=-1), ">= 0", id="fewer than no retries"),
        pytest.param(submitted(crash_limit=0), ">= 1", id="no crash at all"),
        pytest.param(submitted(cpus=0), ">= 1", id="no slot"),
        pytest.param(submitted(cpus=1.5), "Expected `int`", id="half a slot"),
        pytest.param(submitted(limits={"ost": 0}), ">= 1", id="a limit of nothing"),
        pytest.param(submitted(resources={"a b": 1}), "matching regex", id="a resource with a blank"),
        pytest.param(submitted(not_after=float("nan")), ">= 0", id="a moment that is no number"),
        pytest.param(submitted(not_before=float("inf")), "<= 100000000000", id="a moment that never comes"),
        pytest.param(submitted(retry_delay_s=-1.0), ">= 0", id="a negative delay"),
        pytest.param(submitted(shared=bytes(limits.VALUE_BYTES_MAX + 1)), "length <=", id="too much that is shared"),
        pytest.param(
            wire.encode(SubmitRequest(1, b"short", JobSpec(**SPEC))), "length >= 16", id="a key that is too short"
        ),
        pytest.param(added(2, [(2, None, 1.0)]), "rising rows below 2", id="options of no row"),
        pytest.param(added(2, [(1, None, 1.0), (0, None, 1.0)]), "rising rows", id="options in another order"),
        pytest.param(added(2, [(1, None, 1.0), (1, None, 1.0)]), "rising rows", id="options twice"),
        pytest.param(added(1, [(0, -1.0, None)]), ">= 0", id="a moment before the beginning"),
        pytest.param(added(2, [], offset=limits.ID_MAX), "too large", id="an index too large"),
        pytest.param(added(0, []), "length >= 1", id="a block of nothing"),
        pytest.param(added(4097, []), "length <= 4096", id="a block too long"),
        pytest.param(
            wire.encode(JobsRequest(1, JobSelection(ids=[(5, 3)]))), "turned round", id="a range of jobs turned round"
        ),
        pytest.param(
            wire.encode(ControlRequest(1, JobSelection(ids=[(1, 3), (3, 5)]), "hold")),
            "named twice",
            id="a job named twice",
        ),
        pytest.param(
            wire.encode(CancelJobsRequest(1, JobSelection(), [(4, 5), (1, 2)])),
            "out of order",
            id="indexes in disorder",
        ),
        pytest.param(
            wire.encode(CancelJobsRequest(1, JobSelection(), reason="a\nb")), "reason", id="a reason of two lines"
        ),
        pytest.param(wire.encode(RequeueRequest(1, 1, [(2, 1)])), "turned round", id="a requeue turned round"),
        pytest.param(wire.encode(ProcessedRequest(1, 1, [(0, 1), (1, 1)])), "named twice", id="processed twice"),
        pytest.param(wire.encode(JobsRequest(1, JobSelection(), 0)), ">= 1", id="an empty page"),
        pytest.param(wire.encode(JobsRequest(1, JobSelection(), 4097)), "<= 4096", id="too large a page"),
        pytest.param(wire.encode(FollowRequest(1, 1, 0, 1 << 40)), "<= 67108864", id="too large a window"),
        pytest.param(
            wire.encode(ControlRequest(1, JobSelection(), "stop")),  # type: ignore[arg-type]
            "Invalid enum value 'stop'",
            id="an action that there is not",
        ),
        pytest.param(
            wire.encode(NamespaceRequest(1, "set", Namespace(name="n", weight=0.0))), "> 0", id="a weight of nothing"
        ),
        pytest.param(
            wire.encode(State(1, 1, 0, 0, 1, 0, [], [TaskRange(5, 1, 1, 1), TaskRange(4, 1, 1, 1)])),
            "out of order",
            id="what runs in disorder",
        ),
    ],
)
def test_given_anything_else_about_jobs_then_it_is_refused_with_the_reason(frames: list[bytes], reason: str) -> None:
    with pytest.raises(ProtocolError) as error:
        wire.decode_for_master(frames)
    assert reason.lower() in str(error.value).lower()


def test_given_results_whose_columns_differ_then_a_client_does_not_take_them() -> None:
    blocks = [JobBlock(0, 1, 1, b"\0\0", b"\1", b"", "c1")]
    with pytest.raises(ProtocolError, match="1 marks beside 2 statuses"):
        wire.decode_for_client(wire.encode(JobResults(1, 1, 0, 1, blocks, finished=False)))


@pytest.mark.parametrize("rows", [[(2, 1.0)], [(1, 1.0), (0, 1.0)]])
def test_given_time_limits_of_no_row_then_a_controller_does_not_take_the_tasks(rows: list[tuple[int, float]]) -> None:
    batch = TaskBatch(1, 1, [(1, 2)], [b"\x90", b"\x90"], rows)
    with pytest.raises(ProtocolError, match="rising rows below 2"):
        wire.decode_from_master(wire.encode(Tasks(1, 1, 2, [], [batch])))


def test_given_options_with_their_defaults_then_only_what_differs_travels() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(JobSpec(task_class="m:A"))) == {"task_class": "m:A"}


def test_given_a_job_then_controllers_are_told_what_they_need_and_no_more() -> None:
    spec = JobSpec(
        task_class="m:A",
        time_limit_s=2.0,
        retries=3,
        wait_after_setup_error_s=1.5,
        environment={"A": "b"},
        tags={"k": "v"},
        priority=7,
    )
    job = Job(9, "m:A", 2.0, 3, waits=(0.0, 1.5, 0.0), environment={"A": "b"}, namespace="default")
    assert job_of(9, spec) == job


def test_given_options_that_belong_together_then_nobody_objects() -> None:
    spec = JobSpec(
        task_class="m:A",
        shared=b"\x91\x01",
        not_before=1.0,
        not_after=2.0,
        nodes=("a", "b"),
        exclude=("b",),
        directory="/d",
    )
    assert contradiction(spec) == ""


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"shared": b"\x91\xc4" + bytes(limits.VALUE_BYTES_MAX - 9)}, id="much that is shared"),
        pytest.param({"retry_on": ("\N{SNOWMAN}" * limits.NAME_CHARS_MAX,) * limits.LABELS_MAX}, id="long names"),
        pytest.param({"environment": {"A": "\N{SNOWMAN}" * limits.TEXT_CHARS_MAX}}, id="an environment"),
    ],
)
def test_given_a_job_then_it_is_counted_as_no_less_than_what_a_controller_is_told_of_it(
    options: dict[str, Any],
) -> None:
    spec = JobSpec(task_class="m:A", **options)
    assert spec_bytes(spec) >= len(msgspec.msgpack.encode(job_of(1, spec)))


# The longest text that has its length in characters: four bytes each.
_LONGEST = "\N{CLINKING BEER MUGS}" * limits.NAME_CHARS_MAX


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param({"nodes": (_LONGEST,) * 8000}, "", id="many nodes"),
        pytest.param({"nodes": (_LONGEST,) * 8000, "exclude": ("x",) * 16384}, "", id="nodes and few others"),
        pytest.param(
            {"nodes": (_LONGEST,) * 8000, "exclude": (_LONGEST[1:],) * 300},
            "nodes: 8489738 bytes with all other options, expected at most 8388608",
            id="more than fits",
        ),
        pytest.param({"shared": b"\x91" + bytes(4_000_000), "nodes": (_LONGEST,) * 5000}, "nodes: ", id="shared, too"),
    ],
)
def test_given_options_that_are_large_only_together_then_the_largest_is_named(
    options: dict[str, Any], text: str
) -> None:
    found = contradiction(JobSpec(task_class="m:A", **options))
    assert found.startswith(text) and bool(found) == bool(text), found
