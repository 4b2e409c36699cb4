"""More tasks than memory is meant for: what stays in the journal, and in which order it comes back."""

import pytest

from cyclone.master import state as state_module
from cyclone.master.waiting import paging as paging_module
from cyclone.master.waiting.paging import LOAD_BELOW_TASKS, LOAD_BLOCKS
from cyclone.protocol import limits
from cyclone.protocol.client_messages import CancelRequest
from cyclone.protocol.messages import Returned, Tasks
from tests.support.masters import (
    MANY,
    Master,
    kinds,
    leases,
    ready,
    sent,
    tasks,
)
from tests.unit.master.conftest import NewMaster

ARGS = b"\x90"
TIMEOUT_S = 15.0


class TestPaging:
    BLOCK = 1024

    @pytest.fixture(autouse=True)
    def _small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(state_module, "PAGE_TASKS", 4 * self.BLOCK)

    def offered(self, master: Master, blocks: int) -> None:
        for number in range(blocks):
            master.offer(self.BLOCK, b"%d" % number)

    def test_given_more_than_a_page_then_the_rest_stays_in_the_journal_and_comes_in_order(self, master: Master) -> None:
        master = Master()
        blocks = 4 + 2 * LOAD_BLOCKS
        self.offered(master, blocks)
        queue = master.scheduler.state.lanes.window
        assert (queue.fresh_count, queue.stored_count) == (4 * self.BLOCK, 2 * LOAD_BLOCKS * self.BLOCK)
        session = master.join()
        leased: list[int] = []
        while len(leased) < blocks * self.BLOCK:
            actions = master.lease(session, 3000)
            for _, first, count, attempt in leases(actions):
                assert attempt == 1
                leased += range(first, first + count)
            assert queue.fresh_count <= LOAD_BELOW_TASKS + LOAD_BLOCKS * self.BLOCK
            master.scheduler.check()
        assert leased == list(range(1, blocks * self.BLOCK + 1))
        assert master.scheduler.state.horizon == blocks * self.BLOCK

    def test_given_a_stored_block_then_its_tasks_are_the_ones_that_were_offered(self, master: Master) -> None:
        master = Master()
        self.offered(master, 6)
        session = master.join()
        sent_args = []
        for _ in range(6):
            sent_args += [
                args
                for message in sent(master.lease(session, self.BLOCK))
                if isinstance(message, Tasks)
                for part in message.batches
                for args in part.args
            ]
        assert sent_args == [b"%d" % number for number in range(6) for _ in range(self.BLOCK)]

    def test_given_what_is_stored_when_more_is_offered_then_it_queues_behind(self, master: Master) -> None:
        master = Master()
        self.offered(master, 5)
        session = master.join()
        master.state(session, 3 * self.BLOCK)
        # There is room again, but what is stored came first.
        assert kinds(master.advance())[-1] == "Load"
        self.offered(master, 3)
        assert kinds(master.lease(session, 5 * self.BLOCK))[-1] == "Load"
        assert leases(master.lease(session, 5 * self.BLOCK))[-1][1:3] == (7 * self.BLOCK + 1, self.BLOCK)

    def test_given_bytes_beyond_the_page_then_the_next_block_is_stored(
        self, new_master: NewMaster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(state_module, "PAGE_BYTES", 100)
        master = new_master()
        for _ in range(3):
            master.offer(1, bytes(50))
        window = master.scheduler.state.lanes.window
        assert (window.fresh_count, window.stored_count) == (2, 1)

    def test_given_a_journal_that_cannot_give_back_then_everything_stays_in_memory(self, master: Master) -> None:
        master = Master(pages=False)
        self.offered(master, 6)
        assert master.scheduler.state.lanes.window.stored_count == 0

    def test_given_a_large_journal_when_restarted_then_a_window_of_it_is_in_memory(self, master: Master) -> None:
        master = Master()
        blocks = 64
        self.offered(master, blocks)
        master.restart()
        queue = master.scheduler.state.lanes.window
        assert (queue.fresh_count, queue.stored_count) == (0, blocks * self.BLOCK)
        session = ready(master, "c1", "1", MANY)
        for _ in range(10):
            master.advance()
        assert 0 < queue.fresh_count <= LOAD_BELOW_TASKS + LOAD_BLOCKS * self.BLOCK
        assert master.scheduler.state.sessions.by_id[session].open == MANY
        assert master.scheduler.pull_limit() <= master.scheduler.state.progress.pulled

    def test_given_stored_tasks_then_what_came_back_goes_in_front_of_them(self, master: Master) -> None:
        master = Master()
        self.offered(master, 6)
        session = master.join()
        master.lease(session, 5)
        master.handle(Returned(session, 5, [tasks(2, 2)]))
        assert leases(master.lease(session, 3)) == [("c1", 2, 2, 2), ("c1", 6, 1, 1)]

    def test_given_few_large_tasks_in_the_journal_then_they_come_back_as_memory_allows(
        self, new_master: NewMaster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(state_module, "PAGE_BYTES", 1000)
        monkeypatch.setattr(paging_module, "LOAD_BELOW_BYTES", 500)
        master = new_master()
        for _ in range(100):
            master.offer(1, bytes(100))
        session = master.join()
        for _ in range(12):
            master.lease(session, 8)
            assert master.scheduler.state.lanes.window.fresh_bytes <= 1000 + LOAD_BLOCKS * 100
        assert master.scheduler.state.lanes.window.stored_count == 0

    @pytest.mark.parametrize("bound", ["LOAD_BELOW_TASKS", "LOAD_BELOW_BYTES"])
    def test_given_a_wish_for_what_is_stored_then_it_does_not_bring_everything_before_it_into_memory(
        self, new_master: NewMaster, monkeypatch: pytest.MonkeyPatch, bound: str
    ) -> None:
        monkeypatch.setattr(state_module, "PAGE_TASKS", 64)
        monkeypatch.setattr(paging_module, bound, 32)
        master = new_master()
        for _ in range(50):
            master.offer(8)
        wish = CancelRequest(1, 400, limits.ID_MAX, "", "")
        master.carry_out(master.scheduler.answer(b"client", wish, master.now))
        for _ in range(20):
            master.advance()
        queue = master.scheduler.state.lanes.window
        assert queue.in_memory == 64
        session = master.join()
        while queue.waiting:
            master.lease(session, 50)
            assert queue.in_memory <= 64 + LOAD_BLOCKS * 8
        assert (master.scheduler.state.ended["cancelled"], master.scheduler.leased_tasks) == (1, 399)
