"""A real Prometheus for tests, promtool, and a generator that gives a cluster something of everything to count."""

import itertools
import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclone import BaseTask, BaseTaskGenerator
from tests.support.lab import free_port
from tests.support.metrics_records import MeasuringTask, check, probe
from tests.support.parts import environment, program, running
from tests.support.workload import Act, LimitedAct, OtherAct, RetriedAct

LIVELY = {"class": "tests.support.prometheus:LivelyGenerator"}
_ROUND_S = 0.02


class LivelyGenerator(BaseTaskGenerator):
    """A few tasks every moment, until it is stopped: most complete, some fail, some are tried again.

    The first of them end their worker: one once, one each time that it is tried, and one by its time limit.
    """

    def generate(self) -> Iterator[BaseTask]:
        yield Act("kill_once")
        yield Act("os_exit", 3)
        yield LimitedAct("hang")
        for number in itertools.count():
            yield Act("return", number)
            yield OtherAct("return", number)
            if number % 10 == 0:
                yield Act("raise", "as it was told to")
                yield RetriedAct("refused_at_first", 2)
                yield MeasuringTask([check(0, 5), check(1, 5, "FAILED"), check(2, 6, "ERROR")])
                yield MeasuringTask([probe("OST0005"), probe("OST0006", None, None, error="EIO")])
            time.sleep(_ROUND_S)


def promtool(*arguments: str | Path, text: str | None = None) -> str:
    """What it prints, standard input being the text; AssertionError with that where it finds something wrong."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=30,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


class QueryFailed(Exception):
    """What Prometheus says is wrong with a query."""


class Prometheus:
    """One that runs, asked by its HTTP interface."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        try:
            with self._opener.open(f"{self._url}/-/ready", timeout=1):
                return True
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query. Raises QueryFailed."""
        found: list[dict[str, Any]] = self._ask("query", query=expression)["result"]
        return found

    def targets(self) -> dict[str, str]:
        """The health of each target, by its job and address."""
        active = self._ask("targets")["activeTargets"]
        return {
            f"{one['labels']['job']} {one['labels']['instance']}": f"{one['health']} {one['lastError']}".strip()
            for one in active
        }

    def rules(self) -> list[dict[str, Any]]:
        """The alert rules with how their last evaluation went."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def _ask(self, what: str, **parameters: str) -> Any:
        url = f"{self._url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with self._opener.open(url, timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise QueryFailed(f"{parameters}: {json.load(error)['error']}") from None


@contextmanager
def prometheus(folder: Path, configuration: Path) -> Iterator[Prometheus]:
    """It runs while the block lasts, with this configuration and its data in the folder."""
    port = free_port()
    server = Prometheus(port)
    command = [
        program("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with running(command, folder / "prometheus.log", server.is_ready):
        yield server
