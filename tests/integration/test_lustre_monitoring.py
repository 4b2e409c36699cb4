"""Monitoring as it is run: a master, a controller, a database proxy, a mail server, and the fake Lustre with faults."""

import signal
import sqlite3
import ssl
import subprocess
import time
from collections import Counter
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cyclone.lustre.mail import Mailer
from tests.support.exports import exported, state_folder
from tests.support.lab import Lab, free_port
from tests.support.lustre import FakeLustre, fake_lustre
from tests.support.lustre_calls import files
from tests.support.smtp import Postbox, serving

ROUNDS = 3
INACTIVE, HANGING, SLOW, FULL, UNREACHABLE = 1, 2, 3, 4, 5
COLUMNS = "ost, write_bytes_per_s, read_bytes_per_s, write_s, size_bytes, error"
# Takes its time to create files on one OST, and does all else as the fake.
SLOW_LFS = """#!/bin/sh
case "$*" in setstripe*" -i {ost} "*) sleep {seconds} ;; esac
exec {lfs} "$@"
"""


@pytest.fixture
def fake(lab: Lab) -> FakeLustre:
    """What the lab's processes call lfs."""
    made = fake_lustre(lab.folder, osts=6)
    (lab.folder / "runtime").mkdir()
    lab.environment |= {"PATH": f"{made.bin}:{lab.environment['PATH']}", "XDG_RUNTIME_DIR": f"{lab.folder}/runtime"}
    return made


def sections(fake: FakeLustre, interval: str, **probe: str) -> dict[str, dict[str, str]]:
    """A monitor of the fake."""
    return {
        "control": {"exit_when_done": "yes"},
        "processing": {"worker_count": "4"},
        "task_generator": {"class": "task_generators.lustre_ost_monitoring:LustreOstMonitoringTaskGenerator"},
        "monitoring": {"rounds": str(ROUNDS), "measure_interval": interval},
        "lustre": {"target": fake.fs},
        "probe": {"target_dir": str(fake.mount), "total_size_bytes": "64KiB", **probe},
    }


def started_proxy(lab: Lab, sinks: dict[str, dict[str, str]], path: Path) -> Any:
    """A database proxy that the master of these sections sends everything to."""
    port = str(free_port())
    database = {"driver": "sqlite", "path": str(path), "store_timeout": "100ms"}
    config = lab.config({"comm": {"port": port}, "db": database}, "proxy.conf")
    proxy = lab.start("cyclone-database-proxy", "-f", config)
    proxy.says("database proxy at ")
    sinks["sink"] = {"targets": f"127.0.0.1:{port}"}
    return proxy


