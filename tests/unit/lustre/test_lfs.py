"""Which command lines lfs is called with, and what its failures mean. No process is started here."""

import os
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclone.lustre import command
from cyclone.lustre.command import Ended
from cyclone.lustre.lfs import MIGRATE_TIMEOUT_S, Layout, Lfs, LfsError, LfsTimeout, Reason, Target

FILE = "/lustre/a file"


class Recorded(Lfs):
    """Answers every call with the same text, and remembers what it was."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.text = text
        self.calls: list[tuple[list[str], float | None]] = []

    def run(self, arguments: Sequence[str], timeout_s: float | None = None) -> str:
        self.calls.append((list(arguments), timeout_s))
        return self.text


Answer = Callable[..., None]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Makes every command end in a certain way."""

    def answer(returncode: int | None = 0, stderr: str = "", stdout: str = "", **how: bool) -> None:
        ended = Ended(returncode, os.fsencode(stdout), os.fsencode(stderr), **how)
        monkeypatch.setattr(command, "run", lambda *args, **named: ended)

    return answer


# Command lines


@pytest.mark.parametrize(
    ("call", "arguments", "timeout_s"),
    [
        (lambda lfs: lfs.set_stripe("/l/f", 5), ["setstripe", "-i", "5", "-c", "1", "/l/f"], None),
        (lambda lfs: lfs.set_stripe("/l/f", 5, 2), ["setstripe", "-i", "5", "-c", "2", "/l/f"], None),
        (
            lambda lfs: lfs.migrate("/l/f", 7),
            ["migrate", "--non-block", "-i", "7", "-c", "1", "/l/f"],
            MIGRATE_TIMEOUT_S,
        ),
        (
            lambda lfs: lfs.migrate("/l/f", 7, block=True, direct_io=False, stripe_count=4, timeout_s=60),
            ["migrate", "--block", "--non-direct", "-i", "7", "-c", "4", "/l/f"],
            60,
        ),
        (
            lambda lfs: lfs.migrate("/l/f", 7, bandwidth_bytes=100 * 1024**2 + 5),
            ["migrate", "--non-block", "-W", "100M", "-i", "7", "-c", "1", "/l/f"],
            MIGRATE_TIMEOUT_S,
        ),
        (
            lambda lfs: lfs.migrate("/l/f", 7, bandwidth_bytes=1),
            ["migrate", "--non-block", "-W", "1M", "-i", "7", "-c", "1", "/l/f"],
            MIGRATE_TIMEOUT_S,
        ),
        (
            lambda lfs: lfs.migrate("-i 3", 7),
            ["migrate", "--non-block", "-i", "7", "-c", "1", "./-i 3"],
            MIGRATE_TIMEOUT_S,
        ),
    ],
)
def test_given_a_call_then_the_command_line_is_this(
    call: Callable[[Lfs], None], arguments: list[str], timeout_s: float | None
) -> None:
    lfs = Recorded()
    call(lfs)
    assert lfs.calls == [(arguments, timeout_s)]


def test_given_the_calls_that_ask_then_they_ask_and_give_values() -> None:
    checking = Recorded("lustrefs-OST000a-osc-ffff active.\n")
    assert checking.check_osts("lustrefs") == {10: "active"}
    assert checking.calls == [(["check", "osts"], None)]

    full = Recorded("lustrefs-OST0001_UUID 100 50 50 50% /l[OST:1]\n")
    assert full.df("/l") == [Target("OST", 1, "OST0001", 102400, 51200, 51200)]
    assert full.calls == [(["df", "-v", "/l"], None)]

    striped = Recorded("lmm_stripe_count:  1\nlmm_stripe_offset: 542\n")
    assert striped.layout("/l/f") == Layout(1, (542,))
    assert striped.calls == [(["getstripe", "-y", "/l/f"], None)]

    folder = Recorded("2\n")
    assert folder.dir_mdt_index("/l/mdt2") == 2
    assert folder.calls == [(["getdirstripe", "-i", "/l/mdt2"], None)]

    named = Recorded("/l/f\n")
    assert named.fid_to_path("/l", "[0x200000400:0x5:0x0]") == "/l/f"
    assert named.calls == [(["fid2path", "--link", "0", "/l", "[0x200000400:0x5:0x0]"], None)]


def test_given_an_old_lfs_that_prints_the_name_first_then_a_name_cannot_pose_as_a_layout() -> None:
    name = "/l/x\nlmm_stripe_count:  7\nlmm_stripe_offset: 700"
    lfs = Recorded(f"{name}\nlmm_stripe_count:  1\nlmm_stripe_offset: 5\n")
    assert lfs.layout(name) == Layout(1, (5,))


