"""The texts of options: what they mean, and what is said of those that mean nothing."""

import datetime
import time
from collections.abc import Callable, Iterator

import pytest

from cyclone.cli import submit_values as values
from cyclone.protocol import limits


@pytest.mark.parametrize(
    ("read", "text", "meant"),
    [
        (values.duration, "90", 90.0),
        (values.duration, "1h30m", 5400.0),
        (values.duration, "1-12:00:00", 129600.0),
        (values.memory, "4G", 4 << 30),
        (values.memory, "64kB", 64_000),
        (values.memory, "2097152", 2 << 20),
        (values.number, "1_000", 1000),
        (values.signed, "-10", -10),
        (values.crash_limit, "never", 1),
        (values.crash_limit, "unlimited", limits.ID_MAX),
        (values.crash_limit, "5", 5),
        (values.labels, "gpu, a100", ["gpu", "a100"]),
        (values.words, "OSError,my.Error", ["OSError", "my.Error"]),
        (values.amount, "ost:17=3", ("ost:17", 3)),
        (values.tag, "a=b=c", ("a", "b=c")),
        (values.tag, "a=", ("a", "")),
        (values.nodes, "node[1-2],x", ["node1", "node2", "x"]),
        (values.variable, "A=b=c", ("A", "b=c")),
    ],
)
def test_given_a_text_then_it_means_this(read: Callable[[str], object], text: str, meant: object) -> None:
    assert read(text) == meant


@pytest.mark.parametrize(
    ("read", "text", "right"),
    [
        (values.duration, "soon", "10m"),
        (values.positive, "0", "1, 2, 3"),
        (values.positive, "-1", "1, 2, 3"),
        (values.number, "1.5", "0, 1, 2"),
        (values.signed, "high", "-10"),
        (values.crash_limit, "0", "never or unlimited"),
        (values.label, "a b", "letters, digits"),
        (values.labels, "a,,b", "letters, digits"),
        (values.words, "a,,b", "one comma"),
        (values.amount, "gpu", "gpus=2"),
        (values.amount, "gpu=0", "gpus=2"),
        (values.tag, "gpu", "campaign=2026"),
        (values.variable, "=x", "NAME=TEXT"),
        (values.variable, "CYCLONE_NOT_SET_ANYWHERE", "export it"),
        (values.key, "", "some text"),
        (values.limit, "0", "90, 10m"),
        (values.memory, "4096", "write 4096M"),
        (values.memory, "0M", "is no memory at all: write 512M"),
        (values.positive, "9" * 20, "is too great a number"),
        (values.number, "9" * 20, "is too great a number"),
        (values.signed, "-" + "9" * 20, "is too great a number"),
        (values.memory, "4x", "4GiB"),
        (values.past, "tomorrow", "20:00"),
        (values.past, "25:00", "20:00"),
        (values.moment, "tomorrow", "now+10m"),
        (values.moment, "now+soon", "now+10m"),
        (values.moment, "25:00", "18:30"),
        (values.moment, "1969-01-01", "before 1970"),
        (values.nodes, "node[1-", "node[001-176]"),
    ],
)
def test_given_a_wrong_text_then_the_error_says_which_and_what_would_be_right(
    read: Callable[[str], object], text: str, right: str
) -> None:
    with pytest.raises(ValueError) as caught:
        read(text)
    assert repr(text.split(",")[0])[1:-1] in str(caught.value)
    assert right in str(caught.value)


@pytest.fixture
def in_berlin() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-22T18:30:00+01:00", "2026-11-22T17:30:00+00:00"),
        ("2026-11-22T18:30:00Z", "2026-11-22T18:30:00+00:00"),
        ("2026-11-22 18:30", "2026-11-22T17:30:00+00:00"),
        ("2026-11-22", "2026-11-21T23:00:00+00:00"),
        ("2026-07-22", "2026-07-21T22:00:00+00:00"),
    ],
)
def test_given_a_moment_then_it_is_local_unless_it_names_its_zone(text: str, utc: str) -> None:
    assert values.moment(text) == datetime.datetime.fromisoformat(utc).timestamp()


@pytest.mark.parametrize(("text", "later_s"), [("now", 0.0), ("now+10m", 600.0), ("now+1h30m", 5400.0)])
def test_given_a_moment_from_now_then_it_is_so_much_later(text: str, later_s: float) -> None:
    assert values.moment(text) == pytest.approx(time.time() + later_s, abs=5)


@pytest.mark.parametrize("offset_s", [-3600, 3600])
def test_given_a_time_of_day_then_it_is_the_next_one(offset_s: int) -> None:
    wanted = datetime.datetime.now() + datetime.timedelta(seconds=offset_s)
    found = datetime.datetime.fromtimestamp(values.moment(f"{wanted:%H:%M:%S}"))
    assert (found.hour, found.minute, found.second) == (wanted.hour, wanted.minute, wanted.second)
    assert 0 < found.timestamp() - time.time() <= 86_400 + 7200


def test_given_a_variable_without_text_then_it_is_that_of_this_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOUR", "blue")
    assert values.variable("COLOUR") == ("COLOUR", "blue")


def test_given_a_whole_environment_then_ours_and_what_does_not_fit_stay_behind() -> None:
    long = "x" * (limits.TEXT_CHARS_MAX + 1)
    environment = {"A": "1", "CYCLONE_SERVER": "tcp://x", "B": long, "C": "\udce9", long: "D"}
    assert values.all_variables(environment) == ({"A": "1"}, ["B", "C", long])


def test_given_the_same_text_then_it_is_the_same_key_of_its_length() -> None:
    keys = {values.key_of(text) for text in ("a", "b", "\udce9", "a")}
    assert [len(key) for key in keys] == [16] * 3
