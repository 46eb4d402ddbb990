"""Are wheels believed only by their hash, and is a unit enrolled once?"""

from __future__ import annotations

from pathlib import Path

import pytest
from made_fleet import made_workshop

from offboard.fleet.modules import TARGETS
from offboard.fleet.unit_identity import unit_identity
from offboard.fleet.wheelhouse import (
    complete,
    fetch_wheels,
    lock_path,
    pinned_wheels,
    read_lock,
)
from offboard.fleet.workshop import SOURCE, Workshop, fingerprint
from offboard.keys import list_robots, load_server_keys, revoke_robot
from onboard.identity import load_identity
from protocol.errors import ConfigError

JETPACK6 = TARGETS["jetpack6"]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return made_workshop(tmp_path)


def required(python: str) -> set[str]:
    """What requirements/onboard.txt asks for on an interpreter, NAME==VERSION."""
    lines = (SOURCE / "requirements" / "onboard.txt").read_text().splitlines()
    old = python == "cp310"
    found = set()
    for line in lines:
        package, _, marker = line.partition(";")
        if package and not line.startswith("#") and (not marker or ("<" in marker) == old):
            found.add(package.strip().lower().replace("_", "-"))
    return found


@pytest.mark.parametrize("system", TARGETS)
def test_the_lock_pins_exactly_what_the_robot_requires(system: str) -> None:
    pins = read_lock(lock_path(SOURCE / "requirements", TARGETS[system]))
    assert {f"{pin.name}=={pin.version}" for pin in pins} == required(TARGETS[system].python)


@pytest.mark.parametrize("text", ["# nothing\n", "deep==1.0\n", "deep>=1 --hash=sha256:00\n"])
def test_a_lock_that_pins_no_hash_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock.txt").write_text(text)
    with pytest.raises(ConfigError):
        read_lock(tmp_path / "lock.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_lock(tmp_path / "none.txt")


def test_a_release_brings_the_robot_files_of_its_units_calibrated(workshop: Workshop) -> None:
    release = workshop.release(JETPACK6)
    assert "offset_rad = 0.013" in release.file("robots/duck.toml").decode()
    assert [it.path for it in release.entries if it.path.startswith("robots/")] == [
        "robots/duck.toml"
    ], "bench is another target's"
    robot = workshop.fleet_path.with_name("furuta.toml")
    robot.write_text(robot.read_text() + "# another word\n")
    assert workshop.release(JETPACK6).id != release.id


def test_a_wheel_with_another_hash_is_not_taken(workshop: Workshop) -> None:
    folder = workshop.out / "wheels" / JETPACK6.name
    pins = read_lock(lock_path(workshop.requirements, JETPACK6))
    assert complete(folder, pins)
    (wheel,) = folder.glob("*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    assert not complete(folder, pins)
    with pytest.raises(ConfigError, match=r"deep==1\.0"):
        pinned_wheels(folder, pins)


def test_wheels_are_fetched_for_the_unit_not_for_this_machine(tmp_path: Path) -> None:
    asked: list[str] = []
    fetch_wheels(tmp_path / "lock.txt", JETPACK6, tmp_path / "wheels", asked.extend)
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} <= set(asked)
    assert {"--python-version=3.10", "--abi=cp310", "--platform=manylinux_2_28_aarch64"} <= set(
        asked
    )
    assert not any("x86" in word for word in asked)


def test_a_unit_is_enrolled_once_and_gets_the_same_bytes_again(workshop: Workshop) -> None:
    workshop.overlay("duck", data_partition=True)
    first = fingerprint(workshop.overlay_path("duck"))
    workshop.overlay("duck", data_partition=True)
    assert fingerprint(workshop.overlay_path("duck")) == first
    assert [key.robot for key in list_robots(workshop.keys)] == ["duck"]


def test_the_identity_is_one_that_the_robot_accepts(workshop: Workshop, tmp_path: Path) -> None:
    made = unit_identity(workshop.keys, "duck", tmp_path / "duck")
    held = load_identity(tmp_path / "duck" / "keys")
    server = load_server_keys(workshop.keys)
    assert (held.public, held.secret, held.server) == (made.public, made.secret, made.server)
    assert (made.server, made.root) == (server.curve_public, server.root)
    assert made.secret.decode() not in repr(made)


def test_a_revoked_unit_is_not_made_ready(workshop: Workshop) -> None:
    workshop.overlay("duck", data_partition=True)
    revoke_robot(workshop.keys, "duck")
    with pytest.raises(ConfigError, match="does not let the key of duck"):
        workshop.overlay("duck", data_partition=True)


def test_a_unit_whose_identity_is_elsewhere_is_not_enrolled_twice(workshop: Workshop) -> None:
    unit_identity(workshop.keys, "duck", workshop.out / "elsewhere")
    with pytest.raises(ConfigError, match="revoke its key first"):
        workshop.overlay("duck", data_partition=True)
