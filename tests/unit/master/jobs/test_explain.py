"""Why does it not run? A table: what stands in the way, and what is said of it."""

from collections.abc import Callable

import msgspec
import pytest

from cyclone.protocol.job_messages import NamespaceRequest
from cyclone.protocol.job_spec import Namespace
from cyclone.protocol.messages import JobOptions, State
from cyclone.protocol.states import COMPLETED
from tests.support.job_requests import ask, cancel, control, explain, ids, join, submit
from tests.support.masters import Master, batch, tasks

Arrange = Callable[[Master], None]


def finish_one(master: Master, session: int, seconds: float) -> None:
    """The first task, after so long."""
    master.results(session, msgspec.structs.replace(batch(1, COMPLETED), busy_s=seconds))


def held(master: Master) -> None:
    submit(master, 2, held=True)


def held_while_its_last_runs(master: Master) -> None:
    join(master, credit=2)
    submit(master, 2)
    master.advance()
    control(master, "hold", 1)


def paused(master: Master) -> None:
    ask(master, NamespaceRequest(1, "set", Namespace(name="default", paused=True)))
    submit(master, 2)


def not_before(master: Master) -> None:
    submit(master, 2, not_before=1e9 + master.now + 50.0)


def alone(master: Master) -> None:
    submit(master, 2)


def no_label(master: Master) -> None:
    join(master, labels=("ssd",))
    submit(master, 2, labels=("ssd", "gpu"))


def no_node(master: Master) -> None:
    join(master)
    submit(master, 2, nodes=("c7", "c8"))


def all_excluded(master: Master) -> None:
    join(master)
    submit(master, 2, exclude=("c1.site",))


def too_few_slots(master: Master) -> None:
    join(master)
    submit(master, 2, cpus=8)


def too_little_memory(master: Master) -> None:
    join(master, mem_bytes=1 << 30)
    submit(master, 2, mem_bytes=2 << 30)


def no_resource(master: Master) -> None:
    join(master, resources={"tape": 1})
    submit(master, 2, resources={"tape": 2})


def foreign_namespace(master: Master) -> None:
    join(master, namespaces=("night",))
    submit(master, 2)


def no_by_value(master: Master) -> None:
    join(master)
    submit(master, 2, by_value=True)


def one_has_each(master: Master) -> None:
    join(master, labels=("gpu",))
    join(master, "c2", slots=8)
    submit(master, 2, labels=("gpu",), cpus=8)


def drained(master: Master) -> None:
    join(master)
    master.drain("c1")
    submit(master, 2)


def busy(master: Master) -> None:
    join(master, credit=2)
    submit(master, 4)
    master.advance()


def two_run(master: Master) -> None:
    session = join(master, credit=4)
    submit(master, 5)
    master.advance()
    finish_one(master, session, seconds=0.1)
    master.advance()
    master.handle(State(session, 9, 9, 4, 2, 2, [tasks(2, 3)], [tasks(2, 2)]))


def memory_is_taken(master: Master) -> None:
    join(master, credit=2, mem_bytes=1 << 30)
    submit(master, 1, mem_bytes=768 << 20)
    master.advance()
    submit(master, 1, "second", mem_bytes=512 << 20)


def a_resource_is_taken(master: Master) -> None:
    join(master, slots=4, credit=4, resources={"licence": 2})
    submit(master, 1, "other")
    submit(master, 1, resources={"licence": 2})
    master.advance()
    submit(master, 1, "second", resources={"licence": 1})


def many_slots_are_taken(master: Master) -> None:
    join(master, credit=2, resources={"licence": 2})
    submit(master, 1, resources={"licence": 1})
    master.advance()
    submit(master, 1, "second", cpus=2, resources={"licence": 2})


def several_take_it(master: Master) -> None:
    join(master, credit=2)
    submit(master, 1, "first")
    submit(master, 1, "second")
    master.advance()
    submit(master, 2)


def drained_and_busy(master: Master) -> None:
    join(master)
    join(master, "c2", credit=2)
    master.drain("c1")
    submit(master, 2)
    master.advance()
    submit(master, 2, "second")


