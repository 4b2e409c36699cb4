"""What the tests of jobs begin with."""

import pytest

from tests.support.job_requests import ANN, BOB, submit
from tests.support.masters import Master


@pytest.fixture
def running(master: Master) -> int:
    """The session that has the first two tasks of job 1; two more wait, and so do two of job 2."""
    session = master.join()
    submit(master, 4, "one", who=ANN)
    submit(master, 2, "two", who=BOB)
    master.lease(session, 2)
    return session
