"""Durations and sizes: what people write, and what is refused with the accepted forms in the message."""

import pytest

from cyclone.units import DURATION_S_MAX, SIZE_BYTES_MAX, format_duration, format_size, parse_duration, parse_size

DURATIONS = [
    ("0", 0.0),
    ("30", 30.0),
    ("1.5", 1.5),
    (" 30 ", 30.0),
    ("30s", 30.0),
    ("30 s", 30.0),
    ("500ms", 0.5),
    ("0.25ms", 0.00025),
    ("10m", 600.0),
    ("1.5h", 5400.0),
    ("1h30m", 5400.0),
    ("1h 30m", 5400.0),
    ("5m500ms", 300.5),
    ("2d", 172800.0),
    ("1d2h3m4s5ms", 93784.005),
    ("00:00:01", 1.0),
    ("08:00:00", 28800.0),
    ("100:00:00", 360000.0),
    ("1-02:03:04", 93784.0),
    ("36500d", DURATION_S_MAX),
]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_given_a_duration_when_parsed_then_it_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "s", "abc", "-1", "+1", "1e3", "nan", "inf", "1,5", ".5", "5.", "30 seconds", "30S", "10M", "1w",
        "30m1h", "1h1h", "1s1s", "12:30", "1:2:3", "00:60:00", "00:00:60", "1-24:00:00", "1-2", "٣٠", "30s # note",
        "1  s", "30\ns", "9" * 13, "9" * 5000,
    ],
)  # fmt: skip
def test_given_something_else_when_parsed_as_a_duration_then_the_message_shows_it_and_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 30, 30s, 500ms, 10m, 1h30m, 2d, HH:MM:SS or D-HH:MM:SS$") as caught:
        parse_duration(text)
    assert str(caught.value).startswith(repr(text))


@pytest.mark.parametrize("text", ["36501d", "99999999999", "99999-00:00:00"])
def test_given_more_than_a_century_when_parsed_then_it_is_called_too_long(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than 36500d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.5, "500ms"), (0.00025, "0.25ms"), (1, "1s"), (1.5, "1.5s"), (60, "1m"), (90.5, "1m30.5s"),
        (5400, "1h30m"), (28800, "8h"), (172800, "2d"), (93784.005, "1d2h3m4.005s"), (59.9999, "1m"),
    ],
)  # fmt: skip
def test_given_seconds_when_formatted_then_the_shortest_text(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(("_text", "seconds"), DURATIONS)
def test_given_seconds_when_formatted_and_parsed_then_they_are_the_same(_text: str, seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


SIZES = [
    ("0", 0),
    ("4096", 4096),
    ("4096 B", 4096),
    ("10kB", 10_000),
    ("10KB", 10_000),
    ("1k", 1024),
    ("1KiB", 1024),
    ("4G", 4 * 1024**3),
    ("4GiB", 4 * 1024**3),
    ("4gib", 4 * 1024**3),
    ("1.5 MiB", 1_572_864),
    ("1.1KiB", 1126),
    ("2TB", 2 * 1000**4),
    ("1P", 1024**5),
    ("1.0", 1),
    (str(SIZE_BYTES_MAX // 100), SIZE_BYTES_MAX // 100),
]


@pytest.mark.parametrize(("text", "size_bytes"), SIZES)
def test_given_a_size_when_parsed_then_it_is_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "B",
        "GiB",
        "-1",
        "1e3",
        "4 Gi B",
        "4Gb1",
        "4GiBs",
        "4X",
        "1,5M",
        ".5M",
        "1.M",
        "1.5",
        "1.5B",
        "nan",
        "٤",
        "9" * 5000,
    ],
)
def test_given_something_else_when_parsed_as_a_size_then_the_message_shows_it_and_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 4096, 10kB, 4G, 4GiB or 1.5 MiB") as caught:
        parse_size(text)
    assert str(caught.value).startswith(repr(text))


@pytest.mark.parametrize("text", ["9999999P", "999999999999999999K"])
def test_given_more_than_63_bits_when_parsed_then_it_is_called_too_large(text: str) -> None:
    with pytest.raises(ValueError, match=f"is more than {SIZE_BYTES_MAX} bytes"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"), (512, "512 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (1024**2 - 1, "1 MiB"),
        (4 * 1024**3, "4 GiB"), (1024**5, "1 PiB"), (5000 * 1024**5, "5000 PiB"),
    ],
)  # fmt: skip
def test_given_bytes_when_formatted_then_one_digit_and_a_unit(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


def test_given_a_negative_number_when_formatted_then_it_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(-1)
    with pytest.raises(ValueError, match="negative"):
        format_size(-1)
