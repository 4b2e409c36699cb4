"""Networks that fail: leases and heartbeats decide, nothing is lost, nothing recorded twice, and it all heals.

Each test has a controller ``near`` whose way to the master is sound, and ``far`` whose way is harmed in the middle of
its work. Links of a proxy harm a stream of TCP; wires between network name spaces harm packets, where the machine lets
us have them.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.chaos.proxy import Link
from tests.support.exports import assert_each_once, exported, state_folder
from tests.support.lab import Lab, Started, program
from tests.support.networks import End, NoNetwork, ProxiedLink, wire

DONE = "control.exit_when_done=yes"
# All four workers are in a task when the network fails; the last task keeps the master until all is healed.
GATES, COUNT = 4, 205


def work(value: str = "") -> tuple[dict[str, object], ...]:
    """The quick ones bring home this value."""
    gates = {"what": "gate", "value": "gate", "times": GATES}
    quick = {"what": "quick", "value": value, "times": COUNT - GATES - 1}
    return gates, quick, {"what": "gate", "value": "healed"}


# Beyond the ZMTP heartbeat's time-out, after which both ends take the connection for dead.
REAPED_S = 15.0


def starts(lab: Lab) -> Counter[int]:
    """How often each task was started, by the tasks' own history."""
    return Counter(note["task"] for note in lab.notes("start"))


def welcomes(controller: Started) -> int:
    """How many sessions it has had."""
    return controller.stderr().count("welcomed by the master")


def back_in_session(lab: Lab, controller: Started, before: int) -> None:
    """A new session, after so many."""
    lab.wait_until(lambda: welcomes(controller) > before, f"{controller.name} is back in session")


def ended_well(lab: Lab, master: Started, *controllers: Started) -> None:
    """The last task may pass; then all is done, and in the books once."""
    lab.open("healed")
    assert master.exits(40) == 0, master.stderr()
    assert [controller.exits() for controller in controllers] == [0] * len(controllers)
    assert sorted(starts(lab)) == list(range(1, COUNT + 1))
    assert_each_once(exported(lab, state_folder(lab) / "master.journal"), COUNT)


# --- a stream that is harmed


@pytest.fixture
def link(lab: Lab) -> Iterator[ProxiedLink]:
    """The far controller's way to the master."""
    one = ProxiedLink(lab)
    yield one
    one.close()


def at_work(lab: Lab, link: ProxiedLink, config: Path) -> tuple[Started, Started, Started]:
    """Master, near and far, each of their workers in a task that waits."""
    master = lab.master(config, DONE)
    near = lab.controller(config, "near")
    far = lab.controller(config, "far", f"comm.port={link.port}")
    lab.noted("start", GATES, what="gate")
    return master, near, far


@pytest.mark.parametrize("directions", [(True, False), (True,)], ids=["full", "upwards"])
def test_given_a_partition_when_nothing_comes_from_a_controller_then_its_tasks_go_elsewhere_until_it_is_back(
    lab: Lab, link: ProxiedLink, directions: tuple[bool, ...]
) -> None:
    master, near, far = at_work(lab, link, lab.script(*work()))
    before = welcomes(far)
    for upwards in directions:
        link.do(lambda way, upwards=upwards: way.hold(upwards, True))  # type: ignore[misc]
    master.says("controller=far silent for ")
    lab.open("gate")
    # The far ones end too, and have nobody to tell.
    passed = lab.noted("passed", GATES + 2)
    assert sorted(note["attempt"] for note in passed) == [1, 1, 1, 1, 2, 2]
    for upwards in directions:
        link.do(lambda way, upwards=upwards: way.hold(upwards, False))  # type: ignore[misc]
    back_in_session(lab, far, before)
    ended_well(lab, master, near, far)
    assert max(starts(lab).values()) == 2


def test_given_a_partition_when_nothing_comes_from_the_master_then_no_task_runs_twice(
    lab: Lab, link: ProxiedLink
) -> None:
    master, near, far = at_work(lab, link, lab.script(*work()))
    before = welcomes(far)
    link.do(lambda way: way.hold(False, True))
    far.says("master silent for ")
    lab.open("gate")
    lab.noted("passed", GATES)
    link.do(lambda way: way.hold(False, False))
    back_in_session(lab, far, before)
    ended_well(lab, master, near, far)
    assert "controller=far silent for " not in master.stderr(), "it was heard all the time"
    assert set(starts(lab).values()) == {1}


@pytest.mark.parametrize("upwards", [True, False], ids=["to the master", "to the controller"])
def test_given_a_half_closed_connection_then_the_controller_comes_back_with_what_it_runs(
    lab: Lab, link: ProxiedLink, upwards: bool
) -> None:
    master, near, far = at_work(lab, link, lab.script(*work()))
    before = welcomes(far)
    link.do(lambda way: way.half_close(upwards))
    back_in_session(lab, far, before)
    lab.open("gate")
    ended_well(lab, master, near, far)
    assert set(starts(lab).values()) == {1}


