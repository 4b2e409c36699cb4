"""Requests at the edges of their types at a real master with a journal: it lives, answers, and recovers from them."""

import random
from typing import get_args

import psutil

from cyclone.client.connection import Address, Connection
from cyclone.errors import ProtocolError
from cyclone.protocol import wire
from cyclone.protocol.job_messages import AnyFromClient
from tests.integration.test_jobs_survive import Site
from tests.support.extremes import Extremes
from tests.support.job_work import work
from tests.support.lab import Lab

ROUNDS, REQUESTS = 12, 150
GROWTH_BYTES_MAX = 60 << 20
KINDS = get_args(AnyFromClient)


def is_understood(request: AnyFromClient) -> bool:
    try:
        wire.decode_for_master(wire.encode(request))
    except ProtocolError:
        return False
    return True


def test_given_requests_at_the_edges_of_their_types_at_a_real_master_then_it_lives_answers_and_recovers(
    lab: Lab,
) -> None:
    # It goes on listening, whatever it hears.
    site = Site(lab, comm={"strike_limit": "0"})
    try:
        assert site.submit("first", work("first", 20)) == 1
        before = psutil.Process(site.master.pid).memory_info().rss
        rng = random.Random(2)
        with Connection(Address("127.0.0.1", lab.port), 10.0) as connection:
            for _ in range(ROUNDS):
                for _ in range(REQUESTS):
                    request = Extremes(rng).of(rng.choice(KINDS))
                    if is_understood(request):
                        connection.say(request)
                        connection.hear(0.0)
                assert site.client.status().request
        assert psutil.Process(site.master.pid).memory_info().rss - before < GROWTH_BYTES_MAX
        lines = site.master.stderr().splitlines()
        assert not [line for line in lines if "forged" in line and line.startswith("2026-01-01 forged")]
        assert "Traceback" not in site.master.stderr()
        jobs = {job.job_id: job.tasks for job in site.client.jobs()}
        assert len(jobs) > 2
        site.restart()
        assert {job.job_id: job.tasks for job in site.client.jobs()} == jobs
        site.verified()
    finally:
        site.client.close()
