"""Which record becomes which metric, and for how long."""

from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cyclone.sinks import gauges
from cyclone.sinks.gauges import Gauges
from cyclone.sinks.rows import Row, rows
from tests.support.metrics_records import Record, block, check, probe

NOW = 1_700_000_000.0
CHECK = "cyclone_lustre_file_creation_check"
CHECK_ERROR = "cyclone_lustre_file_creation_error"
CHECK_RUN = "cyclone_lustre_file_creation_check_last_run_timestamp_seconds"
WRITE, READ = "cyclone_lustre_ost_write_bytes_per_second", "cyclone_lustre_ost_read_bytes_per_second"
IO_ERROR, IO_RUN = "cyclone_lustre_ost_io_error", "cyclone_lustre_ost_io_last_run_timestamp_seconds"

Values = dict[tuple[str, ...], float]


def take(held: Gauges, *records: Record, at: float = NOW, now: float | None = None) -> None:
    """Records of a task that ended at this time."""
    for row in rows("j" * 32, block(*records, started=at - 1.0)):
        held.take(row, at if now is None else now)


def values(held: Gauges, *targets: str) -> dict[str, Values]:
    """What Prometheus reads of these targets, of all where none is named: by metric, then by label values."""
    text = generate_latest(held.of(*(targets or held.targets))).decode()
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def row(name: str, fields: Mapping[str, Any], ordinal: int = 1) -> Row:
    return Row("j", 7, 1, ordinal, name, "completed", "tasks:T", "node1", 1, NOW - 1, 1.0, 0.0, 0, "", fields)


@pytest.mark.parametrize(
    ("records", "checks", "error"),
    [
        ([check(0, 5)], {("0", "5"): 1.0}, 0.0),
        ([check(0, 5, "FAILED")], {("0", "5"): 0.0}, 0.0),
        ([check(0, 5), check(1, 5, "FAILED")], {("0", "5"): 1.0, ("1", "5"): 0.0}, 0.0),
        # Of the same MDT and OST the last one counts.
        ([check(0, 5), check(0, 5, "FAILED")], {("0", "5"): 0.0}, 0.0),
        ([check(0, 5, "ERROR")], {}, 1.0),
        ([check(0, 5), check(0, 5, "ERROR")], {}, 1.0),
        ([check(0, 5, "ERROR"), check(0, 5)], {("0", "5"): 1.0}, 0.0),
        ([check(0, 5, "ERROR"), check(0, 6)], {("0", "6"): 1.0}, 1.0),
        ([check(0, 5), check(0, 5, "IGNORED")], {}, 0.0),
        ([check(0, 5, "ERROR"), check(0, 5, "IGNORED")], {}, 0.0),
        ([check(0, 5), check(1, 5), check(0, 5, "IGNORED")], {("1", "5"): 1.0}, 0.0),
    ],
)
def test_given_file_creation_checks_then_the_metrics_of_the_original_say_how_they_went(
    records: list[Record], checks: Values, error: float
) -> None:
    held = Gauges(0)

    take(held, *records)

    found = values(held)
    # The parser gives labels in the order of the text, which is that of their names.
    assert {(mdt, ost): value for (mdt, ost, _), value in found[CHECK].items()} == checks
    assert found[CHECK_ERROR] == {("hebe",): error}
    assert found[CHECK_RUN] == {("hebe",): NOW}


def test_given_measurements_of_osts_then_there_are_throughputs_and_which_of_them_failed() -> None:
    held = Gauges(0)

    take(held, probe("OST0005"), probe("OST000a", None, None, error="EIO"), probe("OST000b", 1.0, 2.0))
    take(held, probe("OST000b", 0, 0, error="inactive"))

    found = values(held)
    assert found[WRITE] == {("OST0005", "hebe"): 1.5e9}
    assert found[READ] == {("OST0005", "hebe"): 2.5e9}
    assert found[IO_ERROR] == {("OST0005", "hebe"): 0.0, ("OST000a", "hebe"): 1.0}
    assert found[IO_RUN] == {("hebe",): NOW}
    assert CHECK not in found


def test_given_several_targets_then_each_is_a_group_and_together_they_are_one_text() -> None:
    held = Gauges(0)
    take(held, check(0, 5, target="hebe"), check(0, 5, "FAILED", target="nyx"), check(0, 6, "ERROR", target="nyx"))

    assert held.targets == ["hebe", "nyx"]
    assert values(held, "hebe")[CHECK] == {("0", "5", "hebe"): 1.0}
    assert values(held, "nyx")[CHECK_ERROR] == {("nyx",): 1.0}
    assert values(held)[CHECK_ERROR] == {("hebe",): 0.0, ("nyx",): 1.0}
    text = generate_latest(held.of(*held.targets)).decode()
    assert text.count(f"# TYPE {CHECK} gauge\n") == 1


