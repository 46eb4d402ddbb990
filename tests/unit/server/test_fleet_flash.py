"""Is a robot flashed only when everything agrees, and told "not flashed" in every other case?"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made_fleet import (
    SERIAL,
    made_bsp,
    made_fleet,
    made_usb,
    made_workshop,
)

from offboard.fleet.flash import NOT_FLASHED, fitted, flash, prepare, saying
from offboard.fleet.plan import FlashPlan, make_plan, plan_text
from offboard.fleet.recovery import recovery_devices, the_device
from offboard.fleet.workshop import Workshop
from offboard.main import main
from protocol.errors import ConfigError, StoreError

PLAN = make_plan("duck", made_fleet().unit("duck"))
RECOVERY = ("0955", "7523")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as NVIDIA's tools do")


@pytest.fixture
def bsp(tmp_path: Path) -> Path:
    return made_bsp(tmp_path / "Linux_for_Tegra")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return made_workshop(tmp_path)


def run(bsp: Path, usb: Path, confirm: str = SERIAL, plan: FlashPlan = PLAN) -> list[str]:
    said: list[str] = []
    flash(plan, bsp, confirm, said.append, usb)
    return said


def test_a_confirmed_robot_in_recovery_mode_is_flashed_as_planned(bsp, tmp_path) -> None:
    said = run(bsp, made_usb(tmp_path / "usb", ("1d6b", "0002"), RECOVERY))
    commands = (PLAN.create_user, PLAN.flash)
    assert (bsp / "record").read_text().splitlines() == [
        f"{commands[0].argv[0]} {' '.join(commands[0].argv[1:])}",
        "ROOTFS_AB=",
        str(bsp),
        f"{commands[1].argv[0]} {' '.join(commands[1].argv[1:])}",
        "ROOTFS_AB=1",
        str(bsp),
    ]
    assert "is flashed" in said[-1]


NOT = {
    "not confirmed": ("", [RECOVERY], f"CONFIRM={SERIAL}"),
    "another serial": ("1424523000008", [RECOVERY], f"CONFIRM={SERIAL}"),
    "nothing connected": (SERIAL, [("1d6b", "0002")], "recovery button"),
    "running, not in recovery": (SERIAL, [("0955", "7020")], "recovery button"),
    "another module": (SERIAL, [("0955", "7323")], "0955:7323, not the 0955:7523"),
    "two of them": (SERIAL, [RECOVERY, RECOVERY], "leave only one"),
}


@pytest.mark.parametrize(("confirm", "devices", "said"), NOT.values(), ids=NOT)
def test_otherwise_nothing_runs_and_it_says_so(bsp, tmp_path, confirm, devices, said) -> None:
    usb = made_usb(tmp_path / "usb", *devices)
    with pytest.raises(ConfigError, match=r"^not flashed: ") as refused:
        run(bsp, usb, confirm)
    assert said in str(refused.value)
    assert not (bsp / "record").exists()


def test_a_tool_that_fails_is_no_success(bsp, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("STUB_EXIT", "7")
    with pytest.raises(ConfigError, match=r"not flashed: .*create_default_user.* ended with 7"):
        run(bsp, made_usb(tmp_path / "usb", RECOVERY))
    assert "l4t_initrd_flash" not in (bsp / "record").read_text()


def test_a_flash_that_breaks_off_is_called_that(bsp, tmp_path) -> None:
    tool = bsp / "tools/kernel_flash/l4t_initrd_flash.sh"
    tool.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ConfigError, match=r"^duck was NOT flashed completely; .*: .*ended with 3"):
        run(bsp, made_usb(tmp_path / "usb", RECOVERY))


@needs_root
def test_the_next_unit_keeps_the_user_and_gets_its_own_name(bsp, tmp_path) -> None:
    usb = made_usb(tmp_path / "usb", RECOVERY)
    run(bsp, usb, plan=fitted(PLAN, bsp))
    assert "field:" in (bsp / "rootfs/etc/passwd").read_text()
    (bsp / "record").unlink()
    goose = fitted(make_plan("goose", made_fleet().unit("duck")), bsp)
    assert "rootfs/etc/passwd has field already" in plan_text(goose)
    assert "create_default_user" not in plan_text(goose), "printed is what is done"
    run(bsp, usb, plan=goose)
    assert "create_default_user" not in (bsp / "record").read_text()
    assert "l4t_initrd_flash" in (bsp / "record").read_text()
    assert (bsp / "rootfs/etc/hostname").read_text() == "goose\n"
    assert (bsp / "rootfs/etc/hosts").read_text() == "127.0.0.1 localhost\n127.0.1.1 goose\n"


def test_a_fresh_root_file_system_gets_the_user(bsp) -> None:
    assert fitted(PLAN, None) == fitted(PLAN, bsp) == PLAN
    assert PLAN.create_user.text() in plan_text(PLAN)


def test_what_fails_is_told_as_what_did_not_happen() -> None:
    for error in (ConfigError("why"), StoreError("why"), OSError("why")):
        with pytest.raises(ConfigError, match=r"^not flashed: why$"), saying(NOT_FLASHED):
            raise error


def test_a_machine_without_usb_has_no_device(tmp_path) -> None:
    assert recovery_devices(tmp_path / "none") == []
    with pytest.raises(ConfigError, match="no Jetson"):
        the_device("7523", [])


@needs_root
def test_the_package_is_made_ready_without_a_device(bsp, workshop) -> None:
    unit = workshop.fleet().unit("duck")
    prepare(PLAN, workshop.overlay("duck", data_partition=True), unit.target, bsp)
    assert "wombet_data" in (bsp / PLAN.layout).read_text()
    assert "wombet_data" not in (bsp / PLAN.source_layout).read_text()
    assert (bsp / "rootfs/opt/wombet/current/bin/wombet-onboard").is_file()
    assert "wombet:" in (bsp / "rootfs/etc/passwd").read_text()


@needs_root
def test_a_root_for_another_release_of_jetpack_is_refused(tmp_path, workshop) -> None:
    bsp = made_bsp(tmp_path / "bsp", python="3.12")
    overlay = workshop.overlay("duck", data_partition=True)
    with pytest.raises(ConfigError, match=r"would not start: .*python3\.10"):
        prepare(PLAN, overlay, workshop.fleet().unit("duck").target, bsp)


@pytest.fixture
def command(monkeypatch, capsys, workshop) -> Callable[..., tuple[int, str, str]]:
    """Runs ``wombet-offboard fleet``: exit status and what it said on both streams."""
    monkeypatch.setattr("offboard.stages.fleet.Workshop", lambda *_: workshop)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wombet-offboard", "fleet", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, " ".join(err.split())

    return run


def test_a_plan_is_printed_and_nothing_written(command, workshop, tmp_path) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = command("plan", "duck", "--fleet", workshop.fleet_path)
    assert code == 0
    assert PLAN.flash.text() in out
    assert "if rootfs/etc/passwd has field already, tools/l4t_create_default_user.sh is left" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plan_for_another_robot_than_named_is_refused(command, workshop) -> None:
    given = ("--fleet", workshop.fleet_path, "--robot", "hw_configs/arm5.toml")
    code, _, said = command("plan", "duck", *given)
    assert code == 2
    assert "duck has furuta.toml in the fleet file, not arm5.toml" in said


def test_without_nvidias_package_the_overlay_is_made_and_nothing_flashed(command, workshop) -> None:
    code, _, said = command("flash", "duck")
    assert code == 2
    assert "not flashed" in said
    assert "set BSP=" in said
    assert workshop.overlay_path("duck").stat().st_mode & 0o777 == 0o600


@needs_root
def test_flashing_from_the_command_line_needs_the_serial(command, bsp) -> None:
    code, _, said = command("flash", "duck", "--bsp", bsp)
    assert code == 2
    assert "not flashed: everything on duck would be erased. Compare the serial number" in said
    assert not (bsp / "record").exists()


def refused(path: Path, data: bytes) -> None:
    """The file system's answer to who is not root, as ``write_durably`` tells it."""
    try:
        raise PermissionError(13, "Permission denied", str(path))
    except PermissionError as error:
        raise StoreError(f"{path} cannot be written: {error}") from error


