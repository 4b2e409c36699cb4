"""The source: what a generator gets to see of the results, what becomes of its tasks, and what of its deaths.

The generator process is played by a feed that the test speaks through, the journal by a list.
"""

from collections.abc import Callable

import pytest

from cyclone.master.events import TasksAdded
from cyclone.master.generator import source as module
from cyclone.master.generator.feed_pipe import Advanced, Block, Failed, FromGenerator, Started
from cyclone.master.generator.progress import GeneratorProgress
from cyclone.protocol.messages import ErrorRecord
from cyclone.protocol.runs import Runs
from cyclone.protocol.sockets import POLLIN, POLLOUT
from tests.support.masters import JOB, kinds
from tests.support.sources import Body, PlayedFeed

AHEAD = 4 << 20


NewBody = Callable[..., Body]


@pytest.fixture
def new_body(monkeypatch: pytest.MonkeyPatch) -> NewBody:
    monkeypatch.setattr(module, "Feed", PlayedFeed)
    return Body


@pytest.fixture
def body(new_body: NewBody) -> Body:
    """A generator that wants results, started on an empty journal."""
    body = new_body()
    body.start()
    body.turn(Started(True))
    return body


def block(count: int, progress: GeneratorProgress, keys: list[bytes] | None = None, runs: Runs | None = None) -> Block:
    jobs = [JOB, JOB._replace(task_class="tests:Other")]
    return Block(jobs, runs or [(0, count)], [b"%d" % row for row in range(count)], progress, keys)


class TestResults:
    def test_given_results_while_it_runs_then_each_reaches_it_in_order_and_in_the_same_turn(self, body: Body) -> None:
        body.record(2)
        assert body.feed.delivered == [1, 2]
        body.turn()
        body.record(1)
        body.turn()
        assert body.feed.delivered == [1, 2, 3]
        assert body.feed.flushed == 3
        assert body.journal.asked_after == []
        assert not body.master.scheduler.catching_up

    @pytest.mark.parametrize("replays", [True, False])
    def test_given_results_before_it_has_said_what_it_wants_then_none_is_missed(
        self, new_body: NewBody, replays: bool
    ) -> None:
        body = new_body(replays)
        body.start()
        body.record(2)
        body.turn()
        body.turn(Started(True))
        body.record(1)
        body.turn()
        assert body.feed.delivered == [1, 2, 3]
        assert not body.master.scheduler.catching_up

    @pytest.mark.parametrize("cursor_consumed", [0, 3, 5])
    def test_given_results_of_before_its_start_then_those_behind_its_cursor_come_first_and_the_end_waits_for_them(
        self, new_body: NewBody, cursor_consumed: int
    ) -> None:
        body = new_body()
        body.record(5)
        body.master.advanced(cursor_consumed=cursor_consumed, consumed=5, exhausted=True)
        body.start()
        assert body.feed.progress.cursor_consumed == cursor_consumed
        assert body.master.scheduler.catching_up
        assert not body.master.scheduler.all_done
        body.record(1)
        body.turn()
        body.turn(Started(True))
        body.record(1)
        body.turn()
        assert body.feed.delivered == list(range(cursor_consumed + 1, 8))
        assert body.journal.asked_after == ([cursor_consumed] if cursor_consumed < 5 else [])
        assert not body.master.scheduler.catching_up

    def test_given_a_slow_generator_then_what_is_read_ahead_is_bounded_and_live_results_queue_behind(
        self, new_body: NewBody
    ) -> None:
        body = new_body()
        body.record(6)
        body.start()
        body.feed.bytes_each = AHEAD // 2
        body.turn(Started(True))
        assert body.feed.delivered == [1, 2]
        body.record(2)
        body.turn()
        assert body.feed.delivered == [1, 2]
        for _ in range(3):
            body.feed.channel.write()
            body.turn()
        assert body.feed.delivered == [1, 2, 3, 4, 5, 6, 7, 8]
        assert not body.master.scheduler.catching_up
        body.record(1)
        assert body.feed.delivered[-1] == 9
        assert body.journal.asked_after == [0]

    def test_given_a_generator_that_takes_nothing_then_the_master_knows_what_waits_for_it(self, body: Body) -> None:
        body.feed.bytes_each = 700
        body.record(2)
        body.turn()
        assert body.master.scheduler.backlog_bytes == 1400
        assert body.polled[body.feed.channel.fileno()] == POLLIN | POLLOUT
        body.source.take_in({body.feed.channel.fileno(): POLLOUT}, body.master.now)
        body.source.turn()
        assert body.master.scheduler.backlog_bytes == 0
        assert body.polled[body.feed.channel.fileno()] == POLLIN

    def test_given_a_generator_that_wants_none_then_all_count_as_consumed_and_none_is_delivered(
        self, new_body: NewBody
    ) -> None:
        body = new_body()
        body.record(3)
        body.start()
        body.turn(Started(False))
        assert body.master.scheduler.consumed == 3
        assert not body.master.scheduler.catching_up
        body.record(1)
        body.turn()
        assert body.feed.delivered == []
        assert (body.master.scheduler.consumed, body.source.consumed) == (4, 4)

    def test_given_a_generator_that_wants_them_then_the_journal_may_forget_those_before_its_cursor(
        self, body: Body
    ) -> None:
        body.record(3)
        body.turn(Advanced(GeneratorProgress(consumed=3, cursor_consumed=2)))
        assert (body.master.scheduler.consumed, body.source.consumed) == (3, 2)

    def test_given_it_has_failed_then_results_have_no_reader_any_more(self, body: Body) -> None:
        body.turn(Failed(ErrorRecord("ValueError", "no")))
        body.record(2)
        body.turn()
        assert body.feed.delivered == []
        assert body.master.scheduler.consumed == 2


