"""A breadth-first crawl by a client: it submits a page, takes what was found there, and submits what it finds new.

    python examples/crawl.py Configuration/examples/site

Prints a line for each page, in the order in which the pages were met: the page, and how many links it has. All that it
knows it can learn from the master again, so that it may be killed at any moment and started anew; docs/example-crawl.md
says how. The master is that of ``--connect`` or ``$CYCLONE_SERVER``, else the one on this host.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclone import Client
from cyclone.client.job_results import JobTaskResult, in_order
from cyclone.errors import CycloneError
from cyclone.protocol.job_spec import JobSpec, Namespace
from cyclone.values import encode

# So many pages are printed before they are marked as processed.
MARKED_TOGETHER = 100


class Crawl:
    """The crawl of a folder of HTML files: a job that grows by a task for each page that is met.

    Pages are numbered in the order in which they are met, and so are the tasks. Results are read in that order, too:
    who reads them again comes to the same numbers, and what he adds once more is passed over by the master.
    """

    def __init__(self, client: Client, root: Path, start: str, page_limit: int, namespace: str, name: str) -> None:
        self._client = client
        self._root = str(root.resolve())
        self._page_limit = page_limit
        self._pages = [start]
        self._met = {start}
        # The same crawl is the same job, however often it is submitted.
        about = "\0".join((name, self._root, start, str(page_limit), namespace))
        key = hashlib.blake2b(about.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        spec = JobSpec(
            task_class="task_generators.crawl:ReadHtmlTask",
            name=name,
            namespace=namespace,
            retries=2,
            retry_delay_s=0.1,
        )
        self.job_id = client.submit(spec, [self._task(start)], key=key, sealed=False)

    def results(self) -> Iterator[tuple[str, JobTaskResult]]:
        """Each page with its result, in order; those of before a kill as well."""
        job = self._client.detail(self.job_id).job
        assert job is not None
        # One that is sealed has all of its tasks: there is nothing left but to read.
        grows = not job.sealed
        for result in in_order(self._client.results(self.job_id)):
            found = self._news(result.value) if result.ok else []
            first = len(self._pages)
            self._pages += found
            if grows:
                is_last = result.index == len(self._pages) - 1
                if found or is_last:
                    self._client.add(self.job_id, map(self._task, found), offset=first, sealed=is_last)
            yield self._pages[result.index], result

    def first_unprocessed(self) -> int:
        """The number of the first page that nobody has taken the result of."""
        rows = self._client.tasks(self.job_id, states=("processed",))
        return max((row.index + 1 for row in rows), default=0)

    def processed(self, first: int, last: int) -> None:
        """The results from one number to another have been taken."""
        self._client.processed(self.job_id, [(first, last)])

    def _news(self, links: list[str]) -> list[str]:
        """Those that nobody has met, as far as there is room for them."""
        room = max(0, self._page_limit - len(self._pages))
        found = [link for link in links if link not in self._met][:room]
        self._met |= set(found)
        return found

    def _task(self, page: str) -> bytes:
        return encode([page, self._root])


def crawl(client: Client, args: argparse.Namespace) -> int:
    """Print what nobody has printed before; how many pages could not be read."""
    if args.namespace not in (known.namespace.name for known in client.namespaces()):
        print(client.set_namespace(Namespace(name=args.namespace)).text, file=sys.stderr)
    job = Crawl(client, args.root, args.start, args.page_limit, args.namespace, args.name)
    print(f"job {job.job_id}", file=sys.stderr)
    marked = job.first_unprocessed()
    bad = number = 0
    for number, (page, result) in enumerate(job.results(), 1):
        bad += not result.ok
        if number <= marked:
            continue
        print(page, len(result.value) if result.ok else result.state, flush=True)
        if number - marked == MARKED_TOGETHER:
            # Printed first, marked then: who is killed in between prints these again, and loses none.
            job.processed(marked, number - 1)
            marked = number
    if number > marked:
        job.processed(marked, number - 1)
    print(f"{number} pages, {bad} of them could not be read", file=sys.stderr)
    return bad


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("root", type=Path, help="a folder of HTML files that the controllers can read, too")
    parser.add_argument("--start", default="index.html", help="the first page (default: index.html)")
    parser.add_argument("--page-limit", type=int, default=100_000, help="read no more pages than this")
    parser.add_argument("--name", default="crawl", help="another name is another crawl (default: crawl)")
    parser.add_argument("-n", "--namespace", default="examples", help="where its job is (default: examples)")
    parser.add_argument("--connect", help="the master, such as tcp://head:5678")
    args = parser.parse_args()
    try:
        # As long as this a master may be away, to be started again.
        with Client(args.connect, timeout_s=30.0) as client:
            return 1 if crawl(client, args) else 0
    except CycloneError as error:
        print(f"crawl: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
