"""What a session's outcomes say: ratios, tables, and where Cyclone is behind. In Markdown, for docs/peers.md.

A figure is the median of its runs. A ratio is the median of the pairs' own ratios, because what else happens on a
machine meets both halves of a pair alike; it is turned so that above 1 Cyclone is ahead.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.catalogue import Case, Peer
from benchmarks.peers.session import Outcome, Report

BEGIN = "<!-- measured by make bench-peers: begin -->"
END = "<!-- measured by make bench-peers: end -->"

_SPEED = (
    "peer",
    "version",
    "case",
    "other nodes",
    "killed worker's tasks",
    "batches by",
    "tasks",
    "tasks/s",
    "spread",
    "Cyclone in memory / peer",
    "Cyclone durable / peer",
)
_OTHERS = ("peer", "case", "p50 in us", "p99 in us", "peer's p50 / Cyclone's", "busy efficiency", "Cyclone's", "ratio")


@dataclass(frozen=True)
class Wanted:
    """A ratio that this project sets itself, None where the session has not measured it."""

    measure: str
    ratio: float | None
    must: float
    aim: float | None

    def cells(self) -> tuple[str, ...]:
        met = "-" if self.ratio is None else "yes" if self.ratio >= self.must else "no"
        found = "not measured" if self.ratio is None else _number(self.ratio)
        return (self.measure, found, f"{self.must:g}", "" if self.aim is None else f"{self.aim:g}", met)


def speed_ratios(outcome: Outcome, ours: str) -> list[float]:
    """Of each pair, Cyclone's tasks/s (``memory`` or ``durable``) over the peer's."""
    return [mine[f"{ours}.tasks_per_s"] / theirs["tasks_per_s"] for mine, theirs in outcome.pairs]


def round_trip_ratios(outcome: Outcome) -> list[float]:
    """Of each pair, the peer's p50 over Cyclone's."""
    return [theirs["p50_us"] / mine["latency.p50_us"] for mine, theirs in outcome.pairs if "p50_us" in theirs]


def efficiency_ratios(outcome: Outcome) -> list[float]:
    """Of each pair, Cyclone's efficiency over the peer's."""
    return [m["busy.efficiency"] / theirs["efficiency"] for m, theirs in outcome.pairs if "efficiency" in theirs]


def wanted(outcomes: Sequence[Outcome]) -> list[Wanted]:
    """The figures that this project wants to reach."""

    def best(admits: Callable[[Outcome], bool]) -> Outcome | None:
        found = [o for o in outcomes if o.pairs and o.peer.cluster and o.case.batching == "nobody" and admits(o)]
        return max(found, key=lambda o: _median(t["tasks_per_s"] for _, t in o.pairs), default=None)

    def named(module: str, variant: str) -> Outcome | None:
        found = (o for o in outcomes if o.pairs and o.peer.module == module and o.case.variant == variant)
        return next(found, None)

    recovering = "the best un-chunked cluster peer that runs a killed worker's tasks again"
    lines = [
        (recovering, best(lambda o: o.case.recovers), 150, 300),
        ("the best un-chunked cluster peer", best(lambda o: True), 150, 300),
        ("Parsl, chunked by hand", named("parsl", "chunk=256"), 1, None),
        ("joblib, which finds its batches itself", named("joblib", "auto"), 1, None),
        ("the standard library's pool", named("pool", "chunk=64"), 0.3, None),
    ]
    return [
        Wanted(
            f"{title} ({_name(found)}), {kind}" if found else f"{title}, {kind}",
            _median(speed_ratios(found, ours)) if found else None,
            must,
            aim,
        )
        for title, found, must, aim in lines
        for ours, kind in (("memory", "in memory"), ("durable", "durable"))
    ]


def losses(outcomes: Iterable[Outcome]) -> list[str]:
    """Each measure in which a peer is ahead of Cyclone."""
    measures: list[tuple[str, Callable[[Outcome], list[float]]]] = [
        ("no-op tasks/s, in memory", lambda o: speed_ratios(o, "memory")),
        ("no-op tasks/s, durable", lambda o: speed_ratios(o, "durable")),
        ("round trip, p50", round_trip_ratios),
        ("efficiency of busy tasks", efficiency_ratios),
    ]
    return [
        f"{_name(outcome)}: {measure}, {_number(_median(ratios))}"
        for outcome in outcomes
        for measure, of in measures
        if (ratios := of(outcome)) and _median(ratios) < 1
    ]


def speed_table(outcomes: Sequence[Outcome], missing: Sequence[tuple[Peer, str]]) -> str:
    """Throughput: Cyclone's two rows, then every case, also those that gave no figure."""
    rows = [
        (
            "Cyclone",
            "",
            kind,
            "yes",
            "run again",
            "Cyclone",
            "",
            *_figure(_ours(outcomes, f"{key}.tasks_per_s")),
            "",
            "",
        )
        for key, kind in (("memory", "in memory"), ("durable", "durable"))
    ]
    return markdown(_SPEED, [*rows, *map(_speed_row, outcomes), *(_absent(*m, len(_SPEED)) for m in missing)])


