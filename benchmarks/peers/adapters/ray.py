"""Ray on one node, without its dashboard."""

import os
from typing import Any

# Read when ray is imported: it would ask its makers' server whether it may report.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray.util.multiprocessing import Pool

from benchmarks.peers import adapter
from benchmarks.peers.work import Work, busy, noop


class _Server:
    """An actor. Which of them is asked is for the caller to decide."""

    def call(self, work: Work, value: int) -> int:
        return work(value)


class Adapter(adapter.Adapter):
    """``task``: a remote call per task; ``actor``: calls on two actors in turn; ``chunk=N``: Ray's Pool."""

    distribution = "ray"

    def prepare(self) -> None:
        ray.init(
            num_cpus=adapter.WORKERS,
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=False,
            configure_logging=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(self.folder),
        )
        self._remote: dict[str, Any] = {work.__name__: ray.remote(work) for work in (noop, busy)}
        if self.variant == "actor":
            # Without these an actor's death is final, for itself and for the calls that it had.
            actor: Any = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(_Server)
            self._actors = [actor.remote() for _ in range(adapter.WORKERS)]
        elif self.variant != "task":
            self._pool = Pool(adapter.WORKERS)

    def run(self, work: Work, tasks: int) -> int:
        if self.variant == "task":
            remote = self._remote[work.__name__]
            return sum(ray.get([remote.remote(value) for value in range(tasks)]))
        if self.variant == "actor":
            actors = self._actors
            return sum(ray.get([actors[value % len(actors)].call.remote(work, value) for value in range(tasks)]))
        return sum(self._pool.imap_unordered(work, range(tasks), chunksize=self.chunk))

    def round_trip(self, value: int) -> int:
        returned: int = ray.get(self._remote["noop"].remote(value))
        return returned

    def close(self) -> None:
        ray.shutdown()
