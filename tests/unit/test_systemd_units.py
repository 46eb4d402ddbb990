"""Would systemd take the units, are they locked down, and do they say what the code does?"""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from onboard import main
from onboard.exit_status import Exit
from onboard.guard import HUNG_S
from onboard.main import agent, control
from protocol.robot_spec import RobotSpec

UNITS = Path(main.__file__).parent / "systemd"
INSTALLED = "/opt/wombet/current/bin/wombet-onboard"
EXPOSURE_MAX = 20
"""In tenths. The scale ends at 100; ordinary services lie above 90."""
COMMANDS: dict[str, Callable[..., int]] = {"control": control, "agent": agent}

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed: apt install systemd",
)
each_unit = pytest.mark.parametrize("name", COMMANDS)


def unit(name: str) -> Path:
    return UNITS / f"wombet-{name}.service"


def service(name: str) -> dict[str, list[str]]:
    """The [Service] section; systemd allows a key to come twice."""
    found: dict[str, list[str]] = {}
    section = unit(name).read_text().split("[Service]")[1].split("[Install]")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    argv = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
@each_unit
def test_systemd_understands_the_unit(name: str, tmp_path: Path) -> None:
    """Where the program lies is the only thing that this machine need not have."""
    copy = tmp_path / unit(name).name
    copy.write_text(unit(name).read_text().replace(INSTALLED, sys.executable))
    done = analyze("verify", copy)
    assert (done.returncode, done.stderr) == (0, "")
    copy.write_text(copy.read_text().replace("WatchdogSec=", "WatchDogSec="))
    assert "WatchDogSec" in analyze("verify", copy).stderr, "a wrong key would be noticed"


@needs_systemd
@each_unit
def test_the_unit_is_locked_down(name: str) -> None:
    done = analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", unit(name))
    assert done.returncode == 0, done.stdout[-300:]
    assert analyze("security", "--offline=yes", "--threshold=5", unit(name)).returncode != 0


@each_unit
def test_the_command_line_is_one_that_the_program_takes(name: str) -> None:
    (line,) = service(name)["ExecStart"]
    program, command, *options = [word for word in line.split() if not word.startswith("$WOMBET")]
    assert (program, command) == (INSTALLED, name)
    known = COMMANDS[name].__code__.co_varnames[: COMMANDS[name].__code__.co_argcount]
    for option in options[::2]:
        assert option.removeprefix("--").replace("-", "_") in known


@each_unit
def test_both_keep_the_shared_directories_and_end_for_good_on_a_wrong_configuration(
    name: str,
) -> None:
    found = service(name)
    assert found["Type"] == ["notify"]
    assert found["RuntimeDirectoryPreserve"] == ["yes"]
    assert found["RestartPreventExitStatus"] == [str(int(Exit.CONFIG))]
    assert found["User"] == ["wombet"]


def test_control_may_be_real_time_and_reaches_no_network(furuta: RobotSpec) -> None:
    found = service("control")
    assert int(found["LimitRTPRIO"][0]) >= furuta.timing.fifo_priority + 1
    assert found["LimitMEMLOCK"] == ["infinity"]
    assert "RestrictRealtime" not in found
    assert "MemoryDenyWriteExecute" not in found
    assert found["PrivateNetwork"] == ["yes"]
    assert str(furuta.timing.cpu) in found["CPUAffinity"][0].split()
    assert float(found["WatchdogSec"][0]) > HUNG_S, "the guard comes first"


def test_the_example_sets_what_the_units_read() -> None:
    parser = configparser.ConfigParser()
    parser.read_string("[env]\n" + (UNITS / "robot.env.example").read_text())
    given = {key.upper() for key in parser["env"]}
    asked = {
        word[2:-1]
        for path in UNITS.glob("*.service")
        for word in re.findall(r"\$\{\w+\}", path.read_text())
    }
    assert given == asked
