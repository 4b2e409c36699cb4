"""What the comparison with peers makes of its runs: ratios, tables, losses, and the place of all that in a page."""

from pathlib import Path

import pytest

from benchmarks.peers import report
from benchmarks.peers.catalogue import Case, Peer
from benchmarks.peers.session import Outcome, Report

MACHINE = {"date": "2026-11-21", "cpu": "A CPU", "cores": 2, "load": 0.1, "python": "3.11", "cyclone": "3", "rounds": 3}


def ours(memory: float = 1000.0, durable: float = 500.0, p50: float = 400.0, efficiency: float = 0.9) -> Report:
    return {
        "memory.tasks_per_s": memory,
        "durable.tasks_per_s": durable,
        "latency.p50_us": p50,
        "latency.p99_us": 2 * p50,
        "busy.efficiency": efficiency,
    }


def theirs(speed: float, **figures: float) -> Report:
    return {"version": "1.2", "tasks_per_s": speed, **figures}


def outcome(
    module: str,
    *pairs: tuple[Report, Report],
    variant: str = "single",
    cluster: bool = True,
    recovers: bool = True,
    batching: str = "nobody",
    failures: tuple[str, ...] = (),
) -> Outcome:
    case = Case(variant, 1_000, batching, recovers)
    peer = Peer(module, module.title(), (module,), cluster, f"What {module} offers.", (case,))
    return Outcome(peer, case, list(pairs), list(failures))


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def row(outcomes: list[Outcome], peer: str) -> dict[str, str]:
    """The line of a peer in the table of no-op tasks."""
    header, _, *rows = cells(report.speed_table(outcomes, []))
    [found] = [row for row in rows if row[0] == peer]
    return dict(zip(header, found, strict=True))


def test_given_pairs_then_the_ratio_is_the_median_of_their_own_ratios_and_not_of_the_figures() -> None:
    # The medians of the figures are 1,000 and 100: their ratio is 10, that of no pair but one.
    pairs = [(ours(1000), theirs(10)), (ours(4000), theirs(100)), (ours(900), theirs(300))]
    found = row([outcome("dask", *pairs)], "Dask")
    assert found["tasks/s"] == "100"
    assert found["spread"] == "10..300"
    assert found["Cyclone in memory / peer"] == "40 (3..100)"
    assert found["version"] == "1.2"


@pytest.mark.parametrize(
    ("theirs_p50", "expected"), [(4000.0, 10.0), (400.0, 1.0), (40.0, 0.1)], ids=["slower", "equal", "faster"]
)
def test_given_a_round_trip_then_its_ratio_is_above_one_where_cyclone_is_ahead(
    theirs_p50: float, expected: float
) -> None:
    found = outcome("dask", (ours(p50=400), theirs(1, p50_us=theirs_p50, p99_us=1)))
    assert report.round_trip_ratios(found) == [pytest.approx(expected)]


def test_given_cases_that_share_a_run_of_cyclone_then_it_counts_once() -> None:
    shared, later = ours(100), ours(900)
    outcomes = [outcome(name, (shared, theirs(1)), (later, theirs(1))) for name in ("dask", "ray")]
    outcomes.append(outcome("huey", (shared, theirs(1))))
    header, _, memory, durable, *_ = cells(report.speed_table(outcomes, []))
    assert memory[header.index("tasks/s")] == "500"
    assert memory[header.index("spread")] == "100..900"
    assert durable[header.index("case")] == "durable"


def test_given_a_case_that_always_failed_then_its_line_says_so_and_has_no_figure() -> None:
    outcomes = [outcome("dask", failures=("no result | within 60 s",)), outcome("ray", (ours(), theirs(1)))]
    found = row(outcomes, "Dask")
    assert found["tasks/s"] == "1 failed: no result / within 60 s"
    assert found["Cyclone in memory / peer"] == ""


def test_given_a_case_that_failed_once_then_its_figure_stands_beside_the_failure() -> None:
    found = row([outcome("dask", (ours(), theirs(7)), failures=("it broke",))], "Dask")
    assert found["tasks/s"] == "7"
    assert found["spread"] == "7..7; 1 failed: it broke"


