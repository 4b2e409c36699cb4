"""The messages between a master and a sink: recorded results on their way to a database or to metrics.

Owns this part of the one language of docs/protocol.md. Must not import anything of Cyclone but its limits and the other
messages. A sink remembers by itself how far it has come with each journal, in the transaction that keeps the results:
so nothing is lost and nothing comes twice, whoever is killed, and the master remembers nothing of its sinks.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from cyclone.protocol import limits
from cyclone.protocol.messages import Count, Incarnation, Name, Positive, Text


class ToSink(msgspec.Struct, array_like=True, frozen=True, tag_field="t"):
    """Base of what a master says to a sink. ``journal_id`` is whose results they are."""

    journal_id: Incarnation


class FromSink(msgspec.Struct, array_like=True, frozen=True, tag_field="t"):
    """Base of what a sink says."""

    journal_id: Incarnation


class Attach(ToSink, tag=401, frozen=True):
    """How far have you come with this journal? First message of a connection, again until it is answered, and each
    minute while there is nothing to send.

    ``name`` is the master's host, ``durable`` whether what it sends can be sent again after a crash of the master.
    """

    name: Name
    version: Name
    durable: bool


class Blocks(ToSink, tag=402, frozen=True):
    """Recorded results, numbered from ``first`` on without a gap: each a ``cyclone.results.RecordedBlock`` in msgpack.

    An empty one stands for one that the master has no more. Sent again from the last number that is ``Stored`` when no
    answer comes.
    """

    first: Positive
    blocks: Annotated[list[bytes], Meta(min_length=1, max_length=limits.BATCHES_PER_MESSAGE_MAX)]


class Attached(FromSink, tag=501, frozen=True):
    """Answers ``Attach``: all up to ``number`` is on this sink's disk, go on behind it."""

    number: Count


class Stored(FromSink, tag=502, frozen=True):
    """Answers ``Blocks``, one or several: all up to ``number`` is on this sink's disk.

    ``full`` says why no more is taken for now; empty where it is.
    """

    number: Count
    full: Text


AnyToSink = Attach | Blocks
AnyFromSink = Attached | Stored
