"""Agents whose invariants are re-derived when a test is over."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.controllers import Node, check

NewNode = Callable[..., Node]


@pytest.fixture
def new_node() -> Iterator[NewNode]:
    """Makes nodes with the options given."""
    made: list[Node] = []

    def make(**options: object) -> Node:
        made.append(Node(**options))
        return made[-1]

    yield make
    for node in made:
        check(node.agent)


@pytest.fixture
def node(new_node: NewNode) -> Node:
    """A node with a session and two workers that wait for work."""
    node = new_node()
    node.open()
    return node
