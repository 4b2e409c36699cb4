"""Ranges and node sets: what people write, what is refused and how it is said, and that folding loses nothing."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ClusterShell import NodeSet
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclone.ranges import NUMBERS_MAX, fold_nodes, fold_ranges, node_set, number_ranges, range_set

RANGES = [
    ("5", [5]),
    ("0-2,5,8", [0, 1, 2, 5, 8]),
    ("8,0-2,1", [0, 1, 2, 8]),
    ("0-10/2", [0, 2, 4, 6, 8, 10]),
    ("0-10:2", [0, 2, 4, 6, 8, 10]),
    ("0-9:4,20-30/5", [0, 4, 8, 20, 25, 30]),
    (" 1 - 3 , 7 ", [1, 2, 3, 7]),
    ("1,\n3", [1, 3]),
    ("007-010", [7, 8, 9, 10]),
    ("0-5!2-3", [0, 1, 4, 5]),
    ("0-9&5-20", [5, 6, 7, 8, 9]),
    ("0-5^4-8", [0, 1, 2, 3, 6, 7, 8]),
    # From left to right, as ClusterShell has it for nodes.
    ("0-3!1,1", [0, 1, 2, 3]),
    ("0x0-0x3,0x1f", [0, 1, 2, 3, 31]),
    ("OST0009-OST000b", [9, 10, 11]),
    ("ost000A", [10]),
    ("MDT0010", [16]),
    ("OST0000-OST000f/5", [0, 5, 10, 15]),
    ("0-783!OST0001-OST030e", [0, 783]),
]
HEXADECIMAL = [
    ("0-1f/10", [0, 10, 20, 30]),
    ("10", [16]),
    ("0x10,OST0010,0010", [16]),
]
NO_RANGES = [
    ("", "''"),
    ("a", "'a' is not a range of numbers"),
    ("1,,2", "'' is not a range"),
    ("1,", "'' is not a range"),
    ("-1", "'-1' is not a range"),
    ("1.5", "'1.5' is not a range"),
    ("1-", "'1-' is not a range"),
    ("1-2-3", "'1-2-3' is not a range"),
    ("1f", "'1f' is not a range"),
    ("0x", "'0x' is not a range"),
    ("OST", "'OST' is not a range"),
    ("0xg", "'0xg' is not a range"),
    ("٣", "'٣' is not a range"),
    ("5/2", "'5/2' is not a range"),
    ("0-5:x", "'0-5:x' is not a range"),
    ("0-5/0", "'0-5/0' has a step of 0; write at least 1"),
    ("5-3", "'5-3' begins behind its end; write the smaller number first"),
    ("3!3", "holds no number"),
    ("9" * 19, "is not a range"),
    ("0-999999999", "holds more than 100,000 numbers: write a shorter range"),
    ("0-99999,5", "holds more than 100,000 numbers"),
    ("0x0-0xffffffff", "holds more than 100,000 numbers"),
]
NODES = [
    ("node1", ["node1"]),
    ("node[001-003]", ["node001", "node002", "node003"]),
    ("node[0-4/2]", ["node0", "node2", "node4"]),
    ("node[0-4:2]", ["node0", "node2", "node4"]),
    ("node[1-2,0-6:3]", ["node0", "node1", "node2", "node3", "node6"]),
    ("node2,node1,node2", ["node1", "node2"]),
    ("n1, n2,\nn3", ["n1", "n2", "n3"]),
    ("node[1-4]!node[2-3]", ["node1", "node4"]),
    ("node[1-4]&node[3-9]", ["node3", "node4"]),
    ("node[1-3]^node[3-4]", ["node1", "node2", "node4"]),
    ("foo[1-2]-bar[1-2]", ["foo1-bar1", "foo1-bar2", "foo2-bar1", "foo2-bar2"]),
    ("[7,007]", ["7", "007"]),
    ("lab/node[1-2]", ["lab/node1", "lab/node2"]),
    ("node1-controller", ["node1-controller"]),
    ("@rack1", ["node1", "node2", "node3"]),
    ("@rack1!node2", ["node1", "node3"]),
    ("@local:rack2", ["node4"]),
    ("@both", ["node1", "node2", "node3", "node4"]),
    ("@*", ["node1", "node2", "node3", "node4"]),
]
NO_NODES = [
    ("", "names no node"),
    ("node[1", 'missing bracket: "node[1"'),
    ("node1]", "illegal closing bracket"),
    ("node[5-3]", "bad range"),
    ("node[01-3]", "padding length mismatch"),
    ("node[a-c]", "bad range"),
    ("n1,,n2", "missing nodeset operand"),
    ("n1!", "missing nodeset operand"),
    ("n1!n1", "names no node"),
    ("n1 n2", "it holds a blank, write a comma between names"),
    ("@nobody", "ClusterShell has no group @nobody on this host"),
    ("node1,@nobody", "ClusterShell has no group @nobody on this host"),
    ("@elsewhere:rack1", "ClusterShell has no such group on this host: elsewhere"),
    ("node[0-999999999]", "names more than 100,000 nodes: write a shorter range"),
    ("a[1-1000]b[1-1000]", "names more than 100,000 nodes"),
    ("node[0-999999999]!node[5-999999999]", "names more than 100,000 nodes"),
    ("node[0-99999],other", "names more than 100,000 nodes"),
]


@pytest.fixture(autouse=True, scope="module")
def _groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Groups as /etc/clustershell would have them."""
    folder = tmp_path_factory.mktemp("clustershell")
    (folder / "groups.conf").write_text(f"[Main]\ndefault: local\nconfdir: {folder}\nautodir: {folder}\n")
    (folder / "local.yaml").write_text("local:\n  rack1: 'node[1-3]'\n  rack2: node4\n  both: '@rack1,@rack2'\n")
    NodeSet.set_std_group_resolver_config(str(folder / "groups.conf"))
    yield
    NodeSet.set_std_group_resolver(None)


