"""joblib.Parallel, which finds the size of its batches itself."""

from joblib import Parallel, delayed

from benchmarks.peers import adapter
from benchmarks.peers.work import Work, noop


class Adapter(adapter.Adapter):
    """``auto``: the default."""

    distribution = "joblib"

    def prepare(self) -> None:
        self._parallel = Parallel(n_jobs=adapter.WORKERS).__enter__()

    def run(self, work: Work, tasks: int) -> int:
        # One of its own: within a `with`, the batch size found for the last tasks is where the next ones begin.
        with Parallel(n_jobs=adapter.WORKERS) as parallel:
            return sum(parallel(delayed(work)(value) for value in range(tasks)))

    def round_trip(self, value: int) -> int:
        returned: int = self._parallel([delayed(noop)(value)])[0]
        return returned

    def close(self) -> None:
        self._parallel.__exit__(None, None, None)
