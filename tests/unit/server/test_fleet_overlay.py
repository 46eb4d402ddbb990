"""Does a unit get what it needs, whole, private where it must be, and the same every time?"""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile

import pytest
from made_fleet import (
    HERE,
    ROBOT,
    dependency,
    made_fleet,
    made_identity,
    made_release,
    our_wheel,
    wheel,
)

from offboard.fleet.fleet_file import Fleet
from offboard.fleet.layout import DATA_LABEL
from offboard.fleet.modules import TARGETS
from offboard.fleet.overlay import LINKS, MANIFEST, Entry, Overlay
from offboard.fleet.release_tree import make_release
from offboard.fleet.unit_overlay import BOOT, BOOT_MODULES, RELEASE_UNITS, make_overlay
from protocol.errors import ConfigError


def overlay(
    name: str = "duck", fleet: Fleet | None = None, data: bool = True, robot: str = ROBOT
) -> Overlay:
    found = fleet or made_fleet()
    unit = found.unit(name)
    return make_overlay(
        name,
        unit,
        found.server,
        found.operators,
        made_identity(),
        made_release(unit.target, robot=robot),
        data,
    )


def files(made: Overlay) -> dict[str, Entry]:
    return {entry.path: entry for entry in made.entries}


def test_the_same_inputs_give_the_same_bytes() -> None:
    assert overlay().tar() == overlay().tar()
    assert overlay().tar() != overlay(fleet=made_fleet(bus="usb:OTHER")).tar()


def test_the_archive_knows_no_clock_and_no_user() -> None:
    with tarfile.open(fileobj=io.BytesIO(overlay().tar())) as archive:
        members = archive.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "root")}
    seen: set[str] = set()
    for member in members:
        parent = member.name.rpartition("/")[0]
        assert not parent or parent in seen, "directories come before what is in them"
        seen.add(member.name)


def test_nothing_secret_can_be_read_by_others() -> None:
    made = overlay()
    secret = made_identity().secret
    holders = [entry for entry in made.entries if secret in entry.data]
    assert [(entry.path, entry.mode) for entry in holders] == [
        ("etc/wombet/identity/keys/robot.secret", 0o600)
    ]
    modes = {folder.path: folder.mode for folder in made.directories()}
    assert modes["etc/wombet/identity"] == modes["etc/wombet/identity/keys"] == 0o700
    assert modes["etc"] == 0o755


def test_the_manifest_names_every_file_with_its_digest() -> None:
    found = files(overlay())
    listed = dict(
        reversed(line.split("  ", 1)) for line in found[MANIFEST].data.decode().splitlines()
    )
    regular = {path for path, entry in found.items() if entry.link is None} - {MANIFEST}
    assert listed.keys() == regular
    for path, digest in listed.items():
        assert hashlib.sha256(found[path].data).hexdigest() == digest


def test_the_links_are_listed_beside_the_manifest() -> None:
    found = files(overlay())
    links = {path for path, entry in found.items() if entry.link is not None}
    assert "opt/wombet/current" in links
    assert set(found[LINKS].data.decode().splitlines()) == links


def test_units_are_enabled_and_come_from_the_release_itself() -> None:
    found = files(overlay())
    for name in ("wombet-control.service", "wombet-agent.service"):
        assert found[f"etc/systemd/system/multi-user.target.wants/{name}"].link == f"../{name}"
        (shipped,) = [e.data for p, e in found.items() if p.endswith(f"lib/onboard/systemd/{name}")]
        assert found[f"etc/systemd/system/{name}"].data == shipped


def test_the_robot_file_is_that_of_the_release_in_force() -> None:
    found = files(overlay())
    link = posixpath.normpath(f"etc/wombet/{found['etc/wombet/robot.toml'].link}")
    current = posixpath.normpath(f"opt/wombet/{found['opt/wombet/current'].link}")
    assert found[link.replace("opt/wombet/current", current)].data.decode() == ROBOT


def test_another_robot_file_makes_another_release() -> None:
    assert made_release().id != made_release(robot=ROBOT.replace("cpu = 0", "cpu = 3")).id


def test_a_release_without_the_units_robot_file_is_refused() -> None:
    found = made_fleet()
    release = make_release([our_wheel()], HERE, {"duck": ROBOT})
    with pytest.raises(ConfigError, match=r"has no robots/bench\.toml"):
        make_overlay(
            "bench", found.unit("bench"), found.server, [], made_identity(), release, False
        )


def test_what_takes_releases_is_there_and_started() -> None:
    found = files(overlay())
    release = made_release(TARGETS["jetpack6"])
    assert {f"etc/systemd/system/{unit}" for unit in RELEASE_UNITS} <= found.keys()
    for unit in ("wombet-release-boot.service", "wombet-release-install.path"):
        assert found[f"etc/systemd/system/multi-user.target.wants/{unit}"].link == f"../{unit}"
    assert found["opt/wombet/golden"].link == found["opt/wombet/current"].link
    for module in BOOT_MODULES:
        assert found[f"{BOOT}/{module}"].data == release.file(f"lib/{module}")


