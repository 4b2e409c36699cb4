"""A played master, and an Executor that is connected to it."""

from collections.abc import Iterator

import pytest

from cyclone.client import job_stream, stream
from cyclone.client.executor import Executor
from tests.support.played_master import PlayedMaster


@pytest.fixture
def master() -> Iterator[PlayedMaster]:
    with PlayedMaster() as played:
        yield played


@pytest.fixture
def executor(master: PlayedMaster) -> Iterator[Executor]:
    with Executor(connect=master.address, by_value=True) as made:
        yield made
        # What a test held would be waited for.
        master.release()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What got lost is sent again soon."""
    monkeypatch.setattr(job_stream, "RESEND_S", 0.02)
    monkeypatch.setattr(job_stream, "FOLLOW_S", 0.02)
    monkeypatch.setattr(stream, "RESEND_S", 0.02)
