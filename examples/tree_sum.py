"""The sum of 1..n as a tree of tasks: each level is a job whose tasks add up what the level below has found.

    python examples/tree_sum.py 1000000

Results of a level are taken in order, and become tasks of the next while they come: no level is ever in memory. It may
be killed at any moment and started anew; docs/example-tree-sum.md says why nothing is added twice. The master is that
of ``--connect`` or ``$CYCLONE_SERVER``, else the one on this host.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterable, Iterator
from itertools import islice

from cyclone import Client
from cyclone.client.job_results import in_order
from cyclone.errors import CycloneError
from cyclone.protocol.job_spec import JobSpec, Namespace
from cyclone.values import encode


class TreeSum:
    """The sum of many numbers, so many of them a task. ``name`` makes it another sum than one of the same numbers."""

    def __init__(self, client: Client, numbers_per_task: int, namespace: str, name: str) -> None:
        self._client = client
        self._per_task = numbers_per_task
        self._namespace = namespace
        self._name = name

    def of(self, count: int) -> int:
        """The sum of 1..count."""
        numbers: Iterator[int] = iter(range(1, count + 1))
        length, level, below = count, 0, 0
        while length > 1 or not level:
            length = -(-length // self._per_task)
            job_id = self._submit(level, numbers)
            if below:
                # What has become of them is recorded: they are not needed any more.
                self._processed(below)
            numbers, below, level = self._sums(job_id), job_id, level + 1
        total = sum(numbers)
        self._processed(below)
        return total

    def _submit(self, level: int, numbers: Iterator[int]) -> int:
        """A job whose tasks add up these numbers; returns when it has all of them.

        Its key is made of its place in the tree, so that it is the same job when this program is started again. The
        numbers come in the same order then, and tasks that the job has already are passed over.
        """
        key = hashlib.blake2b(f"{self._name}\0{self._per_task}\0{level}".encode(), digest_size=16).digest()
        spec = JobSpec(
            task_class="task_generators.sum:SumTask",
            name=f"{self._name}-{level}",
            namespace=self._namespace,
            # The nearer to the root, the sooner it is done, and the less waits.
            priority=level,
            tags={"level": str(level)},
        )
        job_id = self._client.submit(spec, self._tasks(numbers), key=key)
        print(f"level {level}: job {job_id}", file=sys.stderr, flush=True)
        return job_id

    def _tasks(self, numbers: Iterator[int]) -> Iterable[bytes]:
        while some := list(islice(numbers, self._per_task)):
            yield encode([some])

    def _sums(self, job_id: int) -> Iterator[int]:
        """What the tasks of a job have found, in their order. Raises CycloneError where one found nothing."""
        for result in in_order(self._client.results(job_id)):
            if not result.ok:
                raise CycloneError(f"there is no sum: task {job_id}.{result.index} is {result.state}")
            yield result.value

    def _processed(self, job_id: int) -> None:
        job = self._client.detail(job_id).job
        assert job is not None
        if count := sum(job.tasks.values()):
            self._client.processed(job_id, [(0, count - 1)])


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("n", type=int, help="the last number")
    parser.add_argument("--numbers-per-task", type=int, default=1000, help="at least 2 (default: 1000)")
    parser.add_argument("--name", default="", help="another name is another sum (default: sum-N)")
    parser.add_argument("-n", "--namespace", default="examples", help="where its jobs are (default: examples)")
    parser.add_argument("--connect", help="the master, such as tcp://head:5678")
    args = parser.parse_args()
    if args.n < 1 or args.numbers_per_task < 2:
        parser.error("a sum has a number at least, and a task two of them")
    try:
        # As long as this a master may be away, to be started again.
        with Client(args.connect, timeout_s=30.0) as client:
            if args.namespace not in (known.namespace.name for known in client.namespaces()):
                print(client.set_namespace(Namespace(name=args.namespace)).text, file=sys.stderr)
            print(TreeSum(client, args.numbers_per_task, args.namespace, args.name or f"sum-{args.n}").of(args.n))
    except CycloneError as error:
        print(f"tree_sum: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
