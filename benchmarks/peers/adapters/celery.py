"""Celery: prefork workers, redis as broker and as result backend."""

import sys
from typing import Any

from celery import Celery, group

from benchmarks.peers import adapter
from benchmarks.peers.redis_broker import Broker, start_worker, stop
from benchmarks.peers.work import Work, busy, noop


def application(socket: str) -> tuple[Any, dict[str, Any]]:
    """The same on both sides: the app, and its tasks by the name of their function."""
    url = f"redis+socket://{socket}"
    app: Any = Celery("bench", broker=url, backend=url)
    app.conf.update(
        # The guide to optimising: many short tasks want a large multiplier.
        worker_prefetch_multiplier=64,
        # Without these two a task is gone with the worker that has it.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
    )
    return app, {work.__name__: app.task(work, name=f"bench.{work.__name__}") for work in (noop, busy)}


class Adapter(adapter.Adapter):
    """``group``: a message per task; ``chunk=N``: Celery's own chunks."""

    distribution = "celery"

    def prepare(self) -> None:
        self._broker = Broker(self.folder)
        _, self._tasks = application(self._broker.socket)
        self._workers = start_worker(__name__, self._broker.socket)

    def run(self, work: Work, tasks: int) -> int:
        task = self._tasks[work.__name__]
        total: int
        if self.variant == "group":
            result = group(task.s(value) for value in range(tasks)).apply_async()
            total = sum(result.join())  # here faster than join_native()
        else:
            result = task.chunks(((value,) for value in range(tasks)), self.chunk).group().apply_async()
            total = sum(map(sum, result.join()))
        result.forget()
        return total

    def round_trip(self, value: int) -> int:
        returned: int = self._tasks["noop"].delay(value).get()
        return returned

    def close(self) -> None:
        stop(self._workers)
        self._broker.stop()


if __name__ == "__main__":
    options = ["--pool=prefork", f"--concurrency={adapter.WORKERS}", "--loglevel=ERROR"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    application(sys.argv[1])[0].worker_main(["worker", *options, *quiet])
