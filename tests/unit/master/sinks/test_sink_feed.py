"""The master's feeds: what a sink gets when, whatever it says or does not say, and what of it people hear."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from cyclone.errors import ConfigError
from cyclone.master.journal import JournalFull, NoJournal
from cyclone.master.sinks import sink_feeds as module
from cyclone.master.sinks.sink_feed import SinkOptions, SinkStatus
from cyclone.master.sinks.sink_feeds import SinkFeeds
from cyclone.protocol import wire
from cyclone.protocol.messages import FORBIDDEN, Refused
from cyclone.protocol.sink_messages import Attach, Attached, Stored
from cyclone.version import __version__
from tests.support.played_sink import JOURNAL, Harness, PlayedJournal

STRANGER = "0" * 32
FULL = "no room"


@pytest.fixture
def master(caplog: pytest.LogCaptureFixture) -> Iterator[Harness]:
    """With five results in its journal."""
    caplog.set_level(logging.INFO)
    with Harness(last=5) as harness:
        yield harness


def attach(master: Harness, number: int = 0, sink: int = 0) -> None:
    """It is asked how far it is, and answers."""
    played = master.sinks[sink]
    master.until(lambda: played.attaches() > 0)
    played.got.clear()
    played.say(Attached(JOURNAL, number))
    master.until(lambda: master.feeds.status()[sink].attached)


def status(master: Harness, sink: int = 0) -> SinkStatus:
    return master.feeds.status()[sink]


class TestOrder:
    def test_given_a_connection_then_the_sink_is_asked_how_far_it_is_until_it_answers(self, master: Harness) -> None:
        master.until(lambda: master.sink.attaches() == 1)
        assert master.sink.got == [Attach(JOURNAL, "host-1", __version__, True)]
        master.settle()
        assert master.sink.attaches() == 1
        master.pass_s(2.0)
        master.until(lambda: master.sink.attaches() == 2)
        assert not status(master).attached

    def test_given_a_sink_that_is_behind_then_it_gets_what_it_lacks_out_of_the_journal(self, master: Harness) -> None:
        attach(master, 2)
        master.until(lambda: master.sink.numbers() == [3, 4, 5])
        assert status(master)[:4] == (master.sink.target, True, 2, 3)
        master.sink.say(Stored(JOURNAL, 4, ""))
        master.until(lambda: status(master).position == 4)
        master.sink.say(Stored(JOURNAL, 5, ""))
        master.until(lambda: status(master).lag == 0)
        assert not master.turn()

    def test_given_a_sink_that_has_caught_up_then_it_gets_results_from_memory(self, master: Harness) -> None:
        attach(master, 5)
        for number in (6, 7):
            master.record()
            master.until(lambda number=number: master.sink.numbers()[-1:] == [number])  # type: ignore[misc]
        assert isinstance(master.journal, PlayedJournal)
        assert master.journal.asked_after == []

    def test_given_a_sink_that_falls_behind_then_it_gets_all_in_order(
        self, master: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attach(master, 5)
        size = 700_000
        master.record(30, size)
        seen: list[int] = []
        while len(seen) < 30:
            master.until(lambda: bool(master.sink.got))
            seen += master.sink.numbers()
            master.sink.got.clear()
            master.sink.say(Stored(JOURNAL, seen[-1], ""))
        assert seen == list(range(6, 36))
        assert isinstance(master.journal, PlayedJournal)
        assert len(master.journal.asked_after) == 1

    def test_given_two_sinks_then_each_has_a_place_of_its_own(self) -> None:
        with Harness(last=4, sinks=2) as master:
            attach(master, 4, sink=0)
            attach(master, 1, sink=1)
            master.record()
            master.until(lambda: master.sinks[0].numbers() == [5] and master.sinks[1].numbers()[-1:] == [5])
            assert master.sinks[1].numbers() == [2, 3, 4, 5]

    def test_given_results_that_the_journal_has_given_up_then_empty_blocks_stand_for_them_and_it_is_said(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Harness(PlayedJournal(3, 5, 6), last=8) as master:
            attach(master)
            master.until(lambda: len(master.sink.numbers()) == 8)
            assert master.sink.numbers() == [-1, -2, 3, -4, 5, 6, -7, -8]
            assert status(master).gone == 5
            # Sent again, they are not more.
            master.sink.restart()
            master.until(lambda: not status(master).attached)
            attach(master)
            master.until(lambda: len(master.sink.numbers()) == 8)
            assert status(master).gone == 5
        # One line at once, and the rest with the end.
        told = [record.args for record in caplog.records if "not to be had" in record.message]
        assert sum(args[1] for args in told) == 5  # type: ignore[index,misc]

    def test_given_results_that_fit_no_message_then_an_empty_block_stands_for_them(
        self, master: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(module, "_BLOCK_BYTES_MAX", 1000)
        attach(master, 5)
        master.record(size=2000)
        master.record()
        master.until(lambda: master.sink.numbers() == [-6, 7])
        assert "results of 1 tasks from 6 on are too large for a sink" in caplog.text


class TestLosses:
    def test_given_a_sink_that_is_started_again_then_it_is_asked_again_and_goes_on(self, master: Harness) -> None:
        attach(master, 2)
        master.until(lambda: master.sink.numbers() == [3, 4, 5])
        master.sink.restart()
        master.until(lambda: not status(master).attached)
        master.record()
        attach(master, 4)
        master.until(lambda: master.sink.numbers() == [5, 6])

    def test_given_no_answer_then_it_is_asked_and_all_from_the_last_answer_comes_again(
        self, master: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        attach(master, 2)
        master.until(lambda: master.sink.numbers() == [3, 4, 5])
        master.sink.say(Stored(JOURNAL, 3, ""))
        master.until(lambda: status(master).position == 3)
        master.sink.got.clear()
        master.pass_s(10.1)
        attach(master, 3)
        master.until(lambda: master.sink.numbers() == [4, 5])
        assert f"sink {master.sink.target}: no answer for 10 s; what it lacks is kept" in caplog.text

    def test_given_nothing_to_send_then_it_is_asked_now_and_then_and_its_silence_shows(self, master: Harness) -> None:
        attach(master, 5)
        master.settle()
        assert master.sink.got == []
        master.pass_s(60.1)
        master.until(lambda: master.sink.attaches() == 1)
        master.sink.say(Attached(JOURNAL, 5))
        master.settle()
        master.pass_s(10.1)
        master.settle()
        assert status(master).attached
        master.pass_s(50.0)
        master.until(lambda: master.sink.attaches() == 2)
        master.pass_s(10.1)
        master.until(lambda: not status(master).attached)

    def test_given_a_sink_that_has_lost_its_spool_then_it_is_said_and_all_comes_again(
        self, master: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        attach(master, 5)
        master.sink.restart()
        master.until(lambda: not status(master).attached)
        attach(master, 1)
        master.until(lambda: master.sink.numbers() == [2, 3, 4, 5])
        assert "has 1 result blocks where it had 5: its spool was lost" in caplog.text
        assert master.feeds.consumed(5) == 1

    def test_given_a_journal_that_cannot_be_read_now_then_it_is_tried_again(
        self, master: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert isinstance(master.journal, PlayedJournal)
        master.journal.failure = JournalFull("there is no memory")
        attach(master)
        master.settle()
        assert master.sink.numbers() == []
        assert caplog.text.count("the journal cannot be read now: there is no memory") == 1
        master.journal.failure = None
        master.until(lambda: master.sink.numbers() == [1, 2, 3, 4, 5])


class TestFull:
    def test_given_a_sink_without_room_then_it_is_tried_now_and_then_until_it_has_some(
        self, master: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        attach(master, 2)
        master.until(lambda: master.sink.numbers() == [3, 4, 5])
        master.sink.say(Stored(JOURNAL, 3, FULL))
        master.until(lambda: status(master).full == FULL)
        master.sink.got.clear()
        master.record()
        master.settle()
        assert master.sink.got == []
        for _ in range(2):
            master.pass_s(1.1)
            master.until(lambda: master.sink.numbers() == [4, 5, 6])
            master.sink.got.clear()
            master.sink.say(Stored(JOURNAL, 3, FULL))
            master.settle()
        master.pass_s(1.1)
        master.until(lambda: master.sink.numbers() == [4, 5, 6])
        master.sink.say(Stored(JOURNAL, 6, ""))
        master.until(lambda: status(master).lag == 0)
        assert status(master).full == ""
        master.record()
        master.until(lambda: master.sink.numbers()[-1:] == [7])
        assert caplog.text.count(f"takes nothing more, results wait in the journal: {FULL}") == 1
        assert caplog.text.count("takes results again") == 1

    def test_given_answers_to_what_was_under_way_then_they_do_not_put_off_the_next_try(self, master: Harness) -> None:
        attach(master, 2)
        master.until(lambda: master.sink.numbers() == [3, 4, 5])
        master.sink.say(Stored(JOURNAL, 2, FULL))
        master.until(lambda: status(master).full == FULL)
        master.sink.got.clear()
        master.pass_s(0.7)
        master.sink.say(Stored(JOURNAL, 2, "still no room"))
        master.until(lambda: status(master).full == "still no room")
        assert master.sink.got == []
        master.pass_s(0.4)
        master.until(lambda: master.sink.numbers() == [3, 4, 5])

    def test_given_a_sink_without_room_then_what_it_is_tried_with_is_one_message_however_much_it_lacks(
        self, master: Harness
    ) -> None:
        attach(master, 5)
        master.record(6, size=1_100_000)
        master.until(lambda: len(master.sink.numbers()) == 6)
        master.sink.say(Stored(JOURNAL, 5, FULL))
        master.until(lambda: status(master).full == FULL)
        master.sink.got.clear()
        master.pass_s(1.1)
        master.until(lambda: bool(master.sink.got))
        master.settle()
        assert master.sink.numbers() == [6]
        master.sink.say(Stored(JOURNAL, 6, ""))
        master.until(lambda: master.sink.numbers() == [6, 7, 8, 9, 10, 11])


class TestRubbish:
    @pytest.mark.parametrize(
        ("frames", "text"),
        [
            ([b"HTTP", b""], "magic b'HTTP' is not b'CYC1'"),
            ([b"CYC1", b"\xc1"], "dropped a bad message"),
            ([b"CYC1"], "1 frames where 2 belong"),
            (wire.encode(Attach(JOURNAL, "n", "1", True)), "dropped a bad message"),
            (wire.encode(Attached(STRANGER, 1)), "an answer about another journal"),
            (wire.encode(Stored(STRANGER, 1, "")), "an answer about another journal"),
            (wire.encode(Stored(JOURNAL, 9, "")), "it claims to have 9, which it was not sent"),
        ],
    )
    def test_given_rubbish_then_it_is_counted_and_said_once_and_nothing_is_applied(
        self, master: Harness, caplog: pytest.LogCaptureFixture, frames: list[bytes], text: str
    ) -> None:
        attach(master, 2)
        for _ in range(3):
            master.sink.say_frames(frames)
        master.until(lambda: status(master).bad_messages == 3)
        assert status(master)[1:4] == (True, 2, 3)
        assert len([record for record in caplog.records if "bad message" in record.message]) == 1
        assert text in caplog.text
        master.sink.say(Stored(JOURNAL, 5, ""))
        master.until(lambda: status(master).lag == 0)

    def test_given_a_sink_that_has_more_than_the_journal_then_nothing_is_sent(
        self, master: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        master.until(lambda: master.sink.attaches() == 1)
        master.sink.say(Attached(JOURNAL, 9))
        master.settle()
        assert "it has 9 result blocks of a journal that had 5: that is an older copy" in caplog.text
        # Nor later, when there are so many: they are others.
        master.record(7)
        master.sink.got.clear()
        master.pass_s(31.0)
        master.until(lambda: master.sink.attaches() == 1)
        master.sink.say(Attached(JOURNAL, 9))
        master.settle()
        assert master.sink.numbers() == []
        assert not status(master).attached
        assert master.feeds.consumed(12) == 0

    def test_given_a_sink_that_refuses_us_then_it_is_left_alone_for_a_while(
        self, master: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        master.until(lambda: master.sink.attaches() == 1)
        master.sink.say(Refused(FORBIDDEN, "", "this key was revoked"))
        master.settle()
        master.pass_s(20.0)
        master.settle()
        assert master.sink.attaches() == 1
        master.pass_s(15.0)
        master.until(lambda: master.sink.attaches() == 2)
        assert "we are refused: this key was revoked" in caplog.text

    def test_given_an_answer_of_a_former_connection_then_it_says_nothing(self, master: Harness) -> None:
        master.until(lambda: master.sink.attaches() == 1)
        master.sink.say(Stored(JOURNAL, 4, ""))
        master.settle()
        assert (status(master).position, status(master).bad_messages) == (0, 0)


class TestKeeping:
    def test_given_sinks_then_the_journal_keeps_what_one_of_them_lacks(self) -> None:
        with Harness(last=5, sinks=2) as master:
            assert master.feeds.consumed(5) == 0
            attach(master, 4, sink=0)
            assert master.feeds.consumed(5) == 0
            attach(master, 3, sink=1)
            assert [master.feeds.consumed(number) for number in (5, 2)] == [3, 2]

    def test_given_no_sink_then_only_the_generator_counts(self) -> None:
        with Harness(last=5, sinks=1) as master:
            feeds = SinkFeeds(zmq.Poller(), SinkOptions(), master.journal, 5)
            assert feeds.consumed(3) == 3
            assert feeds.lacking(is_patient=True) == []

    def test_given_a_target_that_nobody_can_connect_to_then_it_is_named(self) -> None:
        with pytest.raises(ConfigError, match=r"\[sink\] targets: '\*:5777' is no host and port to connect to"):
            SinkFeeds(zmq.Poller(), SinkOptions(("*:5777",)), PlayedJournal(), 5)

    @pytest.mark.parametrize(
        ("answer", "patient", "impatient"),
        [(None, 1, 0), (Attached(JOURNAL, 3), 1, 1), (Attached(JOURNAL, 5), 0, 0)],
        ids=["away", "behind", "has all"],
    )
    def test_given_an_end_then_who_is_waited_for_depends_on_how_long_there_is(
        self, master: Harness, answer: Any, patient: int, impatient: int
    ) -> None:
        master.until(lambda: master.sink.attaches() == 1)
        if answer:
            master.sink.say(answer)
            master.until(lambda: status(master).attached)
        assert len(master.feeds.lacking(is_patient=True)) == patient
        assert len(master.feeds.lacking(is_patient=False)) == impatient


class TestWithoutJournal:
    def test_given_no_journal_then_a_sink_that_comes_later_gets_what_memory_has(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(module, "RECENT_BYTES_MAX", 4000)
        journal = NoJournal()
        journal.journal_id = JOURNAL
        with Harness(journal) as master:
            master.record(6, size=1000)
            master.until(lambda: master.sink.attaches() == 1)
            assert master.sink.got == [Attach(JOURNAL, "host-1", __version__, False)]
            attach(master)
            master.until(lambda: master.sink.numbers() == [-1, -2, -3, 4, 5, 6])
            assert status(master).gone == 3
            master.sink.say(Stored(JOURNAL, 6, ""))
            master.until(lambda: status(master).lag == 0)
            master.record()
            master.until(lambda: master.sink.numbers()[-1:] == [7])
        assert "no journal: 3 result blocks were dropped so far" in caplog.text


class TestWhatPeopleHear:
    def test_given_a_sink_that_does_not_answer_then_it_is_said_once_and_then_seldom(
        self, master: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        text = f"sink {master.sink.target}: is behind by 5 result blocks, after 0: no answer"
        master.settle()
        assert text not in caplog.text
        for expected in (1, 1, 1, 2):
            master.pass_s(200.0)
            master.settle()
            assert caplog.text.count(text) == expected
        attach(master, 5)
        master.pass_s(31.0)
        master.settle()
        assert caplog.text.count("is not behind any more") == 1

    def test_given_a_sink_that_is_slow_then_it_is_behind_where_it_lacks_what_there_was_half_a_minute_ago(
        self, master: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        attach(master, 4)
        master.until(lambda: master.sink.numbers() == [5])
        master.pass_s(9.0)
        master.sink.say(Stored(JOURNAL, 5, ""))
        master.record(3)
        master.until(lambda: master.sink.numbers() == [5, 6, 7, 8])
        for _ in range(5):
            # It lives, and has nothing to show for it.
            master.pass_s(9.0)
            master.sink.say(Attached(JOURNAL, 5))
            master.settle()
        assert caplog.text.count("is behind by 3 result blocks, after 5: it is slower than they come") == 1