class TestTasks:
    def test_given_a_block_then_its_tasks_are_recorded_with_the_progress_that_made_them(self, body: Body) -> None:
        progress = GeneratorProgress(pulled=3)
        actions = body.turn(block(3, progress, runs=[(1, 2), (0, 1)]))
        assert kinds(actions) == ["Record JobAdded", "Record JobAdded", "Record TasksAdded", "Record GeneratorAdvanced"]
        assert body.master.scheduler.state.progress == progress
        assert body.master.scheduler.state.last_id == 3

    def test_given_no_task_then_the_progress_is_recorded_all_the_same(self, body: Body) -> None:
        assert kinds(body.turn(Advanced(GeneratorProgress(exhausted=True)))) == ["Record GeneratorAdvanced"]
        assert body.master.scheduler.state.progress.exhausted

    @pytest.mark.parametrize(
        ("keys", "runs", "kept", "kept_runs", "kept_keys"),
        [
            pytest.param([b"a", b"b", b"c"], [(0, 3)], [0, 1, 2], [(1, 3)], [b"a", b"b", b"c"], id="all are new"),
            pytest.param([b"a", b"b", b"a"], [(0, 3)], [0, 1], [(1, 2)], [b"a", b"b"], id="one comes twice"),
            pytest.param([b"a", b"x", b""], [(0, 1), (1, 2)], [0, 2], [(1, 1), (2, 1)], [b"a", b""], id="one is known"),
            pytest.param([b"x", b"", b""], [(0, 1), (1, 2)], [1, 2], [(2, 2)], [b"", b""], id="a whole run is known"),
            pytest.param([b"", b"", b""], [(0, 3)], [0, 1, 2], [(1, 3)], [b"", b"", b""], id="none has a key"),
        ],
    )
    def test_given_keys_then_a_task_with_a_known_one_is_not_another_task(
        self, body: Body, keys: list[bytes], runs: Runs, kept: list[int], kept_runs: Runs, kept_keys: list[bytes]
    ) -> None:
        body.turn(block(1, GeneratorProgress(pulled=1), [b"x"]))
        actions = body.turn(block(3, GeneratorProgress(pulled=4), keys, runs))
        args = [b"%d" % row for row in kept]
        added = [action.event for action in actions if kinds([action]) == ["Record TasksAdded"]]  # type: ignore[union-attr]
        assert added == [TasksAdded(2, kept_runs, args, kept_keys)]
        assert body.master.scheduler.state.progress.pulled == 4

    def test_given_a_block_of_a_known_size_then_nobody_counts_its_arguments_again(self, body: Body) -> None:
        whole = block(2, GeneratorProgress(pulled=2))
        whole.size_bytes = 1000
        body.turn(whole)
        assert body.master.scheduler.state.lanes.window.fresh_bytes == 1000
        part = block(2, GeneratorProgress(pulled=4), [b"x", b"x"])
        part.size_bytes = 1000
        body.turn(part)
        assert body.master.scheduler.state.lanes.window.fresh_bytes == 1001

    def test_given_only_known_keys_then_nothing_is_added_but_the_progress(self, body: Body) -> None:
        body.turn(block(1, GeneratorProgress(pulled=1), [b"x"]))
        assert kinds(body.turn(block(2, GeneratorProgress(pulled=3), [b"x", b"x"]))) == ["Record GeneratorAdvanced"]
        assert body.master.scheduler.state.last_id == 1

    def test_given_room_then_it_is_granted(self, body: Body) -> None:
        assert body.feed.granted == body.master.scheduler.pull_limit() > 0


