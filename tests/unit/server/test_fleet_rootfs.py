"""Does a root file system hold the overlay afterwards, and is one that would not start noticed?"""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
from made_fleet import (
    HERE,
    MAIN,
    dependency,
    fleet_text,
    made_identity,
    made_release,
    made_rootfs,
    not_owned,
)

from offboard.fleet.fleet_file import parse_fleet
from offboard.fleet.overlay import LINKS, Entry, Overlay
from offboard.fleet.rootfs import apply_overlay, make_users, set_hostname
from offboard.fleet.rootfs_check import (
    import_problems,
    interpreter_problems,
    machine_problems,
    permission_problems,
    problems,
    start_problems,
    unit_problems,
)
from offboard.fleet.unit_overlay import make_overlay
from protocol.errors import ConfigError

SYSTEM_UNITS = Path("/usr/lib/systemd/system")


def overlay(main: str = MAIN, data: bool = False, bus: str = "/dev/ttyS1") -> Overlay:
    fleet = parse_fleet(fleet_text().replace("/dev/ttyS1", bus), "fleet.toml")
    unit = fleet.unit("bench")
    release = made_release(unit.target, main)
    found = (fleet.server, fleet.operators, made_identity(), release, data)
    return make_overlay("bench", unit, *found)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    return made_rootfs(tmp_path / "rootfs")


def library(rootfs: Path) -> Path:
    return (rootfs / "opt/wombet/current/lib").resolve()


def put(rootfs: Path, made: Overlay) -> None:
    apply_overlay(made, rootfs, not_owned)


def test_every_file_is_there_with_its_mode(rootfs: Path) -> None:
    made = overlay()
    put(rootfs, made)
    for entry in made.entries:
        path = rootfs / entry.path
        if entry.link is not None:
            assert os.readlink(path) == entry.link
        else:
            assert path.read_bytes() == entry.data
            assert stat.S_IMODE(path.stat().st_mode) == entry.mode
    assert stat.S_IMODE((rootfs / "etc/wombet/identity").stat().st_mode) == 0o700
    assert list(permission_problems(made, rootfs)) == []


def test_every_file_belongs_to_root(rootfs: Path) -> None:
    owned: list[str] = []
    apply_overlay(overlay(), rootfs, lambda path: owned.append(path.name))
    assert ".robot.secret.wombet" in owned
    assert ".current.wombet" in owned
    assert "identity" in owned


def test_the_next_unit_finds_nothing_of_the_one_before(rootfs: Path) -> None:
    put(rootfs, overlay(data=True))
    first = library(rootfs)
    put(rootfs, overlay("def main(): ...\n"))
    assert library(rootfs) != first
    assert not first.exists()
    assert not (rootfs / "etc/systemd/system/var-lib-wombet.mount").exists()
    assert (rootfs / "etc/passwd").is_file(), "what is not ours stays"


def links(rootfs: Path) -> set[str]:
    return {str(path.relative_to(rootfs)) for path in rootfs.rglob("*") if path.is_symlink()}


def test_the_next_unit_finds_no_link_of_the_one_before(rootfs: Path) -> None:
    (rootfs / "etc/systemd/system").mkdir(parents=True)
    mine = rootfs / "etc/systemd/system/mine.service"
    mine.symlink_to("/dev/null")
    put(rootfs, overlay(data=True, bus="/dev/ttyTHS1"))
    put(rootfs, made := overlay(bus="usb:OTHER"))
    assert links(rootfs) - {entry.path for entry in made.entries if entry.link} == {
        "etc/systemd/system/mine.service"
    }


def test_a_file_of_the_systems_comes_back_when_nothing_lies_in_its_place(rootfs: Path) -> None:
    """NVIDIA's own units are files in /etc, so a link that masks one lies in its place."""
    (rootfs / "etc/systemd/system").mkdir(parents=True)
    console = rootfs / "etc/systemd/system/nvgetty.service"
    console.write_text("NVIDIA's")
    for _ in range(2):
        put(rootfs, overlay(bus="/dev/ttyTHS1"))
        assert os.readlink(console) == "/dev/null"
    put(rootfs, overlay())
    assert not console.is_symlink()
    assert console.read_text() == "NVIDIA's"
    assert [path.name for path in console.parent.glob(".*")] == []


def test_a_list_of_links_that_leads_out_of_the_root_is_refused(rootfs: Path) -> None:
    put(rootfs, overlay())
    (rootfs / LINKS).write_text("../precious\n")
    (rootfs.parent / "precious").touch()
    with pytest.raises(ConfigError, match="cannot be a file of the overlay"):
        put(rootfs, overlay())
    assert (rootfs.parent / "precious").exists()


def test_a_system_is_called_by_its_own_name_and_no_other_machine_is(
    rootfs: Path, tmp_path: Path
) -> None:
    (tmp_path / "hostname").write_text("this machine's")
    (rootfs / "etc/hostname").symlink_to(tmp_path / "hostname")
    set_hostname(rootfs, "goose", not_owned)
    assert (rootfs / "etc/hostname").read_text() == "goose\n"
    assert (rootfs / "etc/hosts").read_text() == "127.0.1.1 goose\n"
    assert (tmp_path / "hostname").read_text() == "this machine's"


def late(argv: list[str], **options: float) -> None:
    raise subprocess.TimeoutExpired(argv, options["timeout"])