def test_the_environment_says_where_bus_and_server_are() -> None:
    text = files(overlay())["etc/wombet/robot.env"].data.decode()
    assert (
        text == "WOMBET_UNIT=duck\nWOMBET_PORT=/dev/wombet-bus\nWOMBET_SERVER=tcp://10.0.0.2:5571\n"
    )


def test_the_bus_adapter_is_known_by_its_serial_number() -> None:
    rules = "etc/udev/rules.d/70-wombet.rules"
    named = files(overlay())[rules].data.decode()
    assert 'ENV{ID_SERIAL_SHORT}=="FT5WJ8QX", \\\n  SYMLINK+="wombet-bus"' in named
    assert 'ATTR{latency_timer}="1"' in named
    assert "wombet-bus" not in files(overlay("bench"))[rules].data.decode()


def test_a_serial_port_of_the_jetson_is_taken_from_its_console() -> None:
    found = files(overlay(fleet=made_fleet(bus="/dev/ttyTHS1")))
    assert found["etc/systemd/system/nvgetty.service"].link == "/dev/null"
    assert "etc/systemd/system/nvgetty.service" not in files(overlay())


def test_only_a_drive_that_was_flashed_has_a_data_partition() -> None:
    mount = "etc/systemd/system/local-fs.target.wants/var-lib-wombet.mount"
    assert mount in files(overlay())
    assert not any("wombet.mount" in path for path in files(overlay(data=False)))
    data = files(overlay())["etc/systemd/system/var-lib-wombet.mount"].data.decode()
    assert f"What=/dev/disk/by-partlabel/{DATA_LABEL}" in data


def test_another_core_for_control_moves_both_units() -> None:
    found = files(overlay(robot=ROBOT.replace("cpu = 0", "cpu = 3")))
    control = found["etc/systemd/system/wombet-control.service.d/cores.conf"].data.decode()
    agent = found["etc/systemd/system/wombet-agent.service.d/cores.conf"].data.decode()
    assert "CPUAffinity=\nCPUAffinity=3 0\n" in control
    assert agent.endswith("CPUAffinity=0\n")
    for name in ("judge", "install"):
        assert found[f"etc/systemd/system/wombet-release-{name}.service.d/cores.conf"].data
    assert not any(path.endswith("cores.conf") for path in files(overlay()))


def test_operators_may_log_in_with_their_keys() -> None:
    found = files(overlay())
    assert found["etc/wombet/operators"].data == b"ssh-ed25519 AAAA one\n"
    assert "etc/ssh/sshd_config.d/60-wombet.conf" in found


@pytest.mark.parametrize(
    "path", ["/etc/x", "../x", "etc/../x", "etc/", "etc/x\ny", "etc/\udcff", "etc/x/below"]
)
def test_a_path_that_leaves_the_overlay_is_refused(path: str) -> None:
    with pytest.raises(ConfigError):
        Overlay([Entry("etc/x"), Entry(path)])


def test_a_release_is_named_by_its_content() -> None:
    assert made_release().id == made_release().id
    assert made_release().id != made_release(main="def main(): ...\n").id
    assert made_release().id != made_release(TARGETS["jetpack6"]).id


def test_a_release_has_the_runtime_and_no_training() -> None:
    paths = {entry.path for entry in made_release().entries}
    assert {"bin/wombet-onboard", "lib/onboard/main.py", "lib/deep/fast.so"} <= paths
    assert "lib/deep/more.py" in paths, "of a .data folder what is imported"
    assert not any("offboard" in path or "scripts" in path for path in paths)


def test_the_launcher_asks_for_the_interpreter_that_the_wheels_are_for() -> None:
    launcher = made_release(TARGETS["jetpack7"]).file("bin/wombet-onboard")
    assert launcher.startswith(b"#!/usr/bin/python3.12 -I\n")


def test_two_wheels_with_the_same_file_are_refused() -> None:
    twin = wheel("twin-1.0-py3-none-any.whl", {"deep/thought.py": b""})
    with pytest.raises(ConfigError, match="same path"):
        make_release([dependency(), twin, our_wheel()], HERE, {})


def test_a_release_without_our_wheel_or_with_a_damaged_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="wombet wheel"):
        make_release([dependency()], HERE, {})
    name, data = dependency()
    with pytest.raises(ConfigError, match="no sound wheel"):
        make_release([(name, data[:-30]), our_wheel()], HERE, {})


def test_bytecode_in_a_wheel_stays_behind() -> None:
    files = {"shallow/thought.py": b"", "shallow/__pycache__/thought.cpython-311.pyc": b"x"}
    release = make_release([wheel("shallow-1-py3-none-any.whl", files), our_wheel()], HERE, {})
    paths = {entry.path for entry in release.entries}
    assert "lib/shallow/thought.py" in paths
    assert not any("__pycache__" in path for path in paths)


def test_a_wheel_cannot_write_outside_of_its_release() -> None:
    with pytest.raises(ConfigError, match="cannot be a file"):
        make_release([our_wheel(), wheel("evil-1.whl", {"../../../../etc/passwd": b""})], HERE, {})
