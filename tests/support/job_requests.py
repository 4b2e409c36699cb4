"""What a client says to a scheduler about jobs, and what it hears."""

from collections.abc import Sequence
from typing import Any

from cyclone.master.actions import Action, Send
from cyclone.master.jobs.rights import ANYBODY, Who
from cyclone.protocol.client_messages import Answer
from cyclone.protocol.job_messages import (
    AddRequest,
    AnyFromClient,
    AnyToClient,
    CancelJobsRequest,
    ControlRequest,
    ExplainRequest,
    Explanation,
    SubmitRequest,
    Submitted,
)
from cyclone.protocol.job_spec import JobSelection, JobSpec, TaskBlock
from cyclone.protocol.messages import Offer, State
from tests.support.masters import Master, hello

CLIENT = b"client"
ANN = Who("ann", is_admin=False)
BOB = Who("bob", is_admin=False)
# Unix time minus the clock of the tests.
WALL_OFFSET_S = 1e9
_OPTIONS = {"task_class": "tests:Task"}


def key(name: str) -> bytes:
    """The key of a submission."""
    return name.encode().ljust(16, b".")


def block(count: int, offset: int = 0, **more: Any) -> TaskBlock | None:
    """So many tasks from an index on."""
    return TaskBlock(offset, [b"\x90"] * count, **more) if count else None


def ids(*job_ids: int) -> JobSelection:
    """These jobs."""
    return JobSelection(ids=[(job_id, job_id) for job_id in job_ids])


def ask(master: Master, request: AnyFromClient, who: Who = ANYBODY, known_job: int | None = None) -> list[Action]:
    """All that follows from a request."""
    master.scheduler.wall_offset_s = WALL_OFFSET_S
    return master.carry_out(master.scheduler.answer(CLIENT, request, master.now, who, known_job))


def told(actions: Sequence[Action]) -> AnyToClient:
    """The one answer to the client."""
    (answer,) = [action.message for action in actions if isinstance(action, Send) and action.peer == CLIENT]
    return answer  # type: ignore[return-value]


def submit(
    master: Master,
    count: int = 1,
    with_key: str = "k",
    who: Who = ANYBODY,
    sealed: bool = True,
    known_job: int | None = None,
    **options: Any,
) -> Submitted:
    """A job of so many tasks."""
    request = SubmitRequest(1, key(with_key), JobSpec(**(_OPTIONS | options)), block(count), sealed)
    answer = told(ask(master, request, who, known_job))
    assert isinstance(answer, Submitted)
    return answer


def add(
    master: Master, job_id: int, count: int, offset: int, sealed: bool = False, who: Who = ANYBODY, **more: Any
) -> Submitted:
    """More tasks for a job."""
    answer = told(ask(master, AddRequest(2, job_id, block(count, offset, **more), sealed), who))
    assert isinstance(answer, Submitted)
    return answer


def control(master: Master, action: Any, *job_ids: int, who: Who = ANYBODY) -> Answer:
    """Hold, release or seal jobs."""
    answer = told(ask(master, ControlRequest(3, ids(*job_ids), action), who))
    assert isinstance(answer, Answer)
    return answer


def cancel(master: Master, selection: JobSelection, who: Who = ANYBODY, **more: Any) -> tuple[Answer, list[Action]]:
    """End jobs, or tasks of them; what is said, and all that follows."""
    actions = ask(master, CancelJobsRequest(4, selection, **more), who)
    answer = told(actions)
    assert isinstance(answer, Answer)
    return answer, actions


def answer(actions: Sequence[Action]) -> Answer:
    """The one answer to the client, where it grants something or not."""
    found = told(actions)
    assert isinstance(found, Answer)
    return found


def counts(master: Master, job_id: int) -> dict[str, int]:
    """The tasks of an open job by state."""
    (one,), _ = master.scheduler.job_summaries(ids(job_id), 0, 9)
    return one.tasks


def events(master: Master, kind: type) -> list[Any]:
    """What was recorded of this kind."""
    return [event for event in master.recorded if isinstance(event, kind)]


def explain(master: Master, job_id: int, index: int | None = None) -> dict[str, str]:
    """Why it does not run: code and text."""
    answer = told(ask(master, ExplainRequest(5, job_id, index)))
    assert isinstance(answer, Explanation)
    return dict(answer.reasons)


def join(master: Master, name: str = "c1", slots: int = 2, credit: int = 0, **offer: object) -> int:
    """A controller that has something to offer; its session."""
    master.handle(hello(name, name[-1], slots, host=f"{name}.site", offer=Offer(**offer)), name)  # type: ignore[arg-type]
    session = master.scheduler.state.sessions.by_name[name].session_id
    if credit:
        master.handle(State(session, 1, 0, credit, slots, 0, []), name)
    return session