def test_given_label_values_that_text_must_escape_then_they_are_read_back() -> None:
    target = 'he/be\\ "x"\nend'
    held = Gauges(0)

    take(held, check(0, 5, target=target))
    held.take(row("lustre_ost_io", {**probe("a\udcff")[1], "fs": target}), NOW)

    assert held.targets == [target]
    assert values(held)[CHECK] == {("0", "5", target): 1.0}
    # Bytes that are no text cannot be told either.
    assert list(values(held)[WRITE]) == [("a?", target)]


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        (
            "lustre_file_creation_check",
            {"outcome": "MAYBE"},
            "its outcome is 'MAYBE', not one of OK, FAILED, ERROR, IGN",
        ),
        ("lustre_file_creation_check", {"outcome": ["OK"]}, "its outcome is \"['OK']\""),
        ("lustre_file_creation_check", {"target": ""}, "its target is '', neither a number nor a name"),
        ("lustre_file_creation_check", {"target": None}, "its target is 'None', neither"),
        ("lustre_file_creation_check", {"target": "x" * 256}, "neither a number nor a name"),
        ("lustre_file_creation_check", {"mdt_index": None}, "its mdt_index is 'None', neither a number nor a name"),
        ("lustre_file_creation_check", {"ost_index": True}, "its ost_index is 'True', neither a number nor a name"),
        ("lustre_file_creation_check", {"ost_index": 1.5}, "its ost_index is '1.5', neither a number nor a name"),
        ("lustre_ost_io", {"ost": b"x"}, "its ost is"),
        ("lustre_ost_io", {"write_bytes_per_s": None}, "its write_bytes_per_s is 'None', and no number"),
        ("lustre_ost_io", {"read_bytes_per_s": float("nan")}, "its read_bytes_per_s is 'nan', and no number"),
    ],
)
def test_given_a_record_that_is_none_of_its_kind_then_it_is_refused_and_nothing_changes(
    name: str, change: dict[str, Any], reason: str
) -> None:
    held = Gauges(0)
    fields = dict([check(0, 5), probe("OST0005")])[name] | change

    with pytest.raises(ValueError, match="its") as caught:
        held.take(row(name, fields), NOW)

    assert reason in str(caught.value)
    assert held.targets == []


def test_given_other_rows_then_they_are_no_metrics() -> None:
    held = Gauges(0)

    assert held.take(row("lustre_migration", {"path": "/l/f"}), NOW) is False
    assert held.take(row("result", {"value": None, "args": []}, ordinal=0), NOW) is False
    # A result that is called like a record, by whoever made the block.
    assert held.take(row(*check(0, 5), ordinal=0), NOW) is False
    assert held.targets == []


def test_given_bounds_then_nothing_grows_beyond_them_and_what_is_there_still_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gauges, "TARGETS_MAX", 2)
    monkeypatch.setattr(gauges, "SERIES_MAX", 3)
    held = Gauges(0)
    take(held, check(0, 5, target="a"), check(0, 5, target="b"), check(0, 6, target="b"))

    with pytest.raises(ValueError, match="target 'c' would be one too many: at most 2 are kept; one that is gone"):
        held.take(row(*check(0, 5, target="c")), NOW)
    with pytest.raises(ValueError, match="one series too many"):
        held.take(row(*check(0, 7, target="b")), NOW)
    held.take(row(*check(0, 6, "FAILED", target="b")), NOW)

    assert held.series_count == 3
    assert values(held, "b")[CHECK] == {("0", "5", "b"): 1.0, ("0", "6", "b"): 0.0}


@pytest.mark.parametrize(
    ("expire_s", "age_s", "is_there"), [(100.0, 100.0, True), (100.0, 100.1, False), (0.0, 10_000_000.0, True)]
)
def test_given_a_value_that_is_not_measured_again_then_it_expires(
    expire_s: float, age_s: float, is_there: bool
) -> None:
    held = Gauges(expire_s)
    take(held, check(0, 5), check(0, 6, "ERROR"))

    held.expire(NOW + age_s)

    assert values(held)[CHECK] == ({("0", "5", "hebe"): 1.0} if is_there else {})
    assert values(held)[CHECK_ERROR] == {("hebe",): 1.0 if is_there else 0.0}
    # That it was measured, and when, is told for good.
    assert values(held)[CHECK_RUN] == {("hebe",): NOW}


