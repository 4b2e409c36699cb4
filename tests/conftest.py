"""What all tests share: whatever starts real processes is slow, without anybody having to remember to say so."""

import signal
from pathlib import Path

import pytest

INTEGRATION = Path(__file__).parent / "integration"


def pytest_configure() -> None:
    # A shell lets what it starts in the background ignore SIGINT, nohup SIGHUP, and all that the tests start would
    # inherit that: a program that is to be interrupted would go on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if INTEGRATION in item.path.parents or item.get_closest_marker("alone"):
            item.add_marker("slow")