def others_table(outcomes: Sequence[Outcome]) -> str:
    """Round trips and busy tasks, of the cases that have them."""
    p50, p99 = (_figure(_ours(outcomes, f"latency.{name}"))[0] for name in ("p50_us", "p99_us"))
    efficiency = _median_cell(_ours(outcomes, "busy.efficiency"))
    rows: list[tuple[str, ...]] = [("Cyclone", "in memory", p50, p99, "", efficiency, efficiency, "")]
    for outcome in outcomes:
        theirs = [report for _, report in outcome.pairs]
        trips = [report for report in theirs if "p50_us" in report]
        spins = [report for report in theirs if "efficiency" in report]
        if trips or spins:
            rows.append(
                (
                    outcome.peer.title,
                    outcome.case.variant,
                    _figure([report["p50_us"] for report in trips])[0],
                    _figure([report["p99_us"] for report in trips])[0],
                    _median_cell(round_trip_ratios(outcome)),
                    _median_cell([report["efficiency"] for report in spins]),
                    _median_cell([mine["busy.efficiency"] for mine, report in outcome.pairs if "efficiency" in report]),
                    _median_cell(efficiency_ratios(outcome)),
                )
            )
    return markdown(_OTHERS, rows)


def page(
    machine: Report, outcomes: Sequence[Outcome], missing: Sequence[tuple[Peer, str]], commands: Sequence[str]
) -> str:
    """Everything that a session has to say."""
    behind = [f"- {line}" for line in losses(outcomes)] or ["- Nowhere in this session."]
    peers = list({o.peer.module: o.peer for o in outcomes}.values()) + [peer for peer, _ in missing]
    offers = [f"- **{peer.title}.** {peer.offers}" for peer in peers]
    head = "On {date}: {cpu}, {cores} cores, load {load} before, Python {python}, Cyclone {cyclone}; {rounds} rounds."
    parts = [
        head.format(**machine),
        "### No-op tasks\n\n" + speed_table(outcomes, missing),
        "### Round trips, and busy tasks of 1 ms\n\n" + others_table(outcomes),
        "### What this project wants\n\nCyclone's tasks/s over those of:\n\n"
        + markdown(("measure", "ratio", "must", "aim", "met"), [line.cells() for line in wanted(outcomes)]),
        "### Where Cyclone is behind\n\nWith the ratio, below 1 as the peer is ahead:\n\n" + "\n".join(behind),
        "### What each offers that the figure does not show\n\n" + "\n".join(offers),
        "### The commands\n\n" + "\n".join(f"    {command}" for command in commands),
    ]
    return "\n\n".join(parts) + "\n"


def replace_measured(path: Path, text: str) -> None:
    """Put a session's report between the two marks of a page.

    Raises:
        SystemExit: the page does not have both marks.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path}: without {BEGIN} and {END} there is no place for the report")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def as_json(machine: Report, outcomes: Sequence[Outcome], missing: Sequence[tuple[Peer, str]]) -> dict[str, Any]:
    """Every run, for those who compute otherwise."""
    return {
        "machine": machine,
        "cases": [
            {
                "peer": outcome.peer.module,
                "variant": outcome.case.variant,
                "pairs": [{"cyclone": mine, "peer": theirs} for mine, theirs in outcome.pairs],
                "failures": outcome.failures,
            }
            for outcome in outcomes
        ],
        "not_installed": {peer.module: reason for peer, reason in missing},
        "wanted": [vars(line) for line in wanted(outcomes)],
    }


def markdown(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table, its columns aligned."""
    lines = [header, *(tuple(cell.replace("|", "/") for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])


def _speed_row(outcome: Outcome) -> tuple[str, ...]:
    theirs = [report for _, report in outcome.pairs]
    figure, spread = _figure([report["tasks_per_s"] for report in theirs])
    if outcome.failures:
        lost = f"{len(outcome.failures)} failed: {outcome.failures[0]}"
        figure, spread = (figure, f"{spread}; {lost}") if theirs else (lost, "")
    return (
        outcome.peer.title,
        str(theirs[0]["version"]) if theirs else "",
        outcome.case.variant,
        *_kind(outcome.peer, outcome.case),
        f"{outcome.case.tasks:,}",
        figure,
        spread,
        _with_spread(speed_ratios(outcome, "memory")),
        _with_spread(speed_ratios(outcome, "durable")),
    )


def _kind(peer: Peer, case: Case) -> tuple[str, str, str]:
    return ("yes" if peer.cluster else "no", "run again" if case.recovers else "lost", case.batching)


def _absent(peer: Peer, reason: str, columns: int) -> tuple[str, ...]:
    return (peer.title, "", f"does not install: {reason}", *[""] * (columns - 3))


def _ours(outcomes: Iterable[Outcome], figure: str) -> list[float]:
    """Of each of Cyclone's runs once, though the cases of a peer share it."""
    reports = {id(mine): mine for outcome in outcomes for mine, _ in outcome.pairs}
    return [float(report[figure]) for report in reports.values()]


def _name(outcome: Outcome) -> str:
    return f"{outcome.peer.title}, {outcome.case.variant}"


def _median(values: Iterable[float]) -> float:
    return float(statistics.median(values))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _figure(values: Sequence[float]) -> tuple[str, str]:
    return (_number(_median(values)), f"{_number(min(values))}..{_number(max(values))}") if values else ("", "")


def _median_cell(values: Sequence[float]) -> str:
    return _number(_median(values)) if values else ""


def _with_spread(values: Sequence[float]) -> str:
    return "{} ({})".format(*_figure(values)) if values else ""