def throttle(link: Link, bytes_per_s: float) -> None:
    """Both directions."""
    for harm in link.harm.values():
        harm.bytes_per_s = bytes_per_s


def test_given_a_slow_link_then_all_is_recorded_once_and_the_other_controller_does_not_wait_for_it(
    lab: Lab, link: ProxiedLink
) -> None:
    master, near, far = at_work(lab, link, lab.script(*work("x" * 1000)))
    link.do(lambda way: throttle(way, 8_000.0))
    lab.open("gate")
    lab.noted("result", COUNT * 3 // 4)
    results = Counter(note["controller"] for note in lab.notes("result"))
    assert results["near"] > results["far"]
    link.do(lambda way: throttle(way, 0.0))
    ended_well(lab, master, near, far)


# --- packets that are lost


@pytest.fixture
def ends(lab: Lab) -> Iterator[tuple[End, End]]:
    """The master's host and the far one."""
    try:
        with wire() as both:
            yield both
    except NoNetwork as reason:
        pytest.skip(f"no network name spaces on this machine: {reason}")


def on_two_hosts(lab: Lab, ends: tuple[End, End], config: Path) -> tuple[Started, Started, Started]:
    """As ``at_work``, with the far controller on a host of its own."""
    here, there = ends

    def start(end: End, name: str, *sets: str) -> Started:
        words = [word for text in ("comm.insecure=yes", *sets) for word in ("--set", text)]
        return lab.start(*end.command(program(name), "-f", str(config), *words))

    master = start(here, "cyclone-master", f"comm.target={here.address}", DONE)
    master.says("master at ")
    near, far = (
        start(end, "cyclone-controller", f"comm.target={here.address}", f"control.name={name}")
        for end, name in ((here, "near"), (there, "far"))
    )
    for controller in (near, far):
        controller.says("welcomed by the master")
    lab.noted("start", GATES, what="gate")
    return master, near, far


def test_given_a_pulled_cable_then_tasks_go_elsewhere_and_when_it_is_back_everything_drains(
    lab: Lab, ends: tuple[End, End]
) -> None:
    master, near, far = on_two_hosts(lab, ends, lab.script(*work()))
    before = welcomes(far)
    ends[1].link("down")
    master.says("controller=far silent for ")
    lab.open("gate")
    lab.noted("passed", GATES + 2)
    ends[1].link("up")
    back_in_session(lab, far, before)
    ended_well(lab, master, near, far)
    assert max(starts(lab).values()) == 2


def test_given_packets_lost_towards_the_master_alone_then_it_is_no_life_that_the_other_way_works(
    lab: Lab, ends: tuple[End, End]
) -> None:
    master, near, far = on_two_hosts(lab, ends, lab.script(*work()))
    before = welcomes(far)
    ends[1].lose_what_is_sent_to(ends[0])
    master.says("controller=far silent for ")
    lab.open("gate")
    lab.noted("passed", GATES + 2)
    ends[1].heal(ends[0])
    back_in_session(lab, far, before)
    ended_well(lab, master, near, far)


def test_given_packets_lost_towards_a_controller_alone_then_everything_drains_when_they_arrive_again(
    lab: Lab, ends: tuple[End, End]
) -> None:
    master, near, far = on_two_hosts(lab, ends, lab.script(*work()))
    before = welcomes(far)
    ends[0].lose_what_is_sent_to(ends[1])
    far.says("master silent for ")
    lab.open("gate")
    lab.noted("passed", GATES)
    ends[0].heal(ends[1])
    back_in_session(lab, far, before)
    ended_well(lab, master, near, far)


def test_given_a_host_that_vanishes_without_a_word_then_its_tasks_run_again_and_its_connection_is_reaped(
    lab: Lab, ends: tuple[End, End]
) -> None:
    master, near, far = on_two_hosts(lab, ends, lab.script(*work()))
    before = psutil.Process(master.pid).num_fds()
    ends[0].lose_what_is_sent_to(ends[1])
    ends[1].lose_what_is_sent_to(ends[0])
    far.process.kill()
    far.exits()
    lab.open("gate")
    lab.noted("start", COUNT)
    lab.wait_until(lambda: psutil.Process(master.pid).num_fds() < before, "it is reaped", REAPED_S)
    ended_well(lab, master, near)


def test_given_a_wire_of_256_kbit_then_all_is_recorded_once(lab: Lab, ends: tuple[End, End]) -> None:
    master, near, far = on_two_hosts(lab, ends, lab.script(*work("x" * 4000)))
    for end in ends:
        end.slow_down("256kbit")
    lab.open("gate")
    ended_well(lab, master, near, far)
