"""huey: a queue in redis, worker processes that take one task at a time. Un-chunked."""

import sys
from typing import Any

from huey import RedisHuey

from benchmarks.peers import adapter
from benchmarks.peers.redis_broker import Broker, start_worker, stop
from benchmarks.peers.work import Work, busy, noop

# The default asks ten times a second whether a result is there.
_ASK_S = 0.001


def application(socket: str) -> tuple[Any, dict[str, Any]]:
    """The same on both sides: the queue, and its tasks by the name of their function."""
    queue: Any = RedisHuey("bench", url=f"unix://{socket}")
    return queue, {work.__name__: queue.task(name=work.__name__)(work) for work in (noop, busy)}


class Adapter(adapter.Adapter):
    """``single``: one message and one result per task."""

    distribution = "huey"

    def prepare(self) -> None:
        self._broker = Broker(self.folder)
        _, self._tasks = application(self._broker.socket)
        self._workers = start_worker(__name__, self._broker.socket)

    def run(self, work: Work, tasks: int) -> int:
        results = self._tasks[work.__name__].map(range(tasks))
        return sum(result.get(blocking=True, backoff=1, max_delay=_ASK_S) for result in results)

    def round_trip(self, value: int) -> int:
        returned: int = self._tasks["noop"](value).get(blocking=True, backoff=1, max_delay=_ASK_S)
        return returned

    def close(self) -> None:
        stop(self._workers)
        self._broker.stop()


if __name__ == "__main__":
    application(sys.argv[1])[0].create_consumer(workers=adapter.WORKERS, worker_type="process", periodic=False).run()
