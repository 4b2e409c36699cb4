"""What was answered holds, whoever is killed: real masters, controllers and clients, and a network that fails them.

An answered submit is never lost and a repeated one never doubled; what is cancelled never completes; limits hold.
"""

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from cyclone.client.client import Client
from cyclone.errors import NotAllowed
from cyclone.protocol.job_messages import JobSummary
from cyclone.protocol.job_spec import JobSelection, JobSpec, Namespace
from tests.support.job_work import GATE, TIMEOUT_S, WORK, key_of, work
from tests.support.keys import Keys
from tests.support.lab import Lab, Started
from tests.support.networks import ProxiedLink

MANY = 50_000
JOBS_ONLY: dict[str, dict[str, str]] = {"task_generator": {}, "clients": {"submit": "yes"}}


class Site:
    """A master for jobs and its controllers, any of which ``kill`` ends; ``server`` is where clients find it."""

    def __init__(self, lab: Lab, **sections: dict[str, str]) -> None:
        self.lab = lab
        self.server = f"tcp://127.0.0.1:{lab.port}"
        self._journal = lab.folder / "j"
        self._config = lab.config({**JOBS_ONLY, "journal": {"path": str(self._journal)}, **sections})
        self.master = lab.master(self._config)
        self.client = Client(self.server, timeout_s=TIMEOUT_S)

    def controllers(self, *names: str) -> list[Started]:
        """Each with two workers."""
        return [self.lab.controller(self._config, name) for name in names]

    def restart(self) -> None:
        """SIGKILL to the master, and the next one comes."""
        self.kill(self.master)
        self.master = self.lab.master(self._config)

    def kill(self, started: Started) -> None:
        started.signal(signal.SIGKILL)
        started.exits()

    def child(self, *words: str, server: str = "") -> Started:
        """A client in a process of its own."""
        command = (sys.executable, "-m", "tests.support.job_work", *words)
        return self.lab.start(*command, environment={"CYCLONE_SERVER": server or self.server})

    def job(self, job_id: int) -> JobSummary | None:
        """As the master tells of it now."""
        return next(self.client.jobs(_ids(job_id)), None)

    def submit(self, name: str, tasks: list[bytes], **options: Any) -> int:
        """A job whose tasks note what they do."""
        return self.client.submit(JobSpec(task_class=WORK, name=name, **options), tasks, key=key_of(name))

    def has(self, count: int) -> None:
        """Wait until job 1 has so many tasks."""

        def there() -> bool:
            job = self.job(1)
            return job is not None and sum(job.tasks.values()) >= count

        self.lab.wait_until(there, f"{count} tasks are taken")

    def verified(self) -> None:
        """The journal, by the command that users have; the master is gone then."""
        self.kill(self.master)
        checked = self.lab.start("cyclone", "journal", "verify", self._journal)
        assert checked.exits() == 0, checked.stdout() + checked.stderr()


@pytest.fixture
def site(lab: Lab) -> Iterator[Site]:
    with _site(lab) as one:
        yield one


@contextmanager
def _site(lab: Lab, **sections: dict[str, str]) -> Iterator[Site]:
    site = Site(lab, **sections)
    try:
        yield site
    finally:
        site.client.close()


def _ids(*job_ids: int) -> JobSelection:
    return JobSelection(ids=[(job_id, job_id) for job_id in job_ids])


def _lines(started: Started) -> list[str]:
    """The whole lines that it has printed."""
    return started.stdout().rpartition("\n")[0].splitlines()


def _is_each_once(found: list[str], count: int) -> bool:
    return sorted(tuple(map(int, line.split())) for line in found) == [(n, n * n) for n in range(count)]


# --- the master, the client and a controller are killed


def test_given_kills_in_the_middle_of_a_submission_and_of_its_results_then_each_index_is_there_once(site: Site) -> None:
    one, _ = site.controllers("one", "two")
    client = site.child("submit", "many", str(MANY))
    site.has(8192)
    site.restart()
    site.has(16384)
    # It knew which job it was, and how far it had come.
    site.kill(client)
    again = site.child("submit", "many", str(MANY))
    site.has(24576)
    follower = site.child("follow", "1")
    site.lab.wait_until(lambda: len(_lines(follower)) > 1000, "results come")
    site.kill(one)
    site.restart()
    (site.lab.folder / GATE).touch()
    assert again.exits() == 0, again.stderr()
    assert again.stdout() == "job 1\n"
    assert follower.exits() == 0, follower.stderr()
    assert _is_each_once(_lines(follower), MANY)
    # Whoever comes once more, with the journal alone to know the key, makes nothing new.
    site.restart()
    late = site.child("submit", "many", str(MANY))
    assert (late.exits(), late.stdout()) == (0, "job 1\n")
    [job] = site.client.jobs()
    assert (job.state, job.tasks) == ("completed", {"completed": MANY})
    site.verified()