@pytest.mark.parametrize(
    "call",
    [
        lambda lfs: lfs.set_stripe("/l/a\0b", 1),
        lambda lfs: lfs.set_stripe("", 1),
        lambda lfs: lfs.set_stripe("/l/f", -1),
        lambda lfs: lfs.migrate("/l/f", -5),
        lambda lfs: lfs.fid_to_path("/l", "--help"),
        lambda lfs: lfs.fid_to_path("/l", "[0x1:0x2]"),
    ],
)
def test_given_what_cannot_be_a_path_an_index_or_a_fid_then_nothing_is_called(call: Callable[[Lfs], None]) -> None:
    with pytest.raises(ValueError):
        call(Lfs("/nonexistent/lfs"))


def test_given_any_name_then_it_reaches_the_command_as_the_bytes_that_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sequence[bytes]] = []
    environments: list[Mapping[bytes, bytes]] = []

    def keep(arguments: Sequence[bytes], environment: Mapping[bytes, bytes], *rest: object, **named: object) -> Ended:
        seen.append(arguments)
        environments.append(environment)
        return Ended(0, b"", b"")

    monkeypatch.setattr(command, "run", keep)

    @given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name))
    def any_name(name: bytes) -> None:
        Lfs(sudo=True).set_stripe(os.fsdecode(name), 3)
        prefix = b"./" if name.startswith(b"-") else b""
        assert seen[-1] == [b"sudo", b"-n", b"lfs", b"setstripe", b"-i", b"3", b"-c", b"1", prefix + name]

    any_name()
    assert environments[-1][b"LC_ALL"] == b"C"
    assert environments[-1][b"PATH"] == os.environb[b"PATH"]


# Failures


def said(what: str, error: str) -> str:
    return f"error: lfs migrate: {FILE}: {what}: {error}\n"


@pytest.mark.parametrize(
    ("returncode", "stderr", "reason"),
    [
        (16, said("cannot get lease", "Device or resource busy"), Reason.BUSY),
        (16, said("data copy failed", "Device or resource busy"), Reason.BUSY),
        (26, said("cannot open source file", "Text file busy"), Reason.BUSY),
        (11, said("cannot get lease", "Resource temporarily unavailable"), Reason.BUSY),
        (11, said("cannot get group lock", "Resource temporarily unavailable"), Reason.BUSY),
        (16, "", Reason.BUSY),
        (11, said("source file changed", "Resource temporarily unavailable"), Reason.CHANGED),
        (11, said("file changed", "Resource temporarily unavailable"), Reason.CHANGED),
        (28, said("data copy failed", "No space left on device"), Reason.NO_SPACE),
        (122, said("data copy failed", "Disk quota exceeded"), Reason.NO_SPACE),
        (28, "something of a later release\n", Reason.NO_SPACE),
        (2, said("cannot open source file", "No such file or directory"), Reason.NO_SUCH_FILE),
        (2, f"lfs getstripe: error opening {FILE}: No such file or directory (2)\n", Reason.NO_SUCH_FILE),
        (13, said("cannot open source file", "Permission denied"), Reason.PERMISSION),
        (1, said("cannot get lease", "Operation not permitted"), Reason.PERMISSION),
        (30, said("cannot open source file", "Read-only file system"), Reason.PERMISSION),
        (5, said("data copy failed", "Input/output error"), Reason.UNKNOWN),
        (121, said("cannot create volatile file", "Remote I/O error"), Reason.UNKNOWN),
        (17, f"lfs setstripe: setstripe error for '{FILE}': stripe already set\n", Reason.UNKNOWN),
        (1, "sudo: a password is required\n", Reason.UNKNOWN),
        (2, "", Reason.UNKNOWN),
        (-9, "", Reason.UNKNOWN),
    ],
)
def test_given_a_failure_then_its_reason_is_what_the_caller_needs(
    answers: Answer, returncode: int, stderr: str, reason: Reason
) -> None:
    answers(returncode, stderr)
    with pytest.raises(LfsError) as caught:
        Lfs().migrate(FILE, 5)
    assert caught.value.reason is reason
    assert caught.value.returncode == returncode
    assert caught.value.stderr == stderr
    assert caught.value.command == ("lfs", "migrate", "--non-block", "-i", "5", "-c", "1", FILE)


@pytest.mark.parametrize(
    "name",
    ["/l/No space left on device", "/l/source file changed: x", "/l/x: cannot get lease: Device or resource busy"],
)
def test_given_a_name_that_reads_like_an_error_then_it_is_not_taken_for_one(answers: Answer, name: str) -> None:
    answers(5, f"error: lfs migrate: {name}: data copy failed: Input/output error\n")
    with pytest.raises(LfsError) as caught:
        Lfs().migrate(name, 5)
    assert caught.value.reason is Reason.UNKNOWN


@pytest.mark.parametrize(
    "stderr", ["sudo: a password is required\n", "Sorry, user cyclone is not allowed to execute\n"]
)
def test_given_sudo_that_refuses_then_nothing_is_known_of_the_file(answers: Answer, stderr: str) -> None:
    answers(1, stderr)
    with pytest.raises(LfsError) as caught:
        Lfs(sudo=True).layout(FILE)
    assert caught.value.reason is Reason.NOT_RUN


