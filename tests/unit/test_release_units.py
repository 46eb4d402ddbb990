"""The units that take releases and take them back: sound, locked down, in step with the code."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onboard import main
from onboard.main import selftest
from onboard.releases.guardian import main as guardian_main
from onboard.releases.report import EXIT_STATUS
from onboard.releases.unit_paths import AGENT, CONTROL, JUDGE, UnitPaths

UNITS = Path(main.__file__).parent / "systemd"
EXPOSURE_MAX = 20
"""In tenths; the same as for control and agent."""
SERVICES = ("boot", "rollback", "judge", "install")
CHECK = "wombet-bus-check@.service"
FILES = [*(f"wombet-release-{name}.service" for name in SERVICES), CHECK]
ROOT = UnitPaths(Path("/"))

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed: apt install systemd",
)
each_unit = pytest.mark.parametrize("name", FILES)


def values(name: str, key: str) -> list[str]:
    lines = (UNITS / name).read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def command(name: str) -> list[str]:
    (line,) = values(name, "ExecStart")
    return line.split()


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    argv = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
def test_systemd_understands_them(tmp_path):
    """Where programs lie is the only thing that this machine need not have."""
    for unit in UNITS.iterdir():
        lines = unit.read_text().splitlines()
        kept = [f"ExecStart={sys.executable}" if x.startswith("ExecStart=") else x for x in lines]
        (tmp_path / unit.name).write_text("\n".join(kept))
    names = [name.replace("@.", "@0123456789abcdef.") for name in FILES]
    names.append("wombet-release-install.path")
    done = analyze("verify", *(tmp_path / name for name in names))
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@each_unit
def test_they_are_locked_down(name):
    done = analyze("security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", UNITS / name)
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("name", ["boot", "rollback"])
def test_the_guardian_is_started_outside_of_every_release_with_a_word_it_knows(name, tmp_path):
    python, *options, folder, word = command(f"wombet-release-{name}.service")
    assert (python, options) == ("/usr/bin/python3", ["-I", "-S"])
    assert Path(folder) == ROOT.program / "boot"
    assert guardian_main([word], tmp_path) == 1, "known, but there is no release here"


def test_the_boot_comes_before_the_runtime_and_control_hands_over_when_it_cannot_go_on():
    (before,) = values("wombet-release-boot.service", "Before")
    assert before.split() == [CONTROL, AGENT]
    assert values(CONTROL, "OnFailure") == ["wombet-release-rollback.service"]


def test_who_judges_and_who_installs_are_programs_of_releases_that_ran_before():
    assert command(JUDGE)[0] == str(ROOT.program / "previous/bin/wombet-onboard")
    assert command("wombet-release-install.service")[0] == str(
        ROOT.program / "current/bin/wombet-onboard"
    )


def test_what_the_agent_lays_down_is_what_is_watched_and_installed():
    assert values("wombet-release-install.path", "PathChanged") == [str(ROOT.inbox / "ready")]
    assert str(ROOT.inbox) in command("wombet-release-install.service")


@pytest.mark.parametrize("name", ["judge", "install"])
def test_an_answer_is_no_failure(name):
    (line,) = values(f"wombet-release-{name}.service", "SuccessExitStatus")
    assert {int(word) for word in line.split()} == set(EXIT_STATUS.values()) - {0}


@pytest.mark.parametrize("name", SERVICES)
def test_they_write_only_where_releases_are(name):
    unit = f"wombet-release-{name}.service"
    assert values(unit, "ProtectSystem") == ["strict"]
    assert values(unit, "ReadWritePaths") == [f"{ROOT.program} {ROOT.books}"]
    assert values(unit, "CapabilityBoundingSet") == ["CAP_DAC_OVERRIDE"]


def test_the_bus_check_has_the_rights_of_control_and_moves_nothing():
    program, verb, *options = command(CHECK)
    assert (program, verb) == ("/opt/wombet/releases/%i/bin/wombet-onboard", "selftest")
    known = selftest.__code__.co_varnames[: selftest.__code__.co_argcount]
    assert {option.removeprefix("--") for option in options[::2]} <= set(known) - {"arm"}
    for key in ("User", "SupplementaryGroups", "DeviceAllow", "CapabilityBoundingSet"):
        assert values(CHECK, key) == values(CONTROL, key)