def test_given_ranges_of_any_length_then_they_can_be_had_without_their_numbers() -> None:
    assert number_ranges("5, 0-999999999, 3-9:2") == [range(5, 6), range(1_000_000_000), range(3, 10, 2)]
    with pytest.raises(ValueError, match="write 0-2,5"):
        number_ranges("0-3!1")


@pytest.mark.parametrize(("text", "numbers"), RANGES)
def test_given_a_range_when_read_then_it_is_its_numbers(text: str, numbers: list[int]) -> None:
    assert range_set(text) == numbers


@pytest.mark.parametrize(("text", "numbers"), HEXADECIMAL)
def test_given_hexadecimal_numbers_on_request_then_they_need_no_prefix(text: str, numbers: list[int]) -> None:
    assert range_set(text, hexadecimal=True) == numbers


@pytest.mark.parametrize(("text", "message"), NO_RANGES)
def test_given_something_else_when_read_as_a_range_then_the_message_begins_with_it(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        range_set(text)
    assert str(caught.value).startswith(repr(text))
    assert message in str(caught.value)
    assert "write" in str(caught.value)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.sets(st.integers(0, 4000), max_size=200), st.booleans())
def test_given_numbers_when_folded_then_they_are_read_back(numbers: set[int], hexadecimal: bool) -> None:
    folded = fold_ranges(numbers, hexadecimal)
    assert (range_set(folded) if folded else []) == sorted(numbers)


@pytest.mark.parametrize(
    ("numbers", "folded", "in_hexadecimal"),
    [([], "", ""), ([5], "5", "0x5"), ([31, 0, 2, 1], "0-2,31", "0x0-0x2,0x1f"), (range(784), "0-783", "0x0-0x30f")],
)
def test_given_numbers_when_folded_then_it_is_short(numbers: list[int], folded: str, in_hexadecimal: str) -> None:
    assert (fold_ranges(numbers), fold_ranges(numbers, hexadecimal=True)) == (folded, in_hexadecimal)


def test_given_as_many_numbers_as_may_be_then_they_are_read() -> None:
    assert len(range_set(f"1-{NUMBERS_MAX}")) == NUMBERS_MAX


def test_given_many_numbers_one_by_one_then_reading_them_is_quick() -> None:
    before_s = time.process_time()
    assert len(range_set(",".join(map(str, range(60_000))))) == 60_000
    # A fifth of a second; where each is joined to a copy of all before it takes thirty times as long.
    assert time.process_time() - before_s < 2.5


@pytest.mark.parametrize(("text", "names"), NODES)
def test_given_a_set_of_nodes_when_read_then_it_is_their_names(text: str, names: list[str]) -> None:
    assert node_set(text) == names


@pytest.mark.parametrize(("text", "message"), NO_NODES)
def test_given_no_set_of_nodes_then_the_message_begins_with_it(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        node_set(text)
    assert str(caught.value).startswith(repr(text))
    assert message in str(caught.value)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.sets(st.from_regex(r"[a-z]{1,2}[0-9]{0,3}(-[0-9]{1,2})?", fullmatch=True), max_size=20))
def test_given_names_when_folded_then_node_set_reads_them_back(names: set[str]) -> None:
    folded = fold_nodes(names)
    assert set(node_set(folded) if folded else []) == names


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.sets(st.text("ab019-_.+:/@%[]{},!&^*?\\'\"é٣", min_size=1), max_size=10))
def test_given_any_names_that_a_peer_may_have_then_folding_them_is_no_error(names: set[str]) -> None:
    assert bool(fold_nodes(names)) == bool(names)


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], ""),
        (["n" + "9" * 120, "n" + "9" * 18], f"n{'9' * 18},n{'9' * 120}"),
        (["node2", "node1", "node2"], "node[1-2]"),
        ([f"node{number:03}" for number in (1, 2, 3, 4, 7)], "node[001-004,007]"),
        (["a1-b1", "a1-b2", "a2-b1", "a2-b2"], "a[1-2]-b[1-2]"),
        (["alpha", "beta"], "alpha,beta"),
        # Any name that a controller may have; none of these is asked of a group source.
        (["node1", "@*", "a[1-3]", "n*", "x!y", "50%"], "node1,50%,@*,a[1-3],n*,x!y"),
    ],
)
def test_given_names_when_folded_then_it_is_short(names: list[str], folded: str) -> None:
    assert fold_nodes(names) == folded


def test_given_thousands_of_names_of_two_numbers_then_folding_them_is_quick() -> None:
    names = {f"node{number % 100:03}-{number * 7919 % 1_000_003}" for number in range(3000)}
    folded = fold_nodes(names)
    assert folded.count("node") == 100
    assert set(node_set(",".join(folded.split(",node")[:1]))) <= names


def test_given_the_module_alone_then_it_does_not_load_clustershell() -> None:
    code = "import sys, cyclone.ranges, cyclone.generator; sys.exit('ClusterShell' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False, timeout=20)
    assert done.returncode == 0
