"""Where the Pushgateway is and as whom to go there; what of it cannot be right."""

import dataclasses
import ssl
from pathlib import Path
from typing import Any

import pytest

from cyclone.config import load
from cyclone.errors import ConfigError
from cyclone.settings import PushSettings
from cyclone.sinks.gateway import read_address
from cyclone.sinks.password_file import read_password
from cyclone.sinks.publisher import push_options


def settings(**changes: Any) -> PushSettings:
    return dataclasses.replace(load(None, [], "pushgateway_client").push, **changes)


@pytest.mark.parametrize(
    ("url", "job", "expected"),
    [
        ("http://gateway:9091", "cyclone", ("http://gateway:9091", "cyclone")),
        ("gateway:9091", "probes", ("http://gateway:9091", "probes")),
        ("https://[::1]:9091/", "cyclone", ("https://[::1]:9091", "cyclone")),
        ("http://gateway/push/", "cyclone", ("http://gateway/push", "cyclone")),
        # As the files of the original have it.
        ("http://localhost:9091/metrics/job/cyclone", "cyclone", ("http://localhost:9091", "cyclone")),
        ("http://localhost:9091/push/metrics/job/lustre%20x/", "cyclone", ("http://localhost:9091/push", "lustre x")),
        ("http://localhost:9091/metrics/job/probes", "probes", ("http://localhost:9091", "probes")),
        ("http://localhost:9091/metrics", "probes", ("http://localhost:9091", "probes")),
    ],
)
def test_given_an_url_then_the_gateway_and_the_job_are_found_in_it(
    url: str, job: str, expected: tuple[str, str]
) -> None:
    address = read_address(settings(url=url, job=job))

    assert (address.url, address.job) == expected
    assert (address.tls is not None) == url.startswith("https")
    assert address.timeout_s == 10


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"url": "ftp://gateway"}, "url: 'ftp://gateway' is no address of a Pushgateway: write such as http://gateway"),
        ({"url": "http://"}, "is no address of a Pushgateway"),
        ({"url": "http://gate way"}, "is no address of a Pushgateway"),
        ({"url": "http://g\u00e4teway"}, "is no address of a Pushgateway"),
        ({"url": "http://gateway:port"}, "is no address: Port could not be cast"),
        ({"url": "http://[::1"}, "is no address: Invalid IPv6 URL"),
        ({"url": "http://gate..way:9091"}, "is no address of a Pushgateway"),
        ({"url": f"http://{'g' * 64}:9091"}, "is no address of a Pushgateway"),
        ({"url": "http://me:pssst@gateway"}, "url: 'http://...@gateway' holds a user: write user and password_file"),
        ({"url": "http://me:pssst/@gateway"}, "url: 'http://...@gateway' holds a user: write user and password_file"),
        ({"url": "me:pssst@gateway"}, "url: 'http://...@gateway' holds a user: write user and password_file"),
        ({"url": "http://me:5/pssst@gateway"}, "url: 'http://...@gateway' holds a user: write user and password_file"),
        ({"url": "http://gateway?job=x"}, "has more than a path"),
        (
            {"url": "http://gateway/metrics/job/a/instance/b"},
            "names more than a job: each target is a group of its own",
        ),
        ({"url": "http://gateway/metrics/job@base64/YQ"}, "names more than a job"),
        ({"url": "http://gateway/metrics/job/a", "job": "b"}, "names another job than job = b: keep one of them"),
        ({"job": ""}, "[push] job: is empty"),
        ({"user": "me"}, "[push] password_file: is empty, and there is a user: write both, or none"),
        ({"password_file": Path("secret")}, "[push] user: is empty, and there is a password_file"),
        ({"user": "me", "password_file": Path("absent")}, "[push] password_file: there is no such file; looked for /"),
        ({"tls_ca": Path("ca.pem")}, "[push] tls_ca: is for https, and url is http://gateway:9091"),
        ({"tls_key": Path("key.pem"), "url": "https://g"}, "[push] tls_cert: is empty, and there is a tls_key"),
        ({"tls_ca": Path("absent"), "url": "https://g"}, "[push] tls_ca: absent cannot be read: No such file"),
        ({"tls_cert": Path("absent"), "url": "https://g"}, "[push] tls_cert: absent cannot be read: No such file"),
        ({"tls_ca": Path("text"), "url": "https://g"}, "[push] tls_ca: text is no PEM file that can be used"),
        ({"tls_cert": Path("text"), "url": "https://g"}, "[push] tls_cert: text is no PEM file that can be used"),
    ],
)
def test_given_what_cannot_be_right_then_the_key_and_the_remedy_are_named(
    changes: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no certificate\n")

    with pytest.raises(ConfigError) as caught:
        read_address(settings(**{"url": "http://gateway:9091", **changes}))

    assert expected in str(caught.value)
    assert str(caught.value).startswith("[push] ")
    assert "pssst" not in str(caught.value)


def test_given_a_password_file_then_the_password_is_there_and_in_no_text(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("pssst\n")

    address = read_address(settings(url="https://gateway", user="me", password_file=secret))

    assert (address.user, address.password) == ("me", "pssst")
    assert "pssst" not in repr(address)
    assert isinstance(address.tls, ssl.SSLContext)


def test_given_systemds_credentials_then_a_bare_name_is_looked_for_there_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("here\r\n")
    assert read_password(Path("secret"), "[push] password_file") == "here"

    (tmp_path / "credentials" / "secret").write_text("there")
    assert read_password(Path("secret"), "[push] password_file") == "there"
    assert read_password(tmp_path / "secret", "[push] password_file") == "here"

    with pytest.raises(ConfigError) as caught:
        read_password(Path("absent"), "[push] password_file")
    assert str(caught.value) == (
        f"[push] password_file: there is no such file; looked for {tmp_path}/credentials/absent and {tmp_path}/absent"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read: Is a directory"),
        (b"\xff", "is not UTF-8"),
        (b"", "is empty: write the password"),
        (b"\n", "is empty: write the password"),
    ],
)
def test_given_a_password_file_that_is_none_then_it_is_said(
    content: bytes | None, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=expected):
        read_password(path, "[push] password_file")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "[push] url: is empty, and so is textfile: write where metrics go"),
        ({"textfile": Path("cyclone.txt")}, "[push] textfile: cyclone.txt does not end in .prom"),
        ({"textfile": Path("/absent/cyclone.prom")}, "[push] textfile: /absent is no folder: make it"),
    ],
)
def test_given_no_place_for_metrics_then_that_is_said(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        push_options(settings(**changes))
    assert str(caught.value).startswith(expected)


def test_given_values_that_would_expire_before_they_are_published_then_that_is_said() -> None:
    with pytest.raises(ConfigError) as caught:
        push_options(settings(url="http://gateway", interval_s=60.0, expire_s=59.0))
    assert str(caught.value) == (
        "[push] expire: 59s is shorter than interval, 1m: a value would be gone before it is published; write a few "
        "times as long as a round, or 0"
    )
    assert push_options(settings(url="http://gateway", interval_s=60.0, expire_s=60.0)).expire_s == 60


def test_given_a_textfile_alone_then_there_is_no_gateway(tmp_path: Path) -> None:
    options = push_options(settings(textfile=tmp_path / "cyclone.prom"))

    assert options.gateway is None
    assert options.textfile == tmp_path / "cyclone.prom"