class TestDeath:
    def test_given_its_process_dies_then_another_goes_on_from_what_is_recorded(self, body: Body) -> None:
        first = body.feed
        progress = GeneratorProgress(b"cursor", 2, 1, pulled=4, consumed=2)
        body.record(3)
        body.turn(block(4, progress))
        body.kill()
        assert first.closed
        assert body.feed is not first
        assert body.source.failure is None
        assert body.feed.progress == progress
        assert body.master.scheduler.catching_up
        body.record(1)
        body.turn(Started(True))
        body.record(1)
        assert body.feed.delivered == [2, 3, 4, 5]
        assert first.delivered == [1, 2, 3]

    def test_given_last_words_then_they_count(self, body: Body) -> None:
        progress = GeneratorProgress(pulled=2)
        assert kinds(body.kill(block(2, progress)))[-1] == "Record GeneratorAdvanced"
        assert body.feed.progress == progress

    def test_given_it_dies_again_and_again_without_coming_further_then_it_is_given_up(self, body: Body) -> None:
        for _ in range(5):
            body.kill()
            assert body.source.failure is None
        body.kill()
        assert body.source.failure is not None
        assert body.source.failure.type == "GeneratorDied"

    def test_given_it_comes_further_each_time_then_it_may_die_as_often_as_it_likes(self, body: Body) -> None:
        for number in range(1, 20):
            body.kill(block(1, GeneratorProgress(pulled=number)))
        assert body.source.failure is None

    @pytest.mark.parametrize("reason", ["an exception", "the journal keeps nothing", "stopping", "finished"])
    def test_given_another_start_would_not_help_then_there_is_none(self, new_body: NewBody, reason: str) -> None:
        body = new_body(replays=reason != "the journal keeps nothing", exit_when_done=True)
        body.start()
        body.turn(Started(True))
        first = body.feed
        last_words: list[FromGenerator] = []
        if reason == "an exception":
            last_words = [Failed(ErrorRecord("ValueError", "no"))]
        elif reason == "stopping":
            body.master.scheduler.stop(body.master.now)
        elif reason == "finished":
            body.turn(Advanced(GeneratorProgress(exhausted=True)))
            assert "Finish" in kinds(body.master.advance())
        body.kill(*last_words)
        assert body.feed is first
        assert first.failure is not None

    def test_given_another_process_then_nothing_of_the_former_is_polled(self, body: Body) -> None:
        body.kill()
        assert body.polled == {body.feed.pidfd: POLLIN, body.feed.channel.fileno(): POLLIN}

    def test_given_a_channel_whose_end_was_not_read_yet_then_it_is_not_polled_either(self, body: Body) -> None:
        body.kill(block(1, GeneratorProgress(pulled=1)), channel_closed=False)
        assert body.polled == {body.feed.pidfd: POLLIN, body.feed.channel.fileno(): POLLIN}

    def test_given_a_restart_of_the_master_then_it_goes_on_where_it_was(self, body: Body) -> None:
        body.record(4)
        body.turn(Advanced(GeneratorProgress(pulled=7, consumed=3, cursor_consumed=2)))
        body.master.restart()
        body.start()
        assert body.feed.progress.pulled == 7
        body.turn(Started(True))
        assert body.feed.delivered == [3, 4]