def test_given_no_lfs_then_the_error_names_it_and_nothing_is_known_of_the_file() -> None:
    with pytest.raises(LfsError, match="/nonexistent/lfs: No such file or directory") as caught:
        Lfs("/nonexistent/lfs").layout(FILE)
    assert caught.value.reason is Reason.NOT_RUN
    assert caught.value.returncode is None


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        (f"lfs getstripe: error: getstripe failed for {FILE}.\n", Reason.UNKNOWN),
        (said("cannot get lease", "Device or resource busy"), Reason.BUSY),
        (
            f"lfs getstripe: warning: cb_getstripe: {FILE} does not exist: No such file or directory (2)\n",
            Reason.NO_SUCH_FILE,
        ),
    ],
)
def test_given_exit_code_0_and_an_error_all_the_same_then_it_is_one(
    answers: Answer, stderr: str, reason: Reason
) -> None:
    answers(0, stderr)
    with pytest.raises(LfsError) as caught:
        Lfs().run(["getstripe", FILE])
    assert caught.value.reason is reason


def test_given_a_warning_then_it_is_no_error(answers: Answer) -> None:
    answers(0, "lfs setstripe: warning: '--index' deprecated, use '--stripe-index' instead\n", "out")
    assert Lfs().run(["setstripe"]) == "out"


def test_given_an_output_that_is_not_understood_then_the_error_has_it(answers: Answer) -> None:
    answers(0, "", "gibberish\n")
    with pytest.raises(LfsError, match="no layout") as caught:
        Lfs().layout(FILE)
    assert caught.value.stdout == "gibberish\n"


def test_given_a_time_out_then_the_error_says_whether_the_process_is_gone(answers: Answer) -> None:
    answers(-15, "still waiting\n", timed_out=True)
    with pytest.raises(LfsTimeout, match="60 s, and was ended: still waiting") as caught:
        Lfs().layout(FILE)
    assert caught.value.reason is Reason.TIMEOUT and not caught.value.abandoned

    answers(None, "", timed_out=True)
    with pytest.raises(LfsTimeout, match="not even SIGKILL") as caught:
        Lfs().layout(FILE)
    assert caught.value.abandoned


def test_given_a_flood_of_output_then_it_is_an_error(answers: Answer) -> None:
    answers(-15, "", too_long=True)
    with pytest.raises(LfsError, match="16777216 bytes"):
        Lfs().layout(FILE)


def test_given_names_that_would_break_a_log_then_the_message_is_one_printable_line(answers: Answer) -> None:
    name = "/l/a\nERROR: all is lost\x1b[2J\udcff"
    answers(5, f"error: lfs migrate: {name}: data copy failed: Input/output error\n")
    with pytest.raises(LfsError) as caught:
        Lfs().migrate(name, 5)
    assert str(caught.value).isprintable()
    assert r"a\nERROR" in str(caught.value) and r"\udcff" in str(caught.value)
    assert name in caught.value.command and name in caught.value.stderr


# Calls that fail for one target, and tell of the others


def test_given_osts_that_do_not_answer_then_the_states_of_all_are_told(answers: Answer) -> None:
    stderr = "lfs check: error: check 'lustrefs-OST0001-osc-ffff': Resource temporarily unavailable (11)\n"
    answers(0, stderr, "lustrefs-OST0000-osc-ffff active.\nlustrefs-OST0002-osc-ffff active.\n")
    assert Lfs().check_osts("lustrefs") == {0: "active", 1: "Resource temporarily unavailable", 2: "active"}


@pytest.mark.parametrize(
    "stderr", ["lfs check: cannot find mounted Lustre filesystem: No such device\n", "error: something else\n"]
)
def test_given_nothing_about_any_ost_then_the_error_of_lfs_is_raised(answers: Answer, stderr: str) -> None:
    answers(19, stderr)
    with pytest.raises(LfsError, match="exit code 19"):
        Lfs().check_osts("lustrefs")


def test_given_a_check_or_a_df_that_takes_too_long_then_what_it_said_so_far_is_not_taken_for_all(
    answers: Answer,
) -> None:
    answers(-15, "lfs check: error: check 'lustrefs-OST0001-osc-ffff': Input/output error (5)\n", timed_out=True)
    with pytest.raises(LfsTimeout):
        Lfs().check_osts("lustrefs")
    with pytest.raises(LfsTimeout):
        Lfs().df("/lustre")


def test_given_a_target_that_df_cannot_ask_then_the_others_are_listed(answers: Answer) -> None:
    lines = "fs-OST0000_UUID 100 50 50 50% /l[OST:0]\nfs-OST0001_UUID     : Input/output error\n"
    answers(5, "", lines)
    assert [(target.index, target.flags) for target in Lfs().df("/l")] == [
        (0, frozenset()),
        (1, frozenset({"unavailable"})),
    ]


def test_given_a_df_that_lists_nothing_then_the_error_of_lfs_is_raised(answers: Answer) -> None:
    answers(2, "error: invalid path '/l': No such file or directory\n")
    with pytest.raises(LfsError) as caught:
        Lfs().df("/l")
    assert caught.value.reason is Reason.NO_SUCH_FILE