def test_given_no_expire_then_a_value_lasts_for_three_rounds_as_long_as_those_take() -> None:
    held = Gauges(0)
    for number in range(3):
        take(held, check(0, 5), check(0, 6), at=NOW + 60 * number)
    # Tried again within a second by one of them: that is no round.
    take(held, check(0, 5), at=NOW + 121)
    for number in range(3, 6):
        take(held, check(0, 5), at=NOW + 60 * number)

    held.expire(NOW + 120 + 180)
    assert {ost for _, ost, _ in values(held)[CHECK]} == {"5", "6"}
    held.expire(NOW + 120 + 180.1)
    assert {ost for _, ost, _ in values(held)[CHECK]} == {"5"}


@pytest.mark.parametrize(("age_s", "is_there"), [(180.0, True), (180.1, False)])
def test_given_rounds_that_are_shorter_than_the_interval_of_publishing_then_a_value_lasts_for_three_intervals(
    age_s: float, is_there: bool
) -> None:
    held = Gauges(0, round_min_s=60)
    for number in range(3):
        take(held, check(0, 5), at=NOW + number)

    held.expire(NOW + 2 + age_s)

    assert bool(values(held)[CHECK]) is is_there


def test_given_an_ost_that_was_seen_once_then_it_expires_by_the_rounds_of_the_others() -> None:
    held = Gauges(0)
    take(held, check(0, 5), check(0, 6))
    take(held, check(0, 5), at=NOW + 60)
    take(held, check(0, 5), at=NOW + 240)

    held.expire(NOW + 600)

    assert {ost for _, ost, _ in values(held)[CHECK]} == {"5"}


def test_given_a_node_whose_clock_was_wrong_for_a_round_then_values_expire_as_if_it_had_not_been() -> None:
    held = Gauges(0)
    for number in range(3):
        take(held, check(0, 5), check(0, 7), at=NOW + 60 * number)
        take(held, check(0, 6), at=0.0 if number == 1 else NOW + 60 * number, now=NOW + 60 * number)

    held.expire(NOW + 120 + 180)
    assert held.series_count == 3
    held.expire(NOW + 120 + 180.1)
    assert held.series_count == 0


def test_given_a_clock_that_is_ahead_then_its_values_expire_like_others() -> None:
    held = Gauges(100)

    take(held, check(0, 5), at=NOW + 5000, now=NOW)
    assert values(held)[CHECK_RUN] == {("hebe",): NOW}
    held.expire(NOW + 101)

    assert values(held)[CHECK] == {}


def test_given_our_own_clock_that_was_ahead_for_a_while_then_nothing_stays_fresh_by_that() -> None:
    held = Gauges(100)
    take(held, check(0, 5), at=NOW + 86400, now=NOW + 86400)

    held.expire(NOW)

    assert values(held)[CHECK] == {}
    assert values(held)[CHECK_RUN] == {("hebe",): NOW}


@pytest.mark.parametrize("started", [float("nan"), float("inf"), -float("inf"), 1e308])
def test_given_a_record_at_no_time_then_the_state_can_be_kept_all_the_same(started: float) -> None:
    held, again = Gauges(0), Gauges(0)
    take(held, check(0, 5), at=started, now=NOW)
    take(held, check(0, 5), at=NOW, now=NOW)

    again.load(held.dump())

    assert values(again) == values(held)


def test_given_records_that_come_late_then_they_are_as_old_as_they_are() -> None:
    held = Gauges(100)

    take(held, check(0, 5), at=NOW - 3600, now=NOW)
    held.expire(NOW)

    assert values(held)[CHECK] == {}
    assert values(held)[CHECK_RUN] == {("hebe",): NOW - 3600}


def test_given_what_was_dumped_when_loaded_then_it_goes_on_as_it_was_and_taking_again_changes_nothing() -> None:
    held = Gauges(0)
    for number in range(2):
        take(held, check(0, 5), check(1, 5, "ERROR"), probe("OST0005"), at=NOW + 60 * number)
    again = Gauges(0)

    again.load(held.dump())
    assert values(again) == values(held)
    assert again.dump() == held.dump()
    take(again, check(0, 5), check(1, 5, "ERROR"), probe("OST0005"), at=NOW + 60)

    assert again.dump() == held.dump()
    again.expire(NOW + 60 + 180.1)
    assert again.series_count == 0


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"[]",
        b'{"version": 2, "targets": {}}',
        b'{"version": 1, "targets": {"a": 7}}',
        b'{"version": 1, "targets": {"a": {"lustre_ost_io": {"last_run": 1, "samples": [[["5"], [1], 1, 0]]}}}}',
        b'{"version": 1, "targets": {"a": {"lustre_ost_io": {"last_run": 1, "samples": [[["5", "6"], [], 1, 0]]}}}}',
    ],
)
def test_given_what_is_no_state_then_it_is_refused(state: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Gauges(0).load(state)