def test_without_root_it_says_not_flashed_and_what_to_do(command, bsp, monkeypatch) -> None:
    monkeypatch.setattr("offboard.fleet.flash.write_durably", refused)
    code, _, said = command("flash", "duck", "--bsp", bsp)
    assert code == 2
    assert "not flashed: " in said
    assert "cannot be written" in said
    assert "needs root, as NVIDIA's tools do: sudo -E make flash" in said


def test_an_overlay_that_cannot_be_written_is_told_as_not_flashed(command, bsp, workshop) -> None:
    workshop.out.joinpath("units").write_text("no folder")
    code, _, said = command("flash", "duck", "--bsp", bsp)
    assert code == 2
    assert "not flashed: " in said
    assert "units/duckcannotbemade" in "".join(said.split())  # lines break where they are full


def test_a_layout_of_another_kind_is_told_as_not_flashed(command, bsp) -> None:
    (bsp / PLAN.source_layout).write_text("<partition_layout/>")
    code, _, said = command("flash", "duck", "--bsp", bsp)
    assert code == 2
    assert "not flashed: " in said
    assert "no layout of one drive" in said


def test_a_unit_that_is_no_jetson_is_told_as_not_flashed(command) -> None:
    code, _, said = command("flash", "bench")
    assert code == 2
    assert "not flashed: bench has no Jetson" in said


@needs_root
def test_a_root_that_would_not_start_is_told_as_not_flashed(command, tmp_path) -> None:
    code, _, said = command("flash", "duck", "--bsp", made_bsp(tmp_path / "bsp", python="3.12"))
    assert code == 2
    assert "not flashed: " in said
    assert "no usr/bin/python3.10" in said
