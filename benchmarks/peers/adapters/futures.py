"""concurrent.futures.ProcessPoolExecutor of the standard library."""

from concurrent.futures import ProcessPoolExecutor

from benchmarks.peers import adapter
from benchmarks.peers.work import Work, noop


class Adapter(adapter.Adapter):
    """``chunk=N``: the chunksize of its map()."""

    def prepare(self) -> None:
        self._executor = ProcessPoolExecutor(adapter.WORKERS)

    def run(self, work: Work, tasks: int) -> int:
        return sum(self._executor.map(work, range(tasks), chunksize=self.chunk))

    def round_trip(self, value: int) -> int:
        return self._executor.submit(noop, value).result()

    def close(self) -> None:
        self._executor.shutdown()
