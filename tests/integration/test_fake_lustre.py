"""The fake: its lfs as a process, by hand and through ``Lfs``; its faults; what it says of streams.

A fake that is kinder than Lustre hides our mistakes, so what it refuses is tested as much as what it does.
"""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from cyclone.lustre.checked import CheckedOsts
from cyclone.lustre.lfs import Layout, Lfs, LfsError, LfsTimeout, Reason
from tests.fake_lustre.log import assert_streams, concurrency_max, streams_max
from tests.support.lustre import GIB, FakeLustre, fake_lustre, used_percent
from tests.support.procfs import wait_until

ROOT = Path(__file__).parents[2]
MIB = 1024**2
NAMES = ["plain", "with blank", "line\nfeed", "a|b", "-i", "ümläut", "\udcff\udcfe", "'quoted\"", "$(x)", " "]


@pytest.fixture
def fake(tmp_path: Path) -> FakeLustre:
    return fake_lustre(tmp_path)


@pytest.fixture
def lfs(fake: FakeLustre) -> Lfs:
    return Lfs(fake.lfs, timeout_s=20)


def call(fake: FakeLustre, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, env=fake.environment, cwd=fake.mount, capture_output=True, text=True, check=False)


@contextmanager
def refused(reason: Reason, what: str) -> Iterator[None]:
    with pytest.raises(LfsError, match=what) as caught:
        yield
    assert caught.value.reason is reason


# By hand