def test_given_a_peer_that_does_not_install_then_it_has_a_line_with_the_reason() -> None:
    missing = outcome("ray").peer
    *_, last = cells(
        report.speed_table([outcome("dask", (ours(), theirs(1)))], [(missing, "No matching distribution")])
    )
    assert last[:3] == ["Ray", "", "does not install: No matching distribution"]


def test_given_nothing_but_failures_then_there_is_still_a_page() -> None:
    text = report.page(MACHINE, [outcome("dask", failures=("it broke",))], [], ["a command"])
    assert "1 failed: it broke" in text
    assert "not measured" in text
    assert "- Nowhere in this session." in text


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (theirs(999), ["no-op tasks/s, durable, 0.501"]),
        (theirs(2000), ["no-op tasks/s, in memory, 0.5", "no-op tasks/s, durable, 0.25"]),
        (theirs(1, p50_us=100.0, p99_us=1.0), ["round trip, p50, 0.25"]),
        (theirs(1, efficiency=0.96), ["efficiency of busy tasks, 0.938"]),
        (theirs(1, p50_us=401.0, p99_us=1.0, efficiency=0.89), []),
    ],
)
def test_given_a_measure_in_which_a_peer_is_ahead_then_it_is_listed(figures: Report, expected: list[str]) -> None:
    found = report.losses([outcome("dask", (ours(), figures))])
    assert found == [f"Dask, single: {line}" for line in expected]


def test_given_the_wanted_ratios_then_each_is_over_the_fastest_peer_of_its_kind() -> None:
    outcomes = [
        outcome("huey", (ours(), theirs(5)), recovers=False),
        outcome("dask", (ours(), theirs(4))),
        outcome("ray", (ours(), theirs(3))),
        outcome("celery", (ours(), theirs(90)), batching="the user"),
        outcome("futures", (ours(), theirs(80)), cluster=False),
        outcome("parsl", (ours(), theirs(500)), variant="chunk=256", batching="the user"),
        outcome("pool", (ours(), theirs(4000)), variant="chunk=64", cluster=False, batching="the user"),
    ]
    recovering = "the best un-chunked cluster peer that runs a killed worker's tasks again (Dask, single)"
    fastest = "the best un-chunked cluster peer (Huey, single)"
    assert [line.cells() for line in report.wanted(outcomes)] == [
        (f"{recovering}, in memory", "250", "150", "300", "yes"),
        (f"{recovering}, durable", "125", "150", "300", "no"),
        (f"{fastest}, in memory", "200", "150", "300", "yes"),
        (f"{fastest}, durable", "100", "150", "300", "no"),
        ("Parsl, chunked by hand (Parsl, chunk=256), in memory", "2", "1", "", "yes"),
        ("Parsl, chunked by hand (Parsl, chunk=256), durable", "1", "1", "", "yes"),
        ("joblib, which finds its batches itself, in memory", "not measured", "1", "", "-"),
        ("joblib, which finds its batches itself, durable", "not measured", "1", "", "-"),
        ("the standard library's pool (Pool, chunk=64), in memory", "0.25", "0.3", "", "no"),
        ("the standard library's pool (Pool, chunk=64), durable", "0.125", "0.3", "", "no"),
    ]


def test_given_a_page_then_it_has_the_machine_every_peer_and_every_command() -> None:
    text = report.page(
        MACHINE, [outcome("dask", (ours(), theirs(1)))], [(outcome("ray").peer, "why")], ["a command", "another"]
    )
    assert text.startswith("On 2026-11-21: A CPU, 2 cores, load 0.1 before, Python 3.11, Cyclone 3; 3 rounds.\n")
    assert "- **Dask.** What dask offers.\n- **Ray.** What ray offers.\n" in text
    assert text.endswith("    a command\n    another\n")


def test_given_a_page_with_marks_then_only_what_is_between_them_is_replaced_each_time(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.replace_measured(path, "first\n")
    report.replace_measured(path, "second\n")
    assert path.read_text() == f"before\n{report.BEGIN}\n\nsecond\n\n{report.END}\nafter\n"


@pytest.mark.parametrize("text", ["", report.BEGIN, report.END, f"{report.END}{report.BEGIN}"])
def test_given_a_page_without_its_marks_then_it_is_refused_and_left_as_it_was(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"page\.md: without <!-- .* there is no place for the report"):
        report.replace_measured(path, "new")
    assert path.read_text() == text
