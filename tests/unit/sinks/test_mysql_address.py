"""Where the server of MySQL is and who asks: options, option files, password files, certificates."""

import os
from pathlib import Path
from typing import Any

import pytest

from cyclone.config import load
from cyclone.errors import ConfigError
from cyclone.sinks.stores.mysql_connection import check, read_address


def address(*overrides: str) -> Any:
    return read_address(load(None, [f"db.{override}" for override in overrides], "database_proxy").db)


def test_given_an_option_file_then_it_gives_what_is_not_given_here(tmp_path: Path) -> None:
    path = tmp_path / "my.cnf"
    path.write_text(
        "!includedir /nowhere\n[mysqld]\nport = 1\n[client]\nuser=\"monitor\"\npassword = 'p#w=1'\n"
        "host = db.example\nport = 3307\nskip-something\nssl_ca = /ca.pem\n"
    )
    found = address(f"option_file={path}", "database=d")
    assert (found.user, found.password, found.host, found.port) == ("monitor", "p#w=1", "db.example", 3307)
    assert found.tls_ca == Path("/ca.pem")
    found = address(f"option_file={path}", "database=d", "host=other:1234", "user=me", "password=mine")
    assert (found.user, found.password, found.host, found.port) == ("me", "mine", "other", 1234)
    assert "mine" not in repr(found) and "mine" not in str(found)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("db", ("db", 3306)),
        ("db:1", ("db", 1)),
        ("::1", ("::1", 3306)),
        ("[::1]:7", ("::1", 7)),
        ("[::1]", ("::1", 3306)),
    ],
)
def test_given_a_host_with_or_without_a_port_then_both_are_known(host: str, expected: tuple[str, int]) -> None:
    found = address(f"host={host}", "database=d")
    assert (found.host, found.port) == expected


def test_given_a_password_file_then_it_is_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("one\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert address("host=a", "database=d", "password_file=secret").password == "one"
    (tmp_path / "secret").write_text("two")
    assert address("host=a", "database=d", "password_file=secret").password == "two"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (("host=a",), "[db] database: is empty"),
        (("host=a:b", "database=d"), "[db] host: 'a:b': 'b' is no port"),
        (("host=a", "database=d", "option_file=/no/such"), "[db] option_file: /no/such: No such file"),
        (("host=a", "database=d", "password=p", "password_file=x"), "there is a password too"),
        (("socket=/s", "database=d", "tls=verify"), "[db] tls: verify is for a host"),
    ],
)
def test_given_a_server_that_cannot_be_reached_like_this_then_the_error_says_why(
    overrides: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        address(*overrides)
    assert problem in str(caught.value)


def test_given_a_certificate_file_that_is_missing_when_checked_then_the_error_names_it() -> None:
    overrides = ["db.host=a", "db.database=d", "db.tls_ca=/no/such.pem"]
    with pytest.raises(ConfigError, match=r"\[db\] tls_ca: there is no file /no/such\.pem"):
        check(load(None, overrides, "database_proxy").db)
    check(load(None, [*overrides, "db.tls=off"], "database_proxy").db)


def test_given_an_option_file_with_a_port_that_is_none_then_the_error_says_where(tmp_path: Path) -> None:
    path = tmp_path / "my.cnf"
    path.write_text("[client]\nport = x\n")
    with pytest.raises(ConfigError, match=r"my\.cnf: port: 'x' is no port"):
        address("host=a", "database=d", f"option_file={path}")


def test_given_an_option_file_that_is_none_then_no_line_of_it_is_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "my.cnf"
    path.write_text("password = topsecret\n")
    with pytest.raises(ConfigError) as caught:
        address("host=a", "database=d", f"option_file={path}")
    assert "topsecret" not in str(caught.value)
    assert os.fspath(path) in str(caught.value)
