"""The generator's host in this process, its pipe played by the test."""

import socket
import threading
from collections.abc import Iterator

from cyclone import BaseTask, BaseTaskGenerator
from cyclone.master import feed_pipe
from cyclone.master.generator_process import Host
from tasks.empty import EmptyTask


class _Three(BaseTaskGenerator):
    def generate(self) -> Iterator[BaseTask]:
        yield from map(EmptyTask, range(3))


def test_given_room_that_is_granted_just_before_the_wait_for_it_then_it_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()
    host = Host(theirs, _Three({}))
    flush = host._outgoing.flush

    def flush_and_grant() -> bool:
        # The moment between looking whether there is room and waiting for some.
        flushed = flush()
        host._take(feed_pipe.Pull(4))
        return flushed

    host._outgoing.flush = flush_and_grant  # type: ignore[method-assign]
    thread = threading.Thread(target=host._generate, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()
    ours.close()
    theirs.close()
