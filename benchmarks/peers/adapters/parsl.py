"""Parsl's HighThroughputExecutor over ZeroMQ: client, interchange, one manager with its workers.

Driven through Parsl's apps. Submitting to the executor past the DataFlowKernel is a quarter faster (1,900 instead of
1,500 tasks/s), but then nobody tries a lost task again.
"""

from concurrent.futures import Future
from typing import Any

import parsl
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

from benchmarks.peers import adapter
from benchmarks.peers.work import Work, busy, chunk_sum, chunks, noop

_PREFETCH = 64


class Adapter(adapter.Adapter):
    """``app``: a python_app per task; ``chunk=N``: N calls in one app, by hand."""

    distribution = "parsl"

    def prepare(self) -> None:
        executor = HighThroughputExecutor(
            label="htex",
            address="127.0.0.1",
            max_workers_per_node=adapter.WORKERS,
            prefetch_capacity=_PREFETCH,
            encrypted=False,
            worker_logdir_root=str(self.folder),
            provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
        )
        self._kernel = parsl.load(
            parsl.Config(
                executors=[executor],
                retries=1,  # what makes it try a task again whose worker was lost
                strategy="none",
                run_dir=str(self.folder),
                initialize_logging=False,
            )
        )
        self._apps: dict[str, Any] = {work.__name__: parsl.python_app(work) for work in (noop, busy, chunk_sum)}

    def run(self, work: Work, tasks: int) -> int:
        futures: list[Future[int]]
        if self.variant == "app":
            futures = [self._apps[work.__name__](value) for value in range(tasks)]
        else:
            futures = [self._apps["chunk_sum"](work, values) for values in chunks(tasks, self.chunk)]
        return sum(future.result() for future in futures)

    def round_trip(self, value: int) -> int:
        returned: int = self._apps["noop"](value).result()
        return returned

    def close(self) -> None:
        self._kernel.cleanup()
