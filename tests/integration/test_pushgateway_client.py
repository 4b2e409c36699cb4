"""``cyclone-pushgateway-client`` with a real Pushgateway: what Prometheus finds there, whoever is killed or away."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.lab import Lab, Started
from tests.support.metrics_records import MEASURING, Feeder, check, probe
from tests.support.parts import environment, program
from tests.support.pushgateway import PASSWORD, USER, Pushgateway, labels, read_metrics

CHECK = "cyclone_lustre_file_creation_check"
CHECK_ERROR = "cyclone_lustre_file_creation_error"
WRITTEN = "cyclone_lustre_ost_write_bytes_per_second"
CHECK_RUN = "cyclone_lustre_file_creation_check_last_run_timestamp_seconds"


class Client:
    """A client of the lab, started as often as the test likes, and who stands for its master."""

    def __init__(self, lab: Lab, gateway: Pushgateway) -> None:
        self._lab = lab
        self.gateway = gateway
        self.feeder = Feeder(lab.port)
        lab.environment["no_proxy"] = "127.0.0.1"
        self.state_dir = lab.folder / "client"

    def start(self, **push: str) -> Started:
        """Ready; what ``[push]`` says besides the address and a short interval."""
        keys = {"url": self.gateway.url, "interval": "200ms", "expire": "1h", **push}
        control = {"state_dir": str(self.state_dir), "stop_timeout": "1s"}
        config = self._lab.config({"push": keys, "control": control}, "pushgateway_client.conf")
        started = self._lab.start("cyclone-pushgateway-client", "-f", config)
        started.says("Pushgateway client at ")
        return started

    def series(self, mdt: int, ost: int, target: str = "hebe") -> float | None:
        """What Prometheus would find of one check."""
        found = self.gateway.metrics().get(CHECK, {})
        key = labels(target=target, mdt_index=str(mdt), ost_index=str(ost), job="cyclone", instance="")
        return found.get(key)

    def shows(self, value: float | None, mdt: int, ost: int, target: str = "hebe") -> None:
        """Wait until it is so."""
        self._lab.wait_until(lambda: self.series(mdt, ost, target) == value, f"{target} {mdt} {ost} is {value}")


@pytest.fixture
def client(lab: Lab) -> Iterator[Client]:
    one = Client(lab, Pushgateway(lab.folder))
    yield one
    one.feeder.close()


def test_given_a_run_of_real_checks_then_prometheus_finds_them_until_a_clean_stop_deletes_them(
    lab: Lab, client: Client
) -> None:
    textfile = lab.folder / "cyclone.prom"
    records = [check(0, 5), check(1, 5, "FAILED"), check(2, 5, "ERROR"), check(0, 6, "IGNORED"), probe("OST0005")]
    began = time.time()
    with client.gateway.running():
        started = client.start(delete_on_stop="yes", textfile=str(textfile))
        config = lab.config(
            {
                "task_generator": MEASURING,
                "measuring": {"records": json.dumps(records)},
                "sink": {"targets": f"127.0.0.1:{lab.port}"},
            }
        )
        run = lab.run(config)
        assert run.exits() == 0, run.stderr()
        client.shows(0.0, 1, 5)
        client.shows(1.0, 0, 5)
        # Each record may come with a push of its own.
        pushed = client.gateway.metrics
        lab.wait_until(lambda: WRITTEN in pushed() and 1.0 in pushed()[CHECK_ERROR].values(), "all records are pushed")
        found = pushed()
        assert len(found[CHECK]) == 2
        assert list(found[CHECK_ERROR].values()) == [1.0]
        assert began - 1 <= next(iter(found[CHECK_RUN].values())) <= time.time()
        assert list(found[WRITTEN].values()) == [1.5e9]
        text = textfile.read_bytes()
        checked = subprocess.run(
            [program("promtool"), "check", "metrics"], input=text, env=environment(), capture_output=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
        assert {key: len(values) for key, values in read_metrics(text.decode()).items()} == {
            key: len(values) for key, values in found.items()
        }

        started.signal(signal.SIGTERM)
        assert started.exits() == 0, started.stderr()
        assert client.gateway.metrics() == {}
    assert not textfile.exists()


def test_given_a_gateway_that_is_away_then_nobody_waits_and_it_gets_the_last_values_when_it_returns(
    client: Client,
) -> None:
    started = client.start()
    for number in range(20):
        # Each of them is acknowledged at once.
        client.feeder.send(check(0, 5, "FAILED" if number % 2 else "OK"), check(0, 6))
    started.says("pushing fails, it is tried again at each interval")
    with client.gateway.running():
        client.shows(0.0, 0, 5)
        client.shows(1.0, 0, 6)
        started.says("pushing works again")
    client.feeder.send(check(0, 5))
    # Another one, that knows nothing.
    with client.gateway.running():
        client.shows(1.0, 0, 5)
        client.shows(1.0, 0, 6)
    started.signal(signal.SIGTERM)
    assert started.exits() == 0
    assert started.stderr().count("pushing fails") <= 3


def test_given_a_gateway_that_hangs_then_records_are_taken_all_the_same_and_a_stop_does_not_wait_for_it(
    client: Client,
) -> None:
    with client.gateway.running() as process:
        process.send_signal(signal.SIGSTOP)
        started = client.start(timeout="1h")
        for _ in range(20):
            client.feeder.send(check(0, 5))
        started.signal(signal.SIGTERM)
        assert started.exits() == 0
        started.says("the Pushgateway has not answered within stop_timeout")
        process.send_signal(signal.SIGCONT)


def test_given_an_ost_that_vanishes_then_it_does_not_stay_green_and_that_checks_ran_is_still_told(
    lab: Lab, client: Client
) -> None:
    with client.gateway.running():
        client.start(expire="1s")
        client.feeder.send(check(0, 5), check(0, 6))
        client.shows(1.0, 0, 6)

        def vanished() -> bool:
            client.feeder.send(check(0, 5))
            return client.series(0, 6) is None

        lab.wait_until(vanished, "OST 6 is gone")
        assert client.series(0, 5) == 1.0
        client.shows(None, 0, 5)
        assert set(client.gateway.metrics()) == {CHECK_ERROR, CHECK_RUN}


def test_given_a_client_that_is_killed_then_it_knows_what_was_measured_and_goes_on(client: Client) -> None:
    started = client.start()
    with client.gateway.running():
        client.feeder.send(check(0, 5), check(0, 6))
        client.shows(1.0, 0, 6)
    started.process.kill()
    started.exits()
    started = client.start()
    started.says("2 series of hebe are known from before")
    with client.gateway.running():
        client.shows(1.0, 0, 5)
        client.feeder.send(check(0, 5, "FAILED"))
        client.shows(0.0, 0, 5)
        client.shows(1.0, 0, 6)


def test_given_targets_with_awkward_characters_then_their_groups_are_put_and_deleted(client: Client) -> None:
    # Prometheus' client writes them in one way with a slash, in another one without.
    targets = ['a/b\\c"d\ne+f%g', 'b\\c"d\ne+f%g']
    with client.gateway.running():
        started = client.start(delete_on_stop="yes")
        client.feeder.send(*[check(0, 5, target=target) for target in targets])
        for target in targets:
            client.shows(1.0, 0, 5, target)
        started.signal(signal.SIGTERM)
        assert started.exits() == 0
        assert client.gateway.metrics() == {}


def test_given_a_gateway_with_tls_and_a_password_then_only_who_has_them_can_push(lab: Lab) -> None:
    client = Client(lab, Pushgateway(lab.folder, is_closed=True))
    password = lab.folder / "password"
    password.write_text(f"{PASSWORD}\n")
    keys = {"user": USER, "password_file": str(password), "tls_ca": str(client.gateway.ca)}
    with client.gateway.running():
        for wrong, reason in (
            ({**keys, "tls_ca": ""}, "CERTIFICATE_VERIFY_FAILED"),
            ({"tls_ca": keys["tls_ca"]}, "answers 401 Unauthorized"),
        ):
            started = client.start(**wrong)
            client.feeder.send(check(0, 5))
            started.says(reason)
            started.signal(signal.SIGTERM)
            assert started.exits() == 0
            assert client.gateway.metrics() == {}
        started = client.start(**keys)
        client.shows(1.0, 0, 5)
        assert PASSWORD not in started.stderr()
    client.feeder.close()
