"""What clients say to a master, and what it answers, about itself and its controllers.

Owns this part of the one language of docs/protocol.md; what is about jobs stands in ``job_messages``. Must not import
anything of Cyclone but its limits and the other messages. A client has no session: each request stands for itself, and
its number comes back in the answer.
"""

import msgspec

from cyclone.protocol.messages import Count, Epoch, Name, Offer, Seconds, Slots, TaskId, Text


class FromClient(msgspec.Struct, array_like=True, frozen=True, tag_field="t"):
    """Base of what a client says: no session, each request stands for itself. ``request`` comes back in the answer."""


class ToClient(msgspec.Struct, array_like=True, frozen=True, tag_field="t"):
    """Base of what a master answers to a client."""


class StatusRequest(FromClient, tag=201, frozen=True):
    """What is going on?"""

    request: Count


class CancelRequest(FromClient, tag=202, frozen=True):
    """End these tasks, whosever they are: ``first`` to ``last``, of the class and in the state unless that is empty.

    ``state`` is ``queued`` for what no controller holds, ``leased`` for what one does. Answered at once; what runs ends
    when its controller says so.
    """

    request: Count
    first: TaskId
    last: TaskId
    task_class: Text
    state: Text


class DrainRequest(FromClient, tag=203, frozen=True):
    """No new tasks for this controller, or with ``undo`` tasks again. What runs there is finished."""

    request: Count
    controller: Name
    undo: bool


class ControllerStatus(msgspec.Struct, array_like=True, frozen=True):
    """A controller as the master sees it. ``open`` tasks are leased to it; ``silent_s`` is how long it has not spoken.

    ``mark`` is empty, ``drained``, ``suspected``, or ``leaving``: it only finishes what it runs. Of the ``busy`` slots
    so many are ``resting``: their last task has ended, and its job wants them to wait.
    """

    name: Name
    host: Name
    slots: Slots
    open: Count
    silent_s: Seconds
    mark: Text
    busy: Slots = 0
    offer: Offer = Offer()
    version: Text = ""
    python: Text = ""
    resting: Slots = 0


class StatusReport(ToClient, tag=301, frozen=True):
    """Answers ``StatusRequest``. ``tasks`` counts by state; ``pulled`` is what the generator has yielded so far.

    ``qos`` are the classes of service that a job may name: its priority and weight.
    """

    request: Count
    version: Name
    journal: Text
    epoch: Epoch
    tasks: dict[str, Count]
    pulled: Count
    exhausted: bool
    stopping: bool
    awaited: list[Name]
    controllers: list[ControllerStatus]
    qos: dict[Name, tuple[int, float]] = {}


class Answer(ToClient, tag=302, frozen=True):
    """Answers the other requests: whether it is granted, how many tasks or controllers it is about, and what to say.

    ``names`` of controllers belong behind the text, where people see them folded. ``code`` is ``not_allowed`` where who
    asks has no right to it, else empty.
    """

    request: Count
    granted: bool
    count: Count
    text: Text
    names: list[Name] = []
    code: Text = ""


# What a client can ask about the master itself, and the answers.
AboutMaster = StatusRequest | CancelRequest | DrainRequest
OfMaster = StatusReport | Answer
