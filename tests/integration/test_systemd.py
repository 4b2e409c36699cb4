"""The systemd units: accepted by systemd itself, and in step with the configuration's defaults."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from cyclone.config import load
from cyclone.units import parse_duration

FOLDER = Path(__file__).parents[2] / "systemd"
UNITS = [
    "cyclone-master.service",
    "cyclone-master@.service",
    "cyclone-controller.service",
    "cyclone-controller@.service",
]
# systemd.exec(5): each of them implies NoNewPrivileges for a service that is not root's, and so takes sudo away.
NO_SUDO = {
    "NoNewPrivileges", "SystemCallFilter", "SystemCallArchitectures", "SystemCallLog", "RestrictAddressFamilies",
    "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute",
    "PrivateDevices", "ProtectClock", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules",
    "ProtectKernelTunables", "DynamicUser", "CapabilityBoundingSet",
}  # fmt: skip


def service(unit: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(delimiters=("=",))
    # The names of systemd's settings are case-sensitive.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((FOLDER / unit).read_text())
    return dict(parser["Service"])


def test_given_the_folder_when_listed_then_each_unit_is_tested_here() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(UNITS)


@pytest.mark.parametrize("unit", UNITS)
def test_given_a_unit_when_systemd_verifies_it_then_it_has_nothing_to_say(unit: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.fail("systemd-analyze is not installed: install systemd (it need not run), the units are checked by it")
    text = (FOLDER / unit).read_text()
    role = unit.removeprefix("cyclone-").split("@")[0].removesuffix(".service")
    program = tmp_path / f"cyclone-{role}"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert text.count(f"ExecStart=/usr/bin/cyclone-{role} ") == 1
    rendered = tmp_path / unit
    rendered.write_text(text.replace("/usr/bin/", f"{tmp_path}/"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(rendered)], capture_output=True, text=True, timeout=60, check=False
    )
    # It also loads the host's units that ours come after, and complains about those: only our own are ours.
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "cyclone-" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


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


@pytest.mark.parametrize("role", ["master", "controller"])
def test_given_a_template_when_compared_with_its_plain_unit_then_only_the_instance_differs(role: str) -> None:
    template = (FOLDER / f"cyclone-{role}@.service").read_text()
    assert f"ExecStart=/usr/bin/cyclone-{role} -f /etc/cyclone/{role}-%i.conf\n" in template
    plain = template.replace("-%i", "").replace(" %i", "").replace(f"cyclone-{role}@", f"cyclone-{role}")
    assert plain.replace("@.service", ".service") == (FOLDER / f"cyclone-{role}.service").read_text()


@pytest.mark.parametrize("unit", [unit for unit in UNITS if "controller" in unit])
def test_given_a_controller_when_its_tasks_call_sudo_then_its_unit_does_not_forbid_it(unit: str) -> None:
    assert NO_SUDO & set(service(unit)) == set()
    assert "no NoNewPrivileges: sudo would not work" in (FOLDER / unit).read_text()


@pytest.mark.parametrize("unit", [unit for unit in UNITS if "master" in unit])
def test_given_a_master_when_its_unit_is_read_then_it_is_hardened(unit: str) -> None:
    found = service(unit)
    assert found["NoNewPrivileges"] == "yes"
    assert found["ProtectSystem"] == "strict"
    assert found["CapabilityBoundingSet"] == ""