def at_rest(master: Master, resting: int = 2) -> None:
    session = join(master, credit=1)
    submit(master, 2, cpus=2, wait_after_success_s=60.0)
    master.advance()
    master.results(session, batch(1, COMPLETED))
    master.handle(State(session, 9, 9, 1, 2, 2, [], [], resting))


def ending_a_task(master: Master) -> None:
    at_rest(master, resting=0)


def at_rest_for_what_has_ended(master: Master) -> None:
    session = join(master, credit=1)
    submit(master, 1, cpus=2, wait_after_success_s=60.0)
    master.advance()
    master.results(session, batch(1, COMPLETED))
    master.advance()
    master.handle(State(session, 9, 9, 1, 2, 2, [], [], 2))
    submit(master, 1, "second")


def behind_a_rest(master: Master) -> None:
    session = join(master, slots=1, credit=9)
    submit(master, 3, wait_after_success_s=60.0)
    master.advance()
    finish_one(master, session, seconds=0.1)
    master.advance()
    master.handle(State(session, 9, 9, 9, 1, 1, [tasks(2, 2)], [], 1))


def leaving(master: Master) -> None:
    session = join(master, credit=2)
    submit(master, 3)
    master.advance()
    master.handle(State(session, 9, 9, 2, 0, 2, [tasks(1, 2)], [tasks(1, 2)]))
    submit(master, 1, "second")


def kept_for_another(master: Master) -> None:
    join(master, credit=9)
    submit(master, 1, "first")
    master.advance()
    submit(master, 1, "large", cpus=2)
    submit(master, 1, "small")
    master.advance()


def nobody_knows_how_long(master: Master) -> None:
    join(master, credit=9)
    submit(master, 9)
    master.advance()


def long_ones(master: Master) -> None:
    session = join(master, credit=9)
    submit(master, 9)
    master.advance()
    finish_one(master, session, seconds=0.8)
    master.advance()


def full(master: Master) -> None:
    join(master, credit=2)
    submit(master, 4, parallel=1)
    master.advance()


def at_a_limit(master: Master) -> None:
    join(master, slots=4, credit=4)
    submit(master, 1, "other", limits={"ost": 1})
    master.advance()
    submit(master, 2, limits={"ost": 1})


def stopping(master: Master) -> None:
    join(master)
    submit(master, 2)
    master.scheduler.stop(master.now)


def behind_others(master: Master) -> None:
    master.offer(7, job=JobOptions("tests:Task"))
    submit(master, 5, "first", priority=10)
    submit(master, 3, "second")
    submit(master, 2)


def may_get_more(master: Master) -> None:
    submit(master, 0, sealed=False)


def being_cancelled(master: Master) -> None:
    join(master, credit=2)
    submit(master, 2)
    master.advance()
    cancel(master, ids(1), reason="no use any more")


