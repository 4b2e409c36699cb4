"""What the master's body answers by itself, and that it knows whose request has led to what."""

from cyclone.master.actions import Record, Send
from cyclone.master.clients.client_desk import ClientDesk, ClientOptions
from cyclone.master.journal import NoJournal
from cyclone.protocol.event_messages import EventsReport, EventsRequest
from cyclone.protocol.job_messages import NOT_ALLOWED, SEALED, SubmitRequest, Submitted
from cyclone.protocol.job_spec import JobSpec
from cyclone.security.key_files import PeerEntry
from cyclone.security.roles import PeerRole
from tests.support.job_requests import CLIENT, block, key
from tests.support.masters import EPOCH, Master


def desk(master: Master, may_submit: bool = True) -> ClientDesk:
    return ClientDesk(ClientOptions(may_submit), master.scheduler, NoJournal(), lambda *_: True)


def entry(name: str, role: PeerRole = "client") -> PeerEntry:
    return PeerEntry(name, role, "k" * 40, "")


def submitting() -> SubmitRequest:
    return SubmitRequest(7, key("k"), JobSpec(task_class="tests:Task"), block(2), sealed=True)


def test_given_a_request_when_it_is_recorded_then_the_log_has_the_name_of_the_key() -> None:
    master = Master()
    opened = desk(master)
    actions = opened.ask(CLIENT, submitting(), entry("ann"), master.now)
    opened.recorded([action.event for action in actions if isinstance(action, Record)])
    (answer,) = opened.ask(CLIENT, EventsRequest(8), entry("bob", "monitor"), master.now)
    assert isinstance(answer, Send)
    assert isinstance(answer.message, EventsReport)
    assert (answer.message.request, answer.message.epoch) == (8, EPOCH)
    assert [(event.kind, event.by) for event in answer.message.events] == [
        ("master_started", ""),
        ("job_submitted", "ann"),
    ]


def test_given_the_same_key_of_another_user_then_it_makes_another_job() -> None:
    master = Master()
    opened = desk(master)
    users = [entry("ann"), entry("bob"), entry("root", "admin"), entry("ann"), None, entry("bob")]
    answers = [opened.ask(CLIENT, submitting(), user, master.now)[-1] for user in users]
    jobs = [one.message.job_id for one in answers if isinstance(one, Send) and isinstance(one.message, Submitted)]
    assert jobs == [1, 2, 3, 1, 4, 2]


def test_given_more_tasks_than_the_job_of_the_key_had_at_its_end_then_they_are_refused() -> None:
    master, journal = Master(), NoJournal()
    opened = ClientDesk(ClientOptions(may_submit=True), master.scheduler, journal, lambda *_: True)
    empty = SubmitRequest(6, key("k"), JobSpec(task_class="tests:Task"), None, sealed=True)
    actions = [*opened.ask(CLIENT, empty, None, master.now), *master.scheduler.advance(master.now, master.now)]
    journal.append([action.event for action in actions if isinstance(action, Record)])
    (answer,) = opened.ask(CLIENT, submitting(), None, master.now)
    text = "job 1 takes no more tasks: it has ended with 0 of them"
    assert answer == Send(CLIENT, Submitted(7, 1, 0, sealed=True, room=0, code=SEALED, text=text))
    assert opened.ask(CLIENT, empty, None, master.now) == [Send(CLIENT, Submitted(6, 1, 0, sealed=True, room=0))]


def test_given_a_master_that_takes_no_jobs_then_a_submission_is_refused_and_nothing_has_happened() -> None:
    master = Master()
    opened = desk(master, may_submit=False)
    (answer,) = opened.ask(CLIENT, submitting(), None, master.now)
    assert isinstance(answer, Send)
    assert isinstance(answer.message, Submitted)
    assert answer.message.code == NOT_ALLOWED
    assert opened.log.answer(EventsRequest(1)).last == 1
