"""Networks that can be harmed while real processes talk over them: a proxied link, and wires between name spaces.

``ProxiedLink`` works everywhere and harms a stream of TCP: what it holds back waits and is not lost. ``Wire`` harms
packets, as real networks do, and needs root and ip(8); ``wire`` says where it cannot be had.
"""

import asyncio
import contextlib
import os
import random
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

from tests.chaos.proxy import Link
from tests.chaos.tap import Tap
from tests.support.lab import Lab

_CALL_S = 5.0
# Nobody has this address, so that what is sent to it is lost without a word.
_NOBODY = "02:00:00:00:00:99"

T = TypeVar("T")


class NoNetwork(Exception):
    """This machine does not let us have name spaces; says why."""


class ProxiedLink:
    """A way to the lab's master, or to another port, that ``do`` harms; ``port`` is where to connect to instead."""

    def __init__(self, lab: Lab, to_port: int = 0) -> None:
        self._tap = Tap(lab.folder)
        self._link = Link("far", to_port or lab.port, self._tap, random.Random(0))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._link.listen(), self._loop).result(_CALL_S)
        self.port = self._link.port

    def do(self, harm: Callable[[Link], T]) -> T:
        """Call it with the link, where the link lives."""

        async def done() -> T:
            return harm(self._link)

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(_CALL_S)

    def close(self) -> None:
        """The link is cut, and nothing comes through any more."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_CALL_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._tap.close()

    async def _close(self) -> None:
        self._link.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)


class End:
    """One name space with its end of the wire. ``address`` is its own."""

    def __init__(self, space: str, address: str) -> None:
        self.space = space
        self.address = address

    def command(self, *words: str) -> tuple[str, ...]:
        """This command, to be run here."""
        return ("ip", "netns", "exec", self.space, *words)

    def link(self, state: str) -> None:
        """``down``, as if the cable were pulled out, or ``up``."""
        _ip("-n", self.space, "link", "set", "e0", state)

    def lose_what_is_sent_to(self, other: "End") -> None:
        """In silence, as a broken switch does it; until ``heal``."""
        _ip(*self._neighbour("replace", other), "lladdr", _NOBODY, "nud", "permanent")

    def heal(self, other: "End") -> None:
        """What is sent to the other arrives again."""
        _ip(*self._neighbour("del", other))

    def slow_down(self, rate: str) -> None:
        """What is sent from here goes at this rate, as tc(8) writes it."""
        bucket = ("tbf", "rate", rate, "burst", "4kb", "latency", "400ms")
        _run(*self.command("tc", "qdisc", "replace", "dev", "e0", "root", *bucket))

    def hurry_up(self) -> None:
        """After ``slow_down``: as fast as it can."""
        _run(*self.command("tc", "qdisc", "del", "dev", "e0", "root"))

    def _neighbour(self, verb: str, other: "End") -> tuple[str, ...]:
        return ("-n", self.space, "neigh", verb, other.address, "dev", "e0")


@contextlib.contextmanager
def wire() -> Iterator[tuple[End, End]]:
    """Two name spaces with a wire between them; NoNetwork where that is not possible."""
    if os.geteuid():
        raise NoNetwork("network name spaces need root")
    mark = uuid.uuid4().hex[:8]
    ends = End(f"cyclone-{mark}-1", "10.77.0.1"), End(f"cyclone-{mark}-2", "10.77.0.2")
    try:
        for end in ends:
            _ip("netns", "add", end.space)
        one, two = (end.space for end in ends)
        _ip("-n", one, "link", "add", "e0", "type", "veth", "peer", "name", "e0", "netns", two)
        for end in ends:
            _ip("-n", end.space, "address", "add", f"{end.address}/24", "dev", "e0")
            end.link("up")
            _ip("-n", end.space, "link", "set", "lo", "up")
        yield ends
    finally:
        for end in ends:
            subprocess.run(("ip", "netns", "del", end.space), check=False, capture_output=True)


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NoNetwork(f"{command[0]} is not installed: Debian's package iproute2 has it") from None
    except subprocess.CalledProcessError as error:
        raise NoNetwork(f"{' '.join(command)}: {error.stderr.strip()}") from None
