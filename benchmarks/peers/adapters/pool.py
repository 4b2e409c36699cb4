"""multiprocessing.Pool of the standard library."""

import multiprocessing

from benchmarks.peers import adapter
from benchmarks.peers.work import Work, noop


class Adapter(adapter.Adapter):
    """``chunk=N``: its chunksize."""

    def prepare(self) -> None:
        self._pool = multiprocessing.Pool(adapter.WORKERS)

    def run(self, work: Work, tasks: int) -> int:
        return sum(self._pool.imap_unordered(work, range(tasks), chunksize=self.chunk))

    def round_trip(self, value: int) -> int:
        return self._pool.apply(noop, (value,))

    def close(self) -> None:
        self._pool.terminate()
        self._pool.join()
