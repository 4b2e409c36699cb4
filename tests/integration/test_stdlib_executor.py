"""CPython's own tests of executors, as they are, on ours: the classes of ``test.test_concurrent_futures`` that name no
executor of the standard library.

Where Python was installed without its tests, Debian's package of them serves, if it is of the same version. Where there
is neither, there is nothing to run. One private cluster serves all of them.
"""

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cyclone.client.executor import Executor
from cyclone.client.local_cluster import LocalCluster
from cyclone.client.stream import Stream
from tests.support.parts import PARTS

_WORKERS = 5
_PACKAGE = "test.test_concurrent_futures"


def _generic() -> Any:
    """The classes: of a package since Python 3.12, of one module before."""
    if (PARTS / "python").is_dir():
        # In front of the package of that name that may be there, with other things in it; workers get the same path.
        sys.path.insert(0, str(PARTS / "python"))
    try:
        # Those that only pass time are left out.
        setattr(importlib.import_module("test.support"), "use_resources", [])  # noqa: B010 - it has no stubs
        found = importlib.import_module(_PACKAGE)
    except ModuleNotFoundError:
        pytest.skip(f"this Python has no {_PACKAGE}", allow_module_level=True)
    if not hasattr(found, "__path__"):
        return found
    homes = {
        "executor": ("ExecutorTest",),
        "test_as_completed": ("AsCompletedTests",),
        "test_shutdown": ("ExecutorShutdownTest",),
        "test_wait": ("WaitTests",),
        "util": ("BaseTestCase", "ExecutorMixin"),
    }
    classes: dict[str, Any] = {}
    for home, names in homes.items():
        module = importlib.import_module(f"{_PACKAGE}.{home}")
        classes |= {name: getattr(module, name) for name in names}
    return SimpleNamespace(**classes)


generic = _generic()


class _Shared:
    """A cluster that is not one's own: the end of an Executor is not its end."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._address = cluster.address()

    def address(self) -> Any:
        return self._address

    def fileno(self) -> int:
        return -1

    def renew(self) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


class SharedExecutor(Executor):
    """An Executor as ``Executor(workers=...)`` makes it, but for the start of its cluster."""

    shared: _Shared

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is not None and max_workers <= 0:
            super().__init__(max_workers)
        self._begin(Stream(self.shared), by_value=True, slots=_WORKERS)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    started = LocalCluster(_WORKERS)
    try:
        SharedExecutor.shared = _Shared(started)
        yield
    finally:
        started.close()


class _Mixin(generic.ExecutorMixin):  # type: ignore[misc, name-defined]
    executor_type = SharedExecutor
    worker_count = _WORKERS


class TestExecutor(_Mixin, generic.ExecutorTest, generic.BaseTestCase):  # type: ignore[misc, name-defined]
    """submit and map."""


class TestWait(_Mixin, generic.WaitTests, generic.BaseTestCase):  # type: ignore[misc, name-defined]
    """concurrent.futures.wait."""


class TestAsCompleted(_Mixin, generic.AsCompletedTests, generic.BaseTestCase):  # type: ignore[misc, name-defined]
    """concurrent.futures.as_completed."""


class TestShutdown(_Mixin, generic.ExecutorShutdownTest, generic.BaseTestCase):  # type: ignore[misc, name-defined]
    """shutdown, but for what a new interpreter does with executors of the standard library."""

    test_interpreter_shutdown = None
    test_submit_after_interpreter_shutdown = None
    test_hang_gh83386 = None
    test_hang_gh94440 = None
