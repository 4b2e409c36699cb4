"""Dask: dask.distributed with worker processes of one thread, its scheduler in the client's process (LocalCluster)."""

import dask
import dask.bag
from distributed import Client, LocalCluster

from benchmarks.peers import adapter
from benchmarks.peers.work import Work, noop


class Adapter(adapter.Adapter):
    """``map``: a task per item; ``bag=N``: a partition of N items is a task."""

    distribution = "distributed"

    def prepare(self) -> None:
        # By default a worker of one thread is given two tasks at most and waits for the next ones: 570 tasks/s instead
        # of 2,100. Tasks that are all alike need no stealing.
        dask.config.set({"distributed.scheduler.worker-saturation": "inf"})
        dask.config.set({"distributed.scheduler.work-stealing": False})
        self._cluster = LocalCluster(
            n_workers=adapter.WORKERS,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=str(self.folder),
        )
        self._client = Client(self._cluster)

    def run(self, work: Work, tasks: int) -> int:
        if self.variant == "map":
            return sum(self._client.gather(self._client.map(work, range(tasks), pure=False)))
        bag = dask.bag.from_sequence(range(tasks), partition_size=self.chunk).map(work)
        return sum(self._client.compute(bag).result())

    def round_trip(self, value: int) -> int:
        returned: int = self._client.submit(noop, value, pure=False).result()
        return returned

    def close(self) -> None:
        self._client.close()
        self._cluster.close()