def test_given_a_clone_then_one_line_makes_a_file_system_and_the_next_ones_use_it(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "tests.fake_lustre", "--folder", tmp_path / "l", "init", "--osts", "784", "--fs", "big"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    script = f"""{made.stdout}
    cd {tmp_path}/l/mount && lfs check osts | tail -1 && lfs df -h . | sed -n 5p && sudo -n lfs setstripe -i 5 'a b' &&
    lfs getstripe -i 'a b' && fake-lfs set ost 5 inactive && fake-lfs faults && fake-lfs set ost 5 hangs
    echo $? && lctl get_param -n 'osc.*-OST030f-*.ost_conn_uuid' && fake-lfs log | wc -l"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n") == [
        "big-OST030f-osc-ffff8ea7b7a28000 active.",
        f"big-OST0000_UUID           66.0T       22.4T       43.6T  34% {tmp_path}/l/mount[OST:0]",
        "5",
        "ost 5 inactive",
        "2",
        "10.1.2.58@o2ib",
        "5",
        "",
    ]
    assert "'hangs' is no fault of ost: expected inactive, unreachable" in done.stderr


def test_given_what_lfs_refuses_then_the_fake_refuses_it_with_the_same_words_and_exit_code(fake: FakeLustre) -> None:
    file = fake.mount / "f"
    assert call(fake, "lfs", "setstripe", "-i", "1", str(file)).returncode == 0
    for arguments, code, stderr in [
        (["setstripe", "-i", "1", "f"], errno.EEXIST, "lfs setstripe: setstripe error for 'f': stripe already set\n"),
        (["setstripe", "-i", "99", "g"], errno.EINVAL, "lfs setstripe: setstripe error for 'g': Invalid argument\n"),
        (
            ["getstripe", "none"],
            errno.ENOENT,
            "lfs getstripe: error opening none: No such file or directory (2)\nerror: getstripe failed for none.\n",
        ),
        (
            ["migrate", "-i", "2", "none"],
            errno.ENOENT,
            "error: lfs migrate: none: cannot open source file: No such file or directory\n",
        ),
        (["df", "/nonexistent"], errno.ENOENT, "error: invalid path '/nonexistent': No such file or directory\n"),
        (
            ["fid2path", ".", "[0x1:0x9999:0x0]"],
            errno.ENOENT,
            "lfs fid2path: cannot find . [0x1:0x9999:0x0]: No such file or directory\n",
        ),
        (["path2fid", "none"], errno.ENOENT, "lfs path2fid: cannot get fid for 'none': No such file or directory\n"),
    ]:
        done = call(fake, "lfs", *arguments)
        assert (done.returncode, done.stderr, done.stdout) == (code, stderr, ""), arguments
    assert call(fake, "lfs", "migrate", "--unknown", "f").returncode == 1
    assert call(fake, "lfs", "get_param", "x").returncode == 1
    assert call(fake, "lfs", "getstripe", "/etc/passwd").returncode == errno.ENOTTY


# Through Lfs


def test_given_any_names_then_every_verb_keeps_to_them(fake: FakeLustre, lfs: Lfs) -> None:
    paths = fake.populate((name, index % 8) for index, name in enumerate(NAMES))
    for index, path in enumerate(paths):
        assert lfs.layout(path) == Layout(1, (index % 8,))
        fid = fake.prints("path2fid", path).strip()
        assert lfs.fid_to_path(str(fake.mount), fid) == path
    lfs.migrate(paths[-2], 7)
    assert fake.osts_of(paths[-2]) == [7]
    found = subprocess.run([fake.lfs, "find", fake.mount, "--ost", "1", "-type", "f", "-print0"], capture_output=True)
    assert [os.fsdecode(path) for path in found.stdout.split(b"\0")[:-1]] == [paths[9], paths[1]]
    listed = b"\0".join(os.fsencode(path) for path in paths[:3])
    done = subprocess.run(
        [fake.lfs, "migrate", "-v", "-0", "--files-from=-", "-i", "6"], input=listed, capture_output=True
    )
    assert done.returncode == 0
    assert [fake.osts_of(path) for path in paths[:3]] == [[6]] * 3


def test_given_a_name_that_is_an_option_then_a_relative_path_is_a_path(
    fake: FakeLustre, lfs: Lfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fake.mount)
    lfs.set_stripe("-c", 3)
    assert (fake.mount / "-c").is_file()
    assert lfs.layout("-c").ost_indices == (3,)


def test_given_a_migration_then_usage_moves_with_the_file_and_back(fake: FakeLustre, lfs: Lfs) -> None:
    [path] = fake.populate([("file", 2)], size_bytes=GIB)
    before = {ost: fake.used_bytes(ost) for ost in (2, 5, 6)}
    levels = {target.index: used_percent(target) for target in lfs.df(str(fake.mount)) if target.kind == "OST"}
    lfs.migrate(path, 5)
    assert {ost: fake.used_bytes(ost) - before[ost] for ost in before} == {2: -GIB, 5: GIB, 6: 0}
    after = {target.index: used_percent(target) for target in lfs.df(str(fake.mount)) if target.kind == "OST"}
    assert after[2] < levels[2] and after[5] > levels[5] and after[6] == levels[6]
    lfs.migrate(path, 5, stripe_count=2, block=True)
    assert fake.osts_of(path) == [5, 6]
    assert {ost: fake.used_bytes(ost) - before[ost] for ost in before} == {2: -GIB, 5: GIB // 2, 6: GIB // 2}
    Path(path).unlink()
    lfs.set_stripe(path, 1)
    assert {ost: fake.used_bytes(ost) - before[ost] for ost in before} == {2: -GIB, 5: 0, 6: 0}


def test_given_folders_on_mdts_then_lfs_tells_where_they_and_their_files_lie(fake: FakeLustre, lfs: Lfs) -> None:
    assert call(fake, "lfs", "mkdir", "-i", "2", "made").returncode == 0
    (fake.mount / "mdt_1" / "below").mkdir(parents=True)
    (fake.mount / "mdt7").mkdir()
    indices = {
        name: lfs.dir_mdt_index(str(fake.mount / name)) for name in ("made", "mdt_1", "mdt_1/below", "mdt7", ".")
    }
    assert indices == {"made": 2, "mdt_1": 1, "mdt_1/below": 1, "mdt7": 0, ".": 0}
    with refused(Reason.NO_SUCH_FILE, "getdirstripe"):
        lfs.dir_mdt_index(str(fake.mount / "none"))


def test_given_a_file_that_lfs_did_not_make_then_it_has_the_default_layout_and_keeps_it(
    fake: FakeLustre, lfs: Lfs
) -> None:
    path = fake.mount / "file"
    path.write_bytes(b"x" * 1000)
    layout = lfs.layout(str(path))
    assert (layout.stripe_count, len(layout.ost_indices)) == (1, 1)
    assert lfs.layout(str(path)) == layout


# Faults of OSTs


def test_given_faults_then_check_and_df_tell_of_them(fake: FakeLustre, lfs: Lfs) -> None:
    for fault in ("1 inactive", "2 unreachable", "3 missing", "4 degraded", "5 full", "6 fill 88"):
        fake.set(f"ost {fault}")
    states = lfs.check_osts("lustrefs")
    down = {1: "inactive", 2: "Resource temporarily unavailable"}
    assert states == {index: down.get(index, "active") for index in (0, 1, 2, 4, 5, 6, 7)}
    targets = {target.index: target for target in lfs.df(str(fake.mount)) if target.kind == "OST"}
    assert {index: set(target.flags) for index, target in targets.items() if target.flags} == {
        1: {"inactive"},
        2: {"unavailable"},
        4: {"degraded"},
        5: {"no_space"},
    }
    assert used_percent(targets[6]) == pytest.approx(88)
    fake.set("ost 0-7 ok")
    assert set(lfs.check_osts("lustrefs").values()) == {"active"}


def test_given_osts_on_which_nothing_can_be_created_then_nothing_is(fake: FakeLustre, lfs: Lfs) -> None:
    [path] = fake.populate([("file", 0)], size_bytes=MIB)
    fake.set("ost 1 inactive")
    fake.set("ost 2 no_create")
    new = str(fake.mount / "new")
    with refused(Reason.UNKNOWN, "inactive OST among your specified 1"):
        lfs.set_stripe(new, 1)
    with refused(Reason.NO_SPACE, "setstripe error"):
        lfs.set_stripe(new, 2)
    with refused(Reason.UNKNOWN, "cannot create volatile file"):
        lfs.migrate(path, 1)
    with refused(Reason.NO_SPACE, "cannot create volatile file"):
        lfs.migrate(path, 2)
    assert not Path(new).exists()
    assert fake.osts_of(path) == [0]


def test_given_osts_that_fail_then_writes_and_migrations_fail_as_there(fake: FakeLustre, lfs: Lfs) -> None:
    [path] = fake.populate([("file", 0)], size_bytes=MIB)
    for ost, fault, number, reason in (
        (1, "full", errno.ENOSPC, Reason.NO_SPACE),
        (2, "eio", errno.EIO, Reason.UNKNOWN),
    ):
        fake.set(f"ost {ost} {fault}")
        new = fake.mount / fault
        lfs.set_stripe(str(new), ost)
        assert lfs.layout(str(new)).ost_indices == (ost,)
        with pytest.raises(OSError) as caught:
            new.write_bytes(b"A" * 1000)
        assert caught.value.errno == number
        with refused(reason, "data copy failed"):
            lfs.migrate(path, ost)
    new.unlink()
    fake.set("ost 2 ok")
    lfs.set_stripe(str(new), 2)
    assert new.write_bytes(b"A" * 1000) == 1000


def test_given_an_ost_without_room_for_the_file_then_it_does_not_take_it(tmp_path: Path) -> None:
    fake = fake_lustre(tmp_path, osts=2, ost_bytes=GIB, fill=(50,))
    [path] = fake.populate([("file", 0)], size_bytes=GIB // 2 + MIB)
    with refused(Reason.NO_SPACE, "data copy failed"):
        Lfs(fake.lfs).migrate(path, 1)


def test_given_an_ost_that_hangs_then_a_write_hangs_as_long_and_fails(fake: FakeLustre, lfs: Lfs) -> None:
    fake.set("ost 1 hang 200ms")
    path = fake.mount / "file"
    lfs.set_stripe(str(path), 1)
    started_s = time.monotonic()
    with pytest.raises(OSError) as caught:
        path.write_bytes(b"A")
    assert caught.value.errno == errno.EPIPE
    assert time.monotonic() - started_s > 0.1
    [moved] = fake.populate([("moved", 0)])
    with refused(Reason.UNKNOWN, "data copy failed: Input/output error"):
        lfs.migrate(moved, 1)


def test_given_an_ost_that_hangs_for_ever_then_a_write_does_until_the_fifo_has_a_reader(
    fake: FakeLustre, lfs: Lfs
) -> None:
    fake.set("ost 1 hang")
    path = fake.mount / "file"
    lfs.set_stripe(str(path), 1)
    writer = threading.Thread(target=path.write_bytes, args=(b"A",))
    writer.start()
    writer.join(0.1)
    assert writer.is_alive()
    assert path.read_bytes() == b"A"
    writer.join(10)
    assert not writer.is_alive()


def test_given_an_ost_that_hangs_when_it_is_read_then_the_write_goes_well_and_the_read_finds_nothing(
    fake: FakeLustre, lfs: Lfs
) -> None:
    fake.set("ost 1 hang_read 300ms")
    path = fake.mount / "file"
    lfs.set_stripe(str(path), 1)
    started_s = time.monotonic()
    assert path.write_bytes(b"A" * MIB) == MIB
    assert path.read_bytes() == b""
    assert time.monotonic() - started_s > 0.2


def test_given_misplacing_then_files_land_elsewhere_as_often_as_asked_and_always_the_same(
    fake: FakeLustre, lfs: Lfs
) -> None:
    fake.set("ost 3 misplace")
    path = str(fake.mount / "file")
    lfs.set_stripe(path, 3)
    assert lfs.layout(path).ost_indices == (4,)
    [moved] = fake.populate([("moved", 0)])
    lfs.migrate(moved, 3)
    assert lfs.layout(moved).ost_indices == (4,)
    fake.set("ost 3 misplace 0")
    lfs.migrate(moved, 3)
    assert lfs.layout(moved).ost_indices == (3,)


# Faults of files, of migrations, of calls


def test_given_a_file_in_use_then_it_is_busy_for_so_many_tries_and_only_without_block(
    fake: FakeLustre, lfs: Lfs
) -> None:
    busy, changed = fake.populate([("busy file", 0), ("changed", 0)])
    fake.set("file", busy, "busy", "2")
    fake.set("file", changed, "changed", "1")
    for _ in range(2):
        with refused(Reason.BUSY, "cannot get lease: Device or resource busy"):
            lfs.migrate(busy, 1)
    assert fake.osts_of(busy) == [0]
    lfs.migrate(busy, 1)
    assert fake.osts_of(busy) == [1]
    with refused(Reason.CHANGED, "source file changed: Resource temporarily unavailable"):
        lfs.migrate(changed, 1)
    fake.set("file", changed, "changed")
    with refused(Reason.CHANGED, ": file changed: "):
        lfs.migrate(changed, 1, block=True)
    fake.set("file", busy, "busy")
    lfs.migrate(busy, 2, block=True)
    assert fake.osts_of(busy) == [2]


def test_given_a_chance_then_about_so_many_migrations_fail_and_the_same_ones_again(fake: FakeLustre) -> None:
    fake.set("migrate busy 0.3")
    paths = fake.populate((f"file{index}", 0) for index in range(60))
    done = call(fake, "lfs", "migrate", "--non-block", "-i", "1", *paths)
    assert done.returncode == errno.EBUSY
    failed = done.stderr.count("cannot get lease: Device or resource busy\n")
    assert failed == sum(fake.osts_of(path) == [0] for path in paths)
    assert 5 < failed < 35


def test_given_a_bandwidth_then_a_copy_takes_its_time_and_the_slowest_counts(fake: FakeLustre, lfs: Lfs) -> None:
    [path] = fake.populate([("file", 0)], size_bytes=MIB)
    for fault, bandwidth_bytes, at_least_s in (("ost 1 slow 10M", 0, 0.1), ("ost 1 ok", 5 * MIB, 0.2)):
        fake.set(fault)
        started_s = time.monotonic()
        lfs.migrate(path, 1, bandwidth_bytes=bandwidth_bytes)
        assert time.monotonic() - started_s > at_least_s


def test_given_a_call_that_hangs_then_lfs_gives_up_in_time_and_the_next_one_works(fake: FakeLustre) -> None:
    fake.set("verb check hang")
    with pytest.raises(LfsTimeout):
        Lfs(fake.lfs, timeout_s=0.2).check_osts("lustrefs")
    fake.set("verb check ok")
    fake.set("verb check fail 5")
    with refused(Reason.UNKNOWN, "exit code 5"):
        Lfs(fake.lfs).check_osts("lustrefs")
    fake.set("verb check ok")
    assert len(Lfs(fake.lfs).check_osts("lustrefs")) == 8


def test_given_a_slow_mdt_or_ost_then_what_lies_on_it_is_slow(fake: FakeLustre, lfs: Lfs) -> None:
    (fake.mount / "mdt1").mkdir()
    fake.set("mdt 1 slow 200ms")
    fake.set("ost 1 latency 200ms")
    for name, ost in (("mdt1/file", 0), ("file", 1)):
        started_s = time.monotonic()
        lfs.set_stripe(str(fake.mount / name), ost)
        assert time.monotonic() - started_s > 0.2


def test_given_sudo_that_refuses_then_the_error_is_not_the_files(
    fake: FakeLustre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", fake.environment["PATH"])
    lfs = Lfs(sudo=True)
    assert len(lfs.check_osts("lustrefs")) == 8
    fake.set("sudo refuse")
    with refused(Reason.NOT_RUN, "a password is required"):
        lfs.check_osts("lustrefs")


# Many at once


def test_given_many_processes_at_once_then_usage_adds_up_and_the_log_has_each_call(fake: FakeLustre, lfs: Lfs) -> None:
    paths = fake.populate(((f"file{index}", index % 4) for index in range(24)), size_bytes=MIB)
    before = [fake.used_bytes(ost) for ost in range(8)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda pair: lfs.migrate(pair[1], 4 + pair[0] % 4), enumerate(paths)))
    assert [fake.used_bytes(ost) - used for ost, used in enumerate(before)] == [-6 * MIB] * 4 + [6 * MIB] * 4
    calls = fake.log("migrate")
    assert sorted(call.arguments[-1] for call in calls) == sorted(paths)
    assert all(call.code == 0 and call.ended_s is not None and call.ended_s > call.started_s for call in calls)
    assert 1 < concurrency_max(calls, "migrate") <= 12


def test_given_two_streams_on_one_ost_then_the_log_shows_them_and_the_assertion_fails(
    fake: FakeLustre, lfs: Lfs
) -> None:
    fake.set("migrate latency 200ms")
    paths = fake.populate([("a", 0), ("b", 0), ("c", 1)])
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lfs.migrate, paths, [4, 5, 5]))
    most = streams_max(fake.log())
    assert most == {("source", 0): 2, ("source", 1): 1, ("target", 4): 1, ("target", 5): 2}
    with pytest.raises(AssertionError, match="more streams"):
        assert_streams(fake.log())
    assert_streams(fake.log(), per_source=2, per_target=2)
    with pytest.raises(AssertionError, match="no migration"):
        assert_streams([])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_given_a_migration_that_is_killed_then_its_stream_is_gone_and_the_file_stays(
    fake: FakeLustre, lfs: Lfs, number: signal.Signals
) -> None:
    fake.set("migrate latency 60s")
    [path] = fake.populate([("file", 0)])
    process = subprocess.Popen([fake.lfs, "migrate", "-i", "1", path])
    wait_until(lambda: any(call.streams for call in fake.log("migrate")), "the copy has begun")
    process.send_signal(number)
    # A killed one that nobody has collected is gone all the same.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    fake.set("migrate ok")
    lfs.migrate(path, 1)
    process.wait()
    assert_streams(fake.log())
    killed = fake.log("migrate")[0]
    assert (killed.ended_s is None) == (number == signal.SIGKILL)


def test_given_many_who_check_then_lfs_is_called_once(fake: FakeLustre, tmp_path: Path) -> None:
    def states(_: int) -> dict[int, str]:
        return CheckedOsts(Lfs(fake.lfs), "lustrefs", folder=tmp_path / "private").states()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(states, range(200)))
    assert answers == [dict.fromkeys(range(8), "active")] * 200
    assert len(fake.log("check")) == 1


def test_given_one_who_is_killed_while_he_asks_then_the_next_one_asks_at_once(fake: FakeLustre, tmp_path: Path) -> None:
    osts = CheckedOsts(Lfs(fake.lfs, timeout_s=20), "lustrefs", max_age_s=0, folder=tmp_path / "private")
    osts.states()
    [lock] = (tmp_path / "private").glob("*.lock")
    script = "import fcntl, sys, time; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-SEc", script, lock], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"\n"
        holder.kill()
    started_s = time.monotonic()
    assert len(osts.states()) == 8
    assert time.monotonic() - started_s < 10
