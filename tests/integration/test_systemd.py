"""The systemd units and their drop-ins: accepted and measured by systemd itself, in step with the defaults."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cyclone.config import load
from cyclone.units import parse_duration

FOLDER = Path(__file__).parents[2] / "systemd"
DROP_INS = Path(__file__).parents[2] / "deploy" / "drop-ins"
ROLES = ["master", "controller", "database-proxy", "pushgateway-client"]
UNITS = sorted(path.name for path in FOLDER.iterdir())
TEMPLATES = [unit for unit in UNITS if "@" in unit]
# What tasks need is left open on controllers, see the unit; all else is closed.
EXPOSURE_MAX = {"controller": 9.0}
HARDENED_EXPOSURE_MAX = 2.5
# systemd.exec(5): each of them implies NoNewPrivileges for a service that is not root's, and so takes sudo away.
NO_SUDO = {
    "NoNewPrivileges", "SystemCallFilter", "SystemCallArchitectures", "SystemCallLog", "RestrictAddressFamilies",
    "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute",
    "PrivateDevices", "ProtectClock", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules",
    "ProtectKernelTunables", "DynamicUser", "CapabilityBoundingSet",
}  # fmt: skip


def service(unit: str, folder: Path = FOLDER) -> dict[str, str]:
    parser = configparser.RawConfigParser(delimiters=("=",))
    # The names of systemd's settings are case-sensitive.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((folder / unit).read_text())
    return dict(parser["Service"])


def role_of(unit: str) -> str:
    return unit.removeprefix("cyclone-").split("@")[0].removesuffix(".service")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.fail("systemd-analyze is not installed: install systemd (it need not run), the units are checked by it")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def rendered(unit: str, folder: Path, *drop_ins: str) -> Path:
    """The unit with a program that exists, and with these drop-ins."""
    text = (FOLDER / unit).read_text()
    program = folder / f"cyclone-{role_of(unit)}"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert text.count(f"ExecStart=/usr/bin/cyclone-{role_of(unit)} ") == 1
    path = folder / unit
    path.write_text(text.replace("/usr/bin/", f"{folder}/"))
    for name in drop_ins:
        drop_in = folder / f"{unit}.d" / name
        drop_in.parent.mkdir(exist_ok=True)
        shutil.copy(DROP_INS / name, drop_in)
    return path


def complaints(path: Path) -> list[str]:
    """What systemd has to say of a unit."""
    done = analyze("verify", "--man=no", str(path))
    # It also loads the host's units that ours come after, and complains about those: only our own are ours.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "cyclone-" in line]
    assert ours or done.returncode == 0, done.stderr
    return ours


def exposure(path: Path) -> float:
    """What is open of a unit: 0, nothing, to 10."""
    done = analyze("security", "--offline=true", "--no-pager", str(path))
    found = re.search(r"Overall exposure level for .*: ([0-9.]+) ", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found[1])


def test_given_the_folder_when_listed_then_each_role_has_a_unit_and_nothing_else_is_there() -> None:
    assert {role_of(unit) for unit in UNITS} == set(ROLES)
    assert {f"cyclone-{role}.service" for role in ROLES} - set(UNITS) == set()


@pytest.mark.parametrize("unit", UNITS)
def test_given_a_unit_when_systemd_verifies_it_then_it_has_nothing_to_say(unit: str, tmp_path: Path) -> None:
    assert complaints(rendered(unit, tmp_path)) == []


@pytest.mark.parametrize("unit", UNITS)
def test_given_a_unit_when_systemd_measures_it_then_it_is_as_closed_as_it_can_be(unit: str, tmp_path: Path) -> None:
    assert exposure(rendered(unit, tmp_path)) <= EXPOSURE_MAX.get(role_of(unit), HARDENED_EXPOSURE_MAX)


@pytest.mark.parametrize("name", sorted(path.name for path in DROP_INS.iterdir()))
def test_given_a_drop_in_when_systemd_verifies_it_with_its_unit_then_it_has_nothing_to_say(
    name: str, tmp_path: Path
) -> None:
    assert complaints(rendered("cyclone-controller.service", tmp_path, name)) == []


def test_given_the_drop_in_for_controllers_without_sudo_then_they_are_as_closed_as_a_master(tmp_path: Path) -> None:
    path = rendered("cyclone-controller.service", tmp_path, "controller-hardened.conf")
    assert exposure(path) <= HARDENED_EXPOSURE_MAX


def test_given_the_drop_in_for_lustre_then_it_takes_no_sudo_away_and_leaves_a_migration_time_to_end() -> None:
    lustre = service("controller-lustre.conf", DROP_INS)
    assert lustre["NoNewPrivileges"] == "no"
    assert NO_SUDO & set(lustre) == {"NoNewPrivileges"}
    assert parse_duration(lustre["TimeoutStopSec"].replace("min", "m")) > parse_duration(
        service("cyclone-controller.service")["TimeoutStopSec"]
    )


@pytest.mark.parametrize("unit", UNITS)
def test_given_a_unit_when_read_then_it_speaks_the_notify_protocol_and_restarts_as_it_should(unit: str) -> None:
    found = service(unit)
    expected = {
        "Type": "notify",
        "NotifyAccess": "main",
        "Restart": "on-failure",
        # 1 is how a superseded controller ends, see docs/decisions/0006.
        "RestartPreventExitStatus": "1 78" if "controller" in unit else "78",
        "KillMode": "mixed",
    }
    assert {key: found.get(key) for key in expected} == expected
    assert float(found["RestartSec"]) > 0


@pytest.mark.parametrize("unit", UNITS)
def test_given_the_defaults_when_a_unit_is_stopped_or_watched_then_its_times_leave_room(unit: str) -> None:
    settings = load(None, [], "controller")
    found = service(unit)
    stop_s = settings.control.stop_timeout_s + settings.processing.kill_grace_s
    assert parse_duration(found["TimeoutStopSec"]) >= 2 * stop_s
    assert parse_duration(found["WatchdogSec"]) >= 10 * settings.comm.poll_timeout_s


@pytest.mark.parametrize("unit", TEMPLATES)
def test_given_a_template_when_compared_with_its_plain_unit_then_only_the_instance_differs(unit: str) -> None:
    role = role_of(unit)
    template = (FOLDER / f"cyclone-{role}@.service").read_text()
    assert f"ExecStart=/usr/bin/cyclone-{role} -f /etc/cyclone/{role}-%i.conf\n" in template
    plain = template.replace("-%i", "").replace(" %i", "").replace(f"cyclone-{role}@", f"cyclone-{role}")
    assert plain.replace("@.service", ".service") == (FOLDER / f"cyclone-{role}.service").read_text()


@pytest.mark.parametrize("unit", [unit for unit in UNITS if "controller" in unit])
def test_given_a_controller_when_its_tasks_call_sudo_then_its_unit_does_not_forbid_it(unit: str) -> None:
    assert NO_SUDO & set(service(unit)) == set()
    assert "no NoNewPrivileges: sudo would not work" in (FOLDER / unit).read_text()


@pytest.mark.parametrize("unit", [unit for unit in UNITS if "controller" not in unit])
def test_given_a_daemon_that_runs_no_tasks_when_its_unit_is_read_then_it_is_hardened(unit: str) -> None:
    found = service(unit)
    assert found["NoNewPrivileges"] == "yes"
    assert found["ProtectSystem"] == "strict"
    assert found["CapabilityBoundingSet"] == ""
