"""What a client refuses to send: each field, what is wrong with it, and that nothing reaches the master."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from cyclone.client.checking import check_spec
from cyclone.client.client import Client
from cyclone.client.nodes import chosen
from cyclone.client.options import job_fields
from cyclone.client.submitting import Row
from cyclone.errors import BadRequest, CycloneError, PayloadTooLarge
from cyclone.protocol import limits
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace
from tests.support.played_master import PlayedMaster

CLASS = "m:C"


@pytest.fixture(scope="module")
def master() -> Iterator[PlayedMaster]:
    with PlayedMaster() as played:
        yield played


@pytest.fixture
def client(master: PlayedMaster) -> Iterator[Client]:
    with Client(master.address, timeout_s=0.5) as connected:
        yield connected
    assert master.seen == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "a\nb"}, "name: expected characters that can be printed"),
        ({"name": "\x1b[2J"}, "name: expected characters that can be printed"),
        ({"name": "x" * 256}, "name: expected str of length <= 255"),
        ({"name": 5}, "name: expected str, got int"),
        ({"name": b"night"}, "name: expected str, got bytes"),
        ({"name": None}, "name: expected str, got None"),
        ({"name": "\ud800"}, "name: expected text that has a UTF-8 form"),
        ({"name": object()}, "name: .*object"),
        ({"namespace": "no spaces"}, "namespace: expected str matching regex"),
        ({"namespace": ""}, "namespace: expected str matching regex"),
        ({"session": "\x00"}, "session: expected characters"),
        ({"tags": {"a": "\n"}}, "tags: expected characters"),
        ({"tags": {"a b": "c"}}, "tags: expected str matching regex [^`]*$"),
        ({"tags": [1]}, "tags: expected object, got array"),
        ({"tags": {f"t{number}": "" for number in range(65)}}, "tags: expected object of length <= 64"),
        ({"priority": 1 << 70}, "priority: expected a number of no more than 64 bits"),
        ({"priority": "high"}, "priority: expected int, got str"),
        ({"priority": True}, "priority: expected int, got bool"),
        ({"retries": -1}, "retries: expected int >= 0"),
        ({"time_limit_s": -1.0}, "time_limit_s: expected float >= 0"),
        ({"time_limit_s": math.nan}, "time_limit_s: expected float >= 0"),
        ({"cpus": 0}, "cpus: expected int >= 1"),
        ({"nodes": ("",)}, r"nodes\[0\]: expected str of length >= 1"),
        ({"nodes": "node1"}, "nodes: expected array, got str"),
        ({"nodes": ("a",), "exclude": ("a",)}, "exclude: it names all of nodes"),
        ({"limits": {"ost:1": 0}}, r"limits\[\.\.\.\]: expected int >= 1"),
        ({"environment": {"A=B": "c"}}, "environment 'A=B': expected a name without '='"),
        ({"environment": {"A": "\0"}}, "environment 'A': .*no NUL"),
        ({"environment": {"A": 1}}, "environment.*: expected str, got int"),
        ({"directory": "here"}, "directory 'here': expected a path that begins with /"),
        ({"not_before": 2.0, "not_after": 1.0}, "not_after: expected a moment behind not_before"),
        ({"shared": "text"}, "shared: expected bytes, got str"),
        ({"shared": b"\xc0"}, "shared: expected a msgpack array"),
        ({"shared": b"\x91" + bytes(limits.VALUE_BYTES_MAX)}, "shared: expected bytes of length <= 4194304"),
        ({"keep_s": math.inf}, "keep_s: expected float <= 1000000000"),
        ({"task_class": "nothing"}, "task_class 'nothing': expected module:Class"),
        ({"task_class": ""}, "task_class: expected str of length >= 1"),
    ],
)
def test_given_options_that_no_job_may_have_then_the_field_is_named_and_nothing_is_sent(
    client: Client, fields: dict[str, Any], says: str
) -> None:
    spec = JobSpec(**{"task_class": CLASS, **fields})
    with pytest.raises(BadRequest, match=f"^({says})"):
        client.submit(spec, [b"\x90"])


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda client: client.drain(""), "controller: expected str of length >= 1"),
        (lambda client: client.drain("x" * 256), "controller: expected str of length <= 255"),
        (lambda client: client.drain(7), "controller: expected str, got int"),
        (lambda client: client.detail("7"), "job_id: expected int, got str"),
        (lambda client: client.detail(-1), "job_id: expected int >= 0"),
        (lambda client: client.detail(1 << 65), "job_id: expected a number of no more"),
        (lambda client: list(client.results(None)), "job_id: expected int, got None"),
        (lambda client: list(client.results(1, -1)), "position: expected int >= 0"),
        (lambda client: list(client.results(0)), "job_id: expected int >= 1"),
        (lambda client: client.output(1, -1), "index: expected int >= 0"),
        (lambda client: client.output(1, 0, wait_s=60), "wait_s: expected (float|int) <= 10"),
        (lambda client: list(client.tasks(1, page=0)), "page: expected int >= 1"),
        (lambda client: list(client.tasks(1, states=["x" * 300])), r"states\[0\]: expected str of length <= 255"),
        (
            lambda client: list(client.tasks(1, states=["runing"])),
            "states: .* 'runing', .* queued, .* running, .* failed",
        ),
        (lambda client: client.cancel(JobSelection(), states=("runing",)), "states: there is no state 'runing'"),
        (
            lambda client: list(client.jobs(JobSelection(states=("leased",)))),
            "selection.states: .* 'leased', .* waiting",
        ),
        (lambda client: client.map("factorial", [4]), "function 'factorial': expected module:name"),
        (lambda client: list(client.jobs(JobSelection(owner="x" * 256))), r"selection\.owner: expected str"),
        (lambda client: list(client.jobs(JobSelection(ids=[(3, 1)]))), "3 to 1|ranges"),
        (lambda client: client.cancel(JobSelection(), reason="a\nb"), "reason has characters that cannot be printed"),
        (lambda client: client.cancel(JobSelection(), indexes=[(1, "2")]), r"indexes\[0\]\[1\]: expected int"),
        (lambda client: client.requeue(1, [(-1, 2)]), r"indexes\[0\]\[0\]: expected int >= 0"),
        (lambda client: client.processed(1, [(5, 2)]), "5 to 2|ranges"),
        (lambda client: client.purge("no name!"), r"namespace\.name: expected str matching regex"),
        (lambda client: client.set_namespace(Namespace(name="a", weight=0)), r"namespace\.weight: expected float > 0"),
        (lambda client: client.events(after=-1).__next__(), "after: expected int >= 0"),
        (lambda client: client.submit(JobSpec(task_class=CLASS), [b"\x90"], key=b"short"), "key: expected bytes of"),
        (lambda client: client.submit(JobSpec(task_class=CLASS), [b"\x90"], key=b""), "key: expected bytes of"),
        (lambda client: client.submit(JobSpec(task_class=CLASS), [[7]]), "task 0: expected bytes, .*not list"),
        (lambda client: client.submit(JobSpec(task_class=CLASS), [b"\x90", "x"]), "task 1: expected bytes, .*not str"),
        (
            lambda client: client.submit(JobSpec(task_class=CLASS), [Row([])]),  # type: ignore[arg-type]
            "task 0: expected bytes, .*not list",
        ),
        (
            lambda client: client.submit(JobSpec(task_class=CLASS), [Row(b"\x90", time_limit_s=-1)]),
            r"block\.options\[0\]\[2\]: expected float >= 0",
        ),
        (lambda client: client.add(1, [b"\x90"], offset=-1), r"block\.offset: expected int >= 0"),
    ],
)
def test_given_a_question_that_breaks_a_rule_then_the_field_is_named_and_nothing_is_sent(
    client: Client, ask: Any, says: str
) -> None:
    with pytest.raises(BadRequest, match=says):
        ask(client)


def test_given_a_state_that_no_node_has_then_it_is_said() -> None:
    with pytest.raises(BadRequest, match="state: there is no state 'down', there are .*up"):
        chosen([], state="down")


def test_given_arguments_that_are_too_large_then_nothing_is_sent(client: Client) -> None:
    with pytest.raises(PayloadTooLarge, match="task 0"):
        client.submit(JobSpec(task_class=CLASS), [bytes(limits.VALUE_BYTES_MAX + 1)])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "a\nb"}, "name: expected characters that can be printed"),
        ({"name": "x" * 300}, "name: expected str of length <= 255"),
        ({"time_limit": -1}, "time_limit: expected"),
        ({"time_limit": "soon"}, "time_limit: .*soon"),
        ({"keep": []}, "keep: expected"),
        ({"mem": -5}, "mem: expected int >= 0"),
        ({"mem": "much"}, "mem: .*much"),
        ({"retry_on": 5}, "retry_on: expected exception classes or their names, not 5"),
        ({"retry_on": [ValueError, None]}, "retry_on: expected exception classes or their names, not None"),
        ({"retry_on": "\x07"}, "retry_on: expected characters"),
        ({"labels": "gpu"}, "labels: expected array, got str"),
        ({"nodes": ["a"], "exclude": ["a"]}, "exclude: it names all of nodes"),
        ({"directory": "here"}, "directory 'here'"),
        ({"namespace": "\n"}, "namespace: expected str matching regex"),
    ],
)
def test_given_options_of_an_executor_then_what_is_wrong_is_said_with_their_own_names(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=f"^{says}") as raised:
        job_fields(options)
    assert isinstance(raised.value, CycloneError)


def test_given_one_exception_then_it_need_not_be_a_list() -> None:
    assert job_fields({"retry_on": ValueError}) == {"retry_on": ("ValueError",)}
    assert job_fields({"retry_on": "OSError"}) == {"retry_on": ("OSError",)}


def test_given_options_at_their_bounds_then_they_are_taken() -> None:
    check_spec(
        JobSpec(
            task_class=CLASS,
            name="n" * limits.NAME_CHARS_MAX,
            tags={"a": ""},
            priority=-1_000_000,
            time_limit_s=0,
            keep_s=0,
            nodes=("a", "b"),
            exclude=("a",),
            environment={"A": ""},
            directory="/",
            shared=b"\x90",
        )
    )
