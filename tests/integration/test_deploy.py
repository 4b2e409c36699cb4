"""deploy/: each file is read by the program that it is for."""

import grp
import logging
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from cyclone import logs
from tests.support.parts import environment, program

FOLDER = Path(__file__).parents[2] / "deploy"
OWN_USER = pwd.getpwuid(os.getuid()).pw_name
OWN_GROUP = grp.getgrgid(os.getgid()).gr_name


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env=environment(), umask=0o022
    )


def test_given_an_empty_host_then_systemd_sysusers_makes_the_user_and_the_group(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    file = FOLDER / "sysusers.d" / "cyclone.conf"

    done = run(program("systemd-sysusers"), "--dry-run", f"--root={tmp_path}", str(file))

    assert done.returncode == 0, done.stderr
    assert "Creating user 'cyclone'" in done.stderr
    assert "Creating group 'cyclone'" in done.stderr


def test_given_an_empty_host_then_systemd_tmpfiles_makes_the_folders_with_their_modes(tmp_path: Path) -> None:
    text = (FOLDER / "tmpfiles.d" / "cyclone.conf").read_text()
    # Nobody but root may give a folder to somebody else.
    own = re.sub(r"(root|cyclone) +(root|cyclone) +-", f"{os.getuid()} {os.getgid()} -", text)
    assert own.count(f"{os.getuid()} {os.getgid()}") == text.count("\nd ")
    file = tmp_path / "cyclone.conf"
    file.write_text(own)

    done = run(program("systemd-tmpfiles"), "--create", f"--root={tmp_path}", str(file))

    assert (done.returncode, done.stderr) == (0, "")
    modes = {path: oct(stat.S_IMODE((tmp_path / path).stat().st_mode)) for path in ("etc/cyclone", "etc/cyclone/keys")}
    assert modes == {"etc/cyclone": "0o755", "etc/cyclone/keys": "0o700"}
    assert (tmp_path / "var/lib/cyclone").is_dir()


def test_given_the_folder_of_keys_that_tmpfiles_makes_then_cyclone_keys_takes_it(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    done = run(
        str(Path(sys.executable).with_name("cyclone")), "keys", "init", "--dir", str(keys), "--address", "localhost"
    )
    assert done.returncode == 0, done.stderr


def test_given_a_daemon_that_logs_into_a_file_when_logrotate_moves_it_then_no_line_is_lost(tmp_path: Path) -> None:
    logrotate = program("logrotate")
    text = (FOLDER / "logrotate.d" / "cyclone").read_text()
    assert not re.search(r"^ *copytruncate", text, re.MULTILINE)
    folder = tmp_path / "var/log/cyclone-master"
    folder.mkdir(parents=True)
    rendered = text.replace("/var/log/", f"{tmp_path}/var/log/").replace(
        "su cyclone cyclone", f"su {OWN_USER} {OWN_GROUP}"
    )
    assert rendered.count(str(tmp_path)) == 2
    (tmp_path / "conf").write_text(rendered)
    (tmp_path / "conf").chmod(0o644)
    handler = logs._file_handler(folder / "master.log")

    def write(line: str) -> None:
        handler.emit(logging.makeLogRecord({"msg": line}))

    for line in ("one", "two", "three"):
        write(line)
        done = run(logrotate, "--force", "--state", str(tmp_path / "state"), str(tmp_path / "conf"))
        assert (done.returncode, done.stderr) == (0, "")
    write("four")
    handler.close()

    # The last one moved away waits a round before it is compressed: until its daemon's next line it may be written to.
    assert sorted(path.name for path in folder.iterdir()) == [
        "master.log", "master.log.1", "master.log.2.gz", "master.log.3.gz",
    ]  # fmt: skip
    assert (folder / "master.log").read_text() == "four\n"
    assert (folder / "master.log.1").read_text() == "three\n"
    assert run("gzip", "-dc", str(folder / "master.log.3.gz")).stdout == "one\n"


def test_given_the_rule_for_sudo_then_visudo_accepts_it(tmp_path: Path) -> None:
    rule = tmp_path / "cyclone-lfs"
    shutil.copy(FOLDER / "sudoers.d" / "cyclone-lfs", rule)
    rule.chmod(0o440)
    done = run(program("visudo"), "--check", "--strict", f"--file={rule}")
    assert done.returncode == 0, done.stdout + done.stderr