def test_given_a_master_killed_right_after_an_answer_then_what_was_answered_is_there(site: Site) -> None:
    for number in range(1, 4):
        assert site.submit(f"job{number}", work("any", number), held=number == 2) == number
        site.restart()
        found = {job.job_id: (job.name, job.state, sum(job.tasks.values())) for job in site.client.jobs()}
        assert found == {n: (f"job{n}", "held" if n == 2 else "queued", n) for n in range(1, number + 1)}
    # So is what was wished of them.
    assert site.client.cancel(_ids(1)).granted
    assert site.client.release(_ids(2)).granted
    assert site.client.hold(_ids(3)).granted
    site.restart()
    assert [job.state for job in site.client.jobs()] == ["held", "queued", "cancelled"]
    site.controllers("one")
    site.client.wait([2])
    assert {note["number"] for note in site.lab.notes("start")} == {0, 1}


def test_given_a_command_that_waits_then_a_killed_master_is_nothing_to_it(site: Site) -> None:
    site.controllers("one")
    words = ("submit", "--wait", "--array", "0-39", "--", "sleep", "0.02")
    waiting = site.lab.start("cyclone", *words, environment={"CYCLONE_SERVER": site.server})
    site.has(40)
    site.restart()
    assert waiting.exits() == 0, waiting.stderr()
    job = site.job(1)
    assert job is not None and job.tasks == {"completed": 40}


# --- the network fails a client


@pytest.fixture
def link(lab: Lab) -> Iterator[ProxiedLink]:
    """A client's way to the master."""
    one = ProxiedLink(lab)
    yield one
    one.close()


def test_given_a_connection_that_is_cut_or_frozen_then_its_client_goes_on_where_it_was(
    site: Site, link: ProxiedLink
) -> None:
    site.controllers("one")
    server = f"tcp://127.0.0.1:{link.port}"
    client = site.child("submit", "many", str(MANY), server=server)
    site.has(4096)
    link.do(lambda way: way.cut())
    site.has(16384)
    link.do(lambda way: way.hold(False, True))
    follower = site.child("follow", "1", server=server)
    (site.lab.folder / GATE).touch()
    # What it says arrives, what it is told does not: it says it again, and again.
    site.lab.wait_until(lambda: site.job(1).tasks.get("completed", 0) >= 16_384, "the work goes on")  # type: ignore[union-attr]
    link.do(lambda way: way.hold(False, False))
    assert client.exits() == 0, client.stderr()
    link.do(lambda way: way.cut())
    assert follower.exits() == 0, follower.stderr()
    assert _is_each_once(_lines(follower), MANY)


# --- what a job may


def _most_at_once(notes: list[dict[str, Any]]) -> int:
    """How many attempts ran at a moment, where what was killed counts until its end that was noted for it."""
    changes = [(note["at"], 1 if note["kind"] == "start" else -1) for note in notes]
    busy = most = 0
    for _, change in sorted(changes):
        busy += change
        most = max(most, busy)
    return most


def test_given_limits_then_they_hold_over_the_death_of_a_controller_and_of_the_master(site: Site) -> None:
    one, _ = site.controllers("one", "two")
    limited = [site.submit(name, work(name, 12, 0.05), limits={"licence": 2}) for name in ("first", "second")]
    narrow = site.submit("narrow", work("narrow", 12, 0.05), parallel=1)
    site.lab.noted("end", 6)
    site.kill(one)
    killed_at = max(note["at"] for note in site.lab.notes("start"))
    site.restart()
    jobs = site.client.wait([*limited, narrow], TIMEOUT_S)
    assert [job.tasks for job in jobs] == [{"completed": 12}] * 3
    notes = site.lab.notes("start") + site.lab.notes("end")
    ended = {(note["job"], note["number"], note["attempt"], note["pid"]) for note in site.lab.notes("end")}
    # Its workers die with it.
    lost = [
        {**note, "kind": "end", "at": max(killed_at, note["at"])}
        for note in site.lab.notes("start")
        if (note["job"], note["number"], note["attempt"], note["pid"]) not in ended
    ]
    assert _most_at_once([note for note in notes + lost if note["job"] != "narrow"]) == 2
    assert _most_at_once([note for note in notes + lost if note["job"] == "narrow"]) == 1


def test_given_tasks_that_fail_then_no_more_than_one_too_many_do_and_the_rest_is_cancelled(site: Site) -> None:
    site.controllers("one", "two")
    bad = site.submit("bad", work("bad", 400, 0.002, fails=True), max_fails=5)
    site.lab.noted("end", 3)
    site.restart()
    [job] = site.client.wait([bad], TIMEOUT_S)
    assert job.tasks == {"failed": 6, "cancelled": 394}


def test_given_a_granted_cancel_then_nothing_of_it_completes_whoever_is_killed(site: Site) -> None:
    one, _ = site.controllers("one", "two")
    job_id = site.submit("long", work("long", 200, 0.03))
    site.lab.noted("end", 8)
    before = sum(row.state == "completed" for row in site.client.tasks(job_id))
    assert site.client.cancel(_ids(job_id), indexes=[(20, 199)]).granted
    done = {row.index for row in site.client.tasks(job_id, states=["completed"])}
    site.kill(one)
    site.restart()
    [job] = site.client.wait([job_id], TIMEOUT_S)
    ended = {row.index: row.state for row in site.client.tasks(job_id)}
    assert {index for index, state in ended.items() if state == "completed"} == done | set(range(20))
    assert {state for index, state in ended.items() if index not in done and index >= 20} == {"cancelled"}
    assert before <= len(done) and sum(job.tasks.values()) == 200