@pytest.mark.parametrize(
    ("arrange", "code", "text"),
    [
        (held, "held", "job 1 is held: release it"),
        (held_while_its_last_runs, "held", "job 1 is held: release it"),
        (held_while_its_last_runs, "leased", "2 tasks were sent to c1, and nothing was heard yet of their start"),
        (paused, "paused", "namespace default is paused: resume it"),
        (not_before, "not_before", "not before 2001-09-09T01:49:10Z"),
        (alone, "no_controller", "no controller is connected"),
        (no_label, "no_fit", "none of 1 controllers has label gpu"),
        (no_node, "no_fit", "none of 1 controllers is among nodes c7, c8"),
        (all_excluded, "no_fit", "none of 1 controllers is outside of exclude c1.site"),
        (too_few_slots, "no_fit", "none of 1 controllers has 8 slots"),
        (too_little_memory, "no_fit", "none of 1 controllers has 2048 MiB of memory"),
        (no_resource, "no_fit", "none of 1 controllers has 2 of tape"),
        (foreign_namespace, "no_fit", "none of 1 controllers serves namespace default"),
        (no_by_value, "no_fit", "none of 1 controllers permits functions by value"),
        (one_has_each, "no_fit", "meets all at once: it serves namespace default, has label gpu, has 8 slots"),
        (drained, "drained", "1 of 1 controllers fit, and all of these are drained: c1"),
        (busy, "busy", "1 of 1 controllers fit, and all of these are busy: c1 (2 of 2 slots taken by job 1)"),
        (busy, "leased", "2 tasks were sent to c1, and nothing was heard yet of their start"),
        (two_run, "running", "2 tasks run at c1"),
        (two_run, "leased", "1 task waits for a slot at c1"),
        (
            memory_is_taken,
            "busy",
            "1 of 1 controllers fit, and all of these are busy: c1 (768 of 1024 MiB of memory taken by job 1)",
        ),
        (a_resource_is_taken, "busy", "all of these are busy: c1 (licence: 2 of 2 taken by job 2)"),
        (many_slots_are_taken, "busy", "busy: c1 (1 of 2 slots taken by job 1, licence: 1 of 2 taken by job 1)"),
        (several_take_it, "busy", "busy: c1 (2 of 2 slots taken by jobs 1, 2)"),
        (drained_and_busy, "drained", "2 of 2 controllers fit, and of these 1 is drained: c1"),
        (drained_and_busy, "busy", "2 of 2 controllers fit, and of these 1 is busy: c2 (2 of 2 slots taken by job 1)"),
        (at_rest, "resting", "are resting after a task, as its job wants it: c1 (2 of 2 slots)"),
        (at_rest_for_what_has_ended, "resting", "are resting after a task, as its job wants it: c1 (2 of 2 slots)"),
        (ending_a_task, "no_credit", "are taking no tasks now: c1 (2 of 2 slots end a task)"),
        (behind_a_rest, "leased", "2 tasks wait for a slot at c1"),
        (behind_a_rest, "resting", "slots that rest after a task: c1 (1 of 1)"),
        (leaving, "leaving", "all of these are leaving, and finishing what they run: c1"),
        (kept_for_another, "kept", "are kept for jobs that came before: nothing overtakes there: c1 (job 2)"),
        (nobody_knows_how_long, "not_ahead", "before it is known how long tasks of this job take"),
        (long_ones, "not_ahead", "no more are sent to wait at a controller than it begins within about a second"),
        (full, "parallel", "1 task of it out, and it may have 1 at once"),
        (at_a_limit, "limit", "waits for limit ost: 1 of 1 taken, by job 1"),
        (stopping, "master_rests", "the master hands out nothing"),
        (
            behind_others,
            "position",
            "before it in namespace default wait 5 tasks of priority 10, 10 tasks of priority 0",
        ),
        (may_get_more, "waiting", "its tasks have ended, and it may get more: `cyclone seal 1` says that it gets none"),
        (being_cancelled, "cancelled", "it is ended: no use any more"),
        (being_cancelled, "leased", "2 tasks were sent to c1, and nothing was heard yet of their start"),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_given_what_stands_in_the_way_of_a_job_then_it_is_told(
    master: Master, arrange: Arrange, code: str, text: str
) -> None:
    arrange(master)
    last = max(master.scheduler.state.jobs.records)
    assert text in explain(master, last)[code]


def test_given_a_job_that_there_is_not_then_that_is_told(master: Master) -> None:
    assert explain(master, 7) == {"no_job": "job 7 has ended, or never was"}


def test_given_many_names_then_some_are_told_and_how_many_more(master: Master) -> None:
    submit(master, 1, nodes=tuple(f"n{number}" for number in range(20)))
    join(master)
    assert explain(master, 1)["no_fit"].endswith("nodes n0, n1, n2, n3, n4, n5, n6, n7 and 12 more")


def test_given_a_job_that_is_released_then_it_is_not_told_to_be_held(master: Master) -> None:
    submit(master, 2, held=True)
    control(master, "release", 1)
    assert "held" not in explain(master, 1)