def stored(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        try:
            found = database.execute(f"SELECT {COLUMNS} FROM lustre_ost_io").fetchall()
        except sqlite3.OperationalError:
            return []
    return [dict(zip(COLUMNS.split(", "), row, strict=True)) for row in found]


def test_given_osts_with_every_fault_then_each_has_its_row_in_each_round(lab: Lab, fake: FakeLustre) -> None:
    for ost, fault in ((INACTIVE, "inactive"), (HANGING, "hang"), (FULL, "full"), (UNREACHABLE, "unreachable")):
        fake.set(f"ost {ost} {fault}")
    lfs = lab.folder / "slow-lfs"
    lfs.write_text(SLOW_LFS.format(ost=SLOW, seconds=0.8, lfs=fake.lfs))
    lfs.chmod(0o755)
    arrived: list[float] = []
    with serving(Postbox(lambda: arrived.append(time.time()))) as postbox:
        config = sections(
            fake,
            "1500ms",
            **{"class": "tasks.lustre_alert_io:LustreAlertIOTask", "time_limit": "2s", "lfs_bin": str(lfs)},
            **{"mail_server": postbox.server, "mail_sender": "cyclone@node", "mail_receiver": "a@example.org"},
            mail_threshold="0.5",
        )
        rows = lab.folder / "rows.sqlite"
        proxy = started_proxy(lab, config, rows)
        master = lab.master(lab.config(config))
        lab.controller(lab.config(config, "controller.conf"), "one", welcomed=False)
        assert master.exits() == 0
        lab.wait_until(lambda: len(stored(rows)) >= 6 * ROUNDS, "each OST has a row for each round")
        proxy.signal(signal.SIGTERM)
        assert proxy.exits() == 0

    by_ost: dict[int, list[dict[str, Any]]] = {}
    for row in stored(rows):
        by_ost.setdefault(int(row.pop("ost")[3:], 16), []).append(row)
    assert {ost: len(found) for ost, found in by_ost.items()} == dict.fromkeys(range(6), ROUNDS)
    for ost in (0, SLOW):
        measured = [row for row in by_ost[ost] if not row["error"]]
        assert measured, f"OST {ost} was never measured: {by_ost[ost]}"
        assert all(row["write_bytes_per_s"] > 0 < row["read_bytes_per_s"] for row in measured)
    zeros = {"write_bytes_per_s": 0.0, "read_bytes_per_s": 0.0, "write_s": 0.0, "size_bytes": 0, "error": "inactive"}
    assert zeros in by_ost[INACTIVE]
    assert any("No space left on device" in row["error"] for row in by_ost[FULL])
    assert any("Resource temporarily unavailable" in row["error"] for row in by_ost[UNREACHABLE])
    for ost in (HANGING, FULL, UNREACHABLE):
        assert {(row["write_bytes_per_s"], row["read_bytes_per_s"]) for row in by_ost[ost]} == {(None, None)}
    errors = [row["error"] for row in by_ost[HANGING]]
    assert any(error.startswith("timed_out: exceeded its time limit of 2 s") for error in errors), errors
    assert any(error.startswith("left out of round ") for error in errors), errors

    mails = Counter(mail["Subject"].rpartition(" ")[2] for mail in postbox.mails)
    assert mails[str(HANGING)] == mails[str(SLOW)] == 1
    assert set(mails.values()) == {1}, "at most one mail about an OST"
    assert_told_while_it_hung(lab, postbox, arrived)
    assert len(fake.log("check")) <= 2 * ROUNDS, "lfs check osts is not called for each task"
    assert [name for name in files(fake.mount) if "perf_test" in name] == []


def assert_told_while_it_hung(lab: Lab, postbox: Postbox, arrived: list[float]) -> None:
    """The mail about the hanging OST was there before its first probe had ended."""
    ended = [record["finished"] for record in monitored(lab) if record["state"] == "timed_out"]
    told = [at for mail, at in zip(postbox.mails, arrived, strict=True) if mail["Subject"].endswith(f": {HANGING}")]
    assert told[0] < min(map(_unix, ended))


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def monitored(lab: Lab) -> list[dict[str, Any]]:
    """All tasks of the master's journal."""
    return exported(lab, state_folder(lab) / "master.journal")


def test_given_a_master_that_is_killed_in_a_round_then_the_next_one_goes_on(lab: Lab, fake: FakeLustre) -> None:
    config = lab.config(sections(fake, "1s"))
    master = lab.master(config)
    controller = lab.controller(config, "one")
    lab.wait_until(lambda: len(fake.log("setstripe")) >= 2, "the first round is under way")
    master.signal(signal.SIGKILL)
    master.exits()
    again = lab.master(config)
    assert again.exits() == 0
    assert controller.exits() == 0

    tasks = Counter(record["class"].rpartition(":")[2] for record in monitored(lab))
    assert tasks["LustreIOTask"] + tasks["LustreIOLostTask"] == 6 * ROUNDS
    assert {record["state"] for record in monitored(lab)} == {"completed"}


def test_given_mdts_of_which_one_is_slow_then_each_is_checked_with_each_ost(lab: Lab, fake: FakeLustre) -> None:
    for mdt in range(3):
        fake.prints("mkdir", "-i", str(mdt), str(fake.mount / f"mdt{mdt}"))
    fake.set("ost 1 inactive")
    fake.set("ost 2 misplace")
    fake.set("ost 3 unreachable")
    fake.set("mdt 1 slow 300ms")
    config = {
        "task_generator": {"class": "task_generators.lustre_file_creation:LustreFileCreationTaskGenerator"},
        "monitoring": {"rounds": "1"},
        "lustre": {"target": fake.fs},
        "probe": {"target_base_dir": str(fake.mount), "mdt_index_rangeset": "0-2"},
    }
    records = lab.records(lab.config(config), exit_code=1)

    found = {record["args"][0]: record["value"] or record["error"]["message"] for record in records}
    fine = {"ok": [0, 1, 2], "failed": [], "error": [], "ignored": []}
    assert found.pop(1) == {"ok": [], "failed": [], "error": [], "ignored": [0, 1, 2]}
    misplaced = found.pop(2)
    assert all(f"MDT000{mdt} FAILED: it was created on OST " in misplaced for mdt in range(3))
    # Nobody knows whether something could be created there, so that it counts neither as fine nor as inactive.
    assert "MDT0000 ERROR: lfs check osts: Resource temporarily unavailable" in found.pop(3)
    assert found == dict.fromkeys((0, 4, 5), fine)
    assert [files(fake.mount / f"mdt{mdt}") for mdt in range(3)] == [[]] * 3


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_given_a_mail_server_with_tls_then_its_certificate_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: str
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key)]
    subprocess.run(
        ["openssl", "req", "-x509", *new_key, "-out", str(certificate), "-days", "1", *subject],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    options: dict[str, Any] = {"ssl_context": context} if tls == "tls" else {"tls_context": context}
    with serving(Postbox(), **options) as postbox:
        mailer = Mailer(postbox.server, "cyclone@node", "a@example.org", tls)
        with pytest.raises(ssl.SSLCertVerificationError):
            mailer.send("nobody knows this certificate", "")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert mailer.send("known", "") == {}

    assert [mail["Subject"] for mail in postbox.mails] == ["known"]