def test_given_jobs_that_are_held_or_too_late_then_they_do_not_run_not_by_a_restart_either(site: Site) -> None:
    site.submit("held", work("held", 3), held=True)
    late = site.submit("late", work("late", 3), not_after=time.time() + 0.2)
    early_at = time.time() + 1.5
    early = site.submit("early", work("early", 3), not_before=early_at)
    site.lab.wait_until(lambda: site.job(late).state == "expired", "it expires")  # type: ignore[union-attr]
    site.restart()
    site.controllers("one")
    plain = site.submit("plain", work("plain", 3))
    jobs = site.client.wait([late, early, plain], TIMEOUT_S)
    assert [job.tasks for job in jobs] == [{"expired": 3}, {"completed": 3}, {"completed": 3}]
    assert Counter(note["job"] for note in site.lab.notes("start")) == {"early": 3, "plain": 3}
    assert time.time() >= early_at
    assert site.client.release(JobSelection(name="held")).granted
    site.client.wait([1], TIMEOUT_S)


def test_given_two_namespaces_then_they_share_a_worker_by_weight_and_neither_starves(lab: Lab) -> None:
    with _site(lab, processing={"worker_count": "1"}) as site:
        for name, weight in (("heavy", 3.0), ("light", 1.0)):
            assert site.client.set_namespace(Namespace(name=name, weight=weight)).granted
            site.submit(name, work(name, 90, 0.02), namespace=name)
        site.controllers("one")
        site.client.wait([1], TIMEOUT_S)
        site.client.cancel(_ids(2))
        shared = [note["job"] for note in site.lab.notes("start")]
        # At first nobody knows how long they take. It is their time that is shared, which a loaded host makes uneven.
        shared = shared[12:84]
        assert 45 <= shared.count("heavy") <= 63, shared
        for at in range(0, 72, 24):
            assert {"heavy", "light"} <= set(shared[at : at + 24]), shared


# --- who may what


def test_given_keys_then_a_monitor_looks_a_client_steers_its_own_and_an_admin_steers_all(lab: Lab) -> None:
    keys = Keys(lab)
    lab.master(lab.config({"task_generator": {}, "comm": {"target": "0.0.0.0", "keys": str(keys.folder)}}))
    roles = {"ann": "client", "bob": "client", "eve": "monitor", "root": "admin"}
    files = {name: keys.add(name, role) for name, role in roles.items()}
    spec, one = JobSpec(task_class=WORK, held=True), _ids(1)
    with ExitStack() as stack:
        ann, bob, eve, root = (
            stack.enter_context(Client(f"tcp://127.0.0.1:{lab.port}", key_file=files[name], timeout_s=TIMEOUT_S))
            for name in roles
        )
        assert ann.submit(spec, work("ann", 3), key=key_of("ann"), sealed=False) == 1
        requests: list[Callable[[Client], Any]] = [
            lambda client: client.submit(spec, work("other", 3)),
            lambda client: client.add(1, work("more", 1), offset=3),
            lambda client: client.release(one),
            lambda client: client.hold(one),
            lambda client: client.seal(one),
            lambda client: client.cancel(one),
            lambda client: client.requeue(1),
            lambda client: client.processed(1, [(0, 0)]),
            lambda client: client.set_namespace(Namespace(name="mine")),
            lambda client: client.purge("default"),
            lambda client: client.drain("one"),
        ]
        for request in requests:
            with pytest.raises(NotAllowed, match="the key of eve has the role monitor, which may not "):
                request(eve)
        for request in requests[1:]:
            with suppress(NotAllowed):
                assert not request(bob).granted
        for client in (eve, bob, ann, root):
            [job] = client.jobs()
            assert (job.owner, job.state, job.sealed, job.tasks) == ("ann", "held", False, {"held": 3})
        assert ann.add(1, work("more", 1), offset=3) == 4
        assert root.add(1, work("more", 1), offset=4) == 5
        assert root.seal(one).granted
        assert root.cancel(one).granted
        assert [job.tasks for job in ann.jobs()] == [{"cancelled": 5}]
        # What has ended is still its owner's.
        assert not bob.processed(1, [(0, 0)]).granted
        # And nobody has made by a key what another one makes by the same.
        assert [client.submit(spec, [], key=key_of("ann")) for client in (bob, ann, bob)] == [2, 1, 2]


def test_given_a_master_without_keys_then_it_takes_no_jobs_and_says_what_to_do(lab: Lab) -> None:
    lab.master(lab.script({"what": "quick"}))
    refused = lab.start(
        "cyclone", "submit", "--", "true", environment={"CYCLONE_SERVER": f"tcp://127.0.0.1:{lab.port}"}
    )
    assert refused.exits() == 77
    assert refused.stdout() == ""
    assert "this master takes no jobs: make keys with 'cyclone keys init' and set [comm] keys" in refused.stderr()
