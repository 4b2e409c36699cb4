"""What the tests of the publisher of metrics share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.publishers import Bench
from tests.support.pushgateway import StubGateway


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubGateway]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    stub = StubGateway()
    yield stub
    stub.close()


@pytest.fixture
def bench(tmp_path: Path, gateway: StubGateway) -> Iterator[Bench]:
    one = Bench(tmp_path, gateway.url)
    yield one
    one.spool.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes one with other options."""
    made: list[Bench] = []

    def make(url: str = "", **options: Any) -> Bench:
        made.append(Bench(tmp_path, url, **options))
        return made[-1]

    yield make
    for one in made:
        one.spool.close()
