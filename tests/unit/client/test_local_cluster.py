"""What a private cluster's child says when it is ready, in a program that has many files open."""

import fcntl
import json
import os
import resource
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from cyclone.client.executor import Executor
from cyclone.client.local_cluster import _Child, check_feasible
from cyclone.errors import BadRequest
from cyclone.protocol.job_spec import JobSpec
from tests.support.played_master import PlayedMaster

# select() takes none from here on.
HIGH = 1024


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for descriptors of so high a number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard <= HIGH:
        pytest.skip("this host allows no process so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HIGH + 64), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_given_more_open_files_than_select_takes_then_the_child_is_heard() -> None:
    readable, writable = os.pipe()
    child = _Child.__new__(_Child)
    child._ready = fcntl.fcntl(readable, fcntl.F_DUPFD_CLOEXEC, HIGH)
    try:
        os.write(writable, json.dumps({"target": "ipc:///folder/master"}).encode() + b"\n")
        assert child.target() == "ipc:///folder/master"
    finally:
        for descriptor in (readable, writable, child._ready):
            os.close(descriptor)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cpus": 3}, "cpus: 3 for each task, and this private cluster has 2 workers"),
        ({"mem_bytes": 1 << 60}, r"mem: 1024 PiB for each task, and this host has .*iB"),
        ({"resources": {"gpu": 1}}, "resources: a private cluster has none, such as gpu"),
        ({"labels": ("fast",)}, "labels: a private cluster has none, such as fast"),
        ({"nodes": ("elsewhere",)}, "nodes: a private cluster has this host alone, .*, or local"),
        ({"exclude": ("local",)}, "exclude: a private cluster has this host alone"),
    ],
)
def test_given_what_a_private_cluster_can_never_execute_then_it_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        check_feasible(JobSpec(task_class="m:C", **options), 2)


@pytest.mark.parametrize(
    "options", [{}, {"cpus": 2}, {"mem_bytes": 1}, {"nodes": ("local", "x")}, {"nodes": (socket.gethostname(),)}]
)
def test_given_what_it_can_then_it_is_taken(options: dict[str, Any]) -> None:
    check_feasible(JobSpec(task_class="m:C", **options), 2)


def test_given_an_executor_that_can_never_execute_a_call_then_it_says_so(master: PlayedMaster) -> None:
    with Executor(connect=master.address, by_value=True) as executor:
        executor._core.check = lambda spec: check_feasible(spec, 1)
        view = executor.options(cpus=2)
        with pytest.raises(BadRequest, match="cpus: 2"):
            view.submit(abs, 1)
        with pytest.raises(BadRequest, match="cpus: 2"):
            view.map(abs, [1])
        assert executor.submit(abs, -1).result(20) == 1
