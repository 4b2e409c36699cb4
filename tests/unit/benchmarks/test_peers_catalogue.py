"""The list of peers against what it leads to: adapters, pinned versions, the page."""

import re
from pathlib import Path

from benchmarks.peers import environment, report
from benchmarks.peers.catalogue import PEERS, reduced

ROOT = Path(__file__).parents[3]


def pins() -> dict[str, str]:
    lines = environment.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    found = [line.partition("#")[0].strip() for line in lines]
    return dict(line.split("==") for line in found if line)


def test_given_the_catalogue_then_each_peer_has_an_adapter_and_each_adapter_its_peer() -> None:
    adapters = {path.stem for path in (ROOT / "benchmarks" / "peers" / "adapters").glob("*.py")}
    assert sorted(peer.module for peer in PEERS) == sorted(adapters)


def test_given_what_is_installed_then_all_of_it_is_pinned_exactly_and_nothing_else_is() -> None:
    assert pins().keys() == {package for peer in PEERS for package in peer.packages}
    assert [pin for pin in pins().values() if not re.fullmatch(r"[\d.]+", pin)] == []


def test_given_the_peers_then_none_is_a_dependency_of_cyclone() -> None:
    required = (ROOT / "setup.cfg").read_text(encoding="utf-8").partition("[options]")[2].partition("[mypy]")[0]
    assert [name for name in pins() if re.search(rf"^ +{name}\b", required, re.MULTILINE)] == []


def test_given_a_quick_run_then_every_case_is_in_it_and_smaller() -> None:
    for full, quick in zip(PEERS, reduced(PEERS), strict=True):
        assert [case.variant for case in quick.cases] == [case.variant for case in full.cases]
        for small, large in zip(quick.cases, full.cases, strict=True):
            assert 0 < small.tasks < large.tasks
            assert (small.busy > 0, small.round_trips > 0) == (large.busy > 0, large.round_trips > 0)


def test_given_the_page_then_there_is_a_place_for_the_report(tmp_path: Path) -> None:
    copy = tmp_path / "peers.md"
    copy.write_text((ROOT / "docs" / "peers.md").read_text(encoding="utf-8"), encoding="utf-8")
    report.replace_measured(copy, "the report")
    assert "\nthe report\n" in copy.read_text(encoding="utf-8")
