"""The run-length column of jobs, ``[(job, count), ...]`` in row order: batches carry no job per task. PURE."""

Runs = list[tuple[int, int]]


def slice_runs(runs: Runs, start: int, stop: int) -> Runs:
    """The part of a run-length column between two rows."""
    if len(runs) == 1:
        return [(runs[0][0], stop - start)]
    cut: Runs = []
    row = 0
    for job, count in runs:
        low, high = max(row, start), min(row + count, stop)
        if low < high:
            cut.append((job, high - low))
        row += count
        if row >= stop:
            break
    return cut


def merge_runs(left: Runs, right: Runs) -> Runs:
    """Two run-length columns, one behind the other."""
    if left and right and left[-1][0] == right[0][0]:
        return [*left[:-1], (left[-1][0], left[-1][1] + right[0][1]), *right[1:]]
    return [*left, *right]


def job_at(runs: Runs, row: int) -> int:
    """The job of a row."""
    for job, count in runs:
        if row < count:
            return job
        row -= count
    raise IndexError(row)