def test_programs_that_take_too_long_are_told_and_no_traceback(
    rootfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(rootfs, overlay())
    (rootfs / "usr/lib/systemd/system").mkdir(parents=True)
    monkeypatch.setattr(subprocess, "run", late)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("platform.machine", lambda: HERE.machine)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    with pytest.raises(ConfigError, match="systemd-sysusers did not end within 30 s; try again"):
        make_users(rootfs)
    for found in (start_problems(rootfs, HERE), unit_problems(rootfs)):
        assert "no end within 60 s; try again" in next(found)


def test_applying_twice_changes_nothing(rootfs: Path) -> None:
    put(rootfs, overlay())
    before = {path: path.lstat().st_mode for path in rootfs.rglob("*")}
    put(rootfs, overlay())
    assert {path: path.lstat().st_mode for path in rootfs.rglob("*")} == before


def test_a_link_that_leads_out_of_the_root_is_not_followed(rootfs: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (rootfs / "etc" / "wombet").symlink_to(outside)
    with pytest.raises(ConfigError, match="leads out"):
        put(rootfs, overlay())
    assert not any(outside.iterdir())


def test_what_is_no_root_file_system_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no root file system"):
        put(tmp_path, overlay())
    assert not any(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="this machine's own root"):
        put(Path("/"), overlay())


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="needs systemd-sysusers")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_users_are_made_and_the_identity_becomes_theirs(rootfs: Path) -> None:
    put(rootfs, overlay())
    make_users(rootfs)
    (line,) = [x for x in (rootfs / "etc/passwd").read_text().splitlines() if "wombet" in x]
    (group,) = [x for x in (rootfs / "etc/group").read_text().splitlines() if "dialout" in x]
    assert group.endswith(":wombet")
    if shutil.which("systemd-tmpfiles"):
        argv = ["systemd-tmpfiles", f"--root={rootfs}", "--create", "wombet.conf"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        secret = rootfs / "var/lib/wombet/keys/robot.secret"
        assert secret.read_bytes() == made_identity().secret, done.stderr
        assert str(secret.stat().st_uid) == line.split(":")[2]
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700


def test_a_secret_that_others_may_read_is_noticed(rootfs: Path) -> None:
    made = overlay()
    put(rootfs, made)
    (rootfs / "etc/wombet/identity/keys/robot.secret").chmod(0o644)
    (rootfs / "etc/wombet/identity/tuf").chmod(0o755)
    assert [found.split(" so ")[0] for found in permission_problems(made, rootfs)] == [
        "etc/wombet/identity/keys/robot.secret has mode 644, not 600",
        "etc/wombet/identity/tuf has mode 755,",
    ]


def test_an_import_that_nothing_provides_is_noticed(rootfs: Path) -> None:
    put(rootfs, overlay("import os, deep.thought\nfrom missing.part import x\n"))
    assert list(import_problems(library(rootfs))) == ["onboard/main.py imports missing: not there"]


def test_native_code_for_another_machine_is_noticed(rootfs: Path) -> None:
    put(rootfs, overlay())
    assert list(machine_problems(library(rootfs), HERE)) == []
    foreign = zipfile.ZipFile(io.BytesIO(dependency("aarch64")[1])).read("deep/fast.so")
    (library(rootfs) / "deep/fast.so").write_bytes(foreign)
    assert list(machine_problems(library(rootfs), HERE)) == ["deep/fast.so is not for x86_64"]


def test_a_system_with_another_interpreter_is_noticed(tmp_path: Path) -> None:
    rootfs = made_rootfs(tmp_path / "rootfs", python="3.12")
    (found,) = interpreter_problems(rootfs, HERE)
    assert "python3.11" in found


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to change the root directory")
def test_a_program_that_does_not_start_is_noticed(rootfs: Path) -> None:
    """An empty file stands for the interpreter, so it cannot run."""
    made = overlay()
    put(rootfs, made)
    assert any("does not start" in found for found in problems(made, rootfs, HERE))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.skipif(not SYSTEM_UNITS.is_dir(), reason="needs systemd's own units")
def test_systemd_takes_the_units_as_they_lie_in_the_root(rootfs: Path) -> None:
    put(rootfs, overlay(data=True))
    system = rootfs / "usr/lib/systemd/system"
    shutil.copytree(SYSTEM_UNITS, system, symlinks=True, ignore_dangling_symlinks=True)
    assert list(unit_problems(rootfs)) == []
    unit = rootfs / "etc/systemd/system/wombet-agent.service"
    unit.write_text(unit.read_text().replace("WatchdogSec", "WatchDogSec"))
    (found,) = unit_problems(rootfs)
    assert "WatchDogSec" in found


def test_without_systemds_own_tool_a_root_with_systemd_is_not_called_ready(
    rootfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(rootfs, overlay(data=True))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert list(unit_problems(rootfs)) == [], "without systemd there is nothing to verify"
    (rootfs / "usr/lib/systemd/system").mkdir(parents=True)
    (found,) = unit_problems(rootfs)
    assert "apt install systemd" in found


def test_an_entry_replaces_a_link_instead_of_what_it_leads_to(rootfs: Path) -> None:
    target = rootfs / "usr" / "precious"
    target.write_text("kept")
    (rootfs / "etc" / "x").symlink_to(target)
    put(rootfs, Overlay([Entry("etc/x", b"new")]))
    assert target.read_text() == "kept"
    assert (rootfs / "etc" / "x").read_bytes() == b"new"
