"""Does the fleet file say what it means, and does a wrong one say what is wrong?"""

from __future__ import annotations

from pathlib import Path

import pytest
from made_fleet import FLEET_FILE, fleet_text, made_fleet

from offboard.fleet.fleet_file import load_fleet, parse_fleet, unit_robot_file
from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec, parse_robot_spec

WRONG = {
    "unknown key": ({"colour": "red"}, "colour"),
    "channel": ({"channel": "beta"}, "channel"),
    "module": ({"module": "nano"}, "module"),
    "system": ({"system": "debian12"}, "orin-nano-8gb does not run debian12"),
    "serial twice": ({"serial": "BENCH-1"}, "serial BENCH-1 belongs to more than one unit"),
    "address twice": ({"address": "field@10.0.0.18"}, "address field@10.0.0.18 belongs"),
    "option as address": ({"address": "-oProxyCommand=x"}, "address"),
    "space in address": ({"address": "a b"}, "address"),
    "line in bus": ({"bus": "/dev/x\\nRUN"}, "bus"),
    "robot elsewhere": ({"robot": "../furuta.toml"}, "robot"),
}


@pytest.mark.parametrize(("changes", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_entry_is_refused_by_name(changes: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made_fleet(**changes)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schema = 1", "schema = 2", "schema"),
        ("[units.duck]", "[units.Duck]", "units"),
        (":5571", ":99999", "port 99999"),
        ("0.013", "nan", "offset_rad"),
        ("ssh-ed25519 AAAA one", "no key", "operators"),
        ("schema = 1", "schema =", "fleet.toml"),
    ],
)
def test_a_wrong_file_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_fleet(fleet_text().replace(old, new), "fleet.toml")


def test_the_example_is_sound() -> None:
    fleet = load_fleet(FLEET_FILE)
    assert [name for name, unit in fleet.units.items() if unit.pulls] == ["duck-09"]
    assert list(fleet.channel("canary")) == ["duck-07"]


def test_a_bus_behind_usb_gets_a_name_of_its_own() -> None:
    fleet = made_fleet()
    assert fleet.unit("duck").port == "/dev/wombet-bus"
    assert fleet.unit("bench").port == "/dev/ttyS1"
    assert fleet.unit("bench").bus_serial is None


def test_an_unknown_unit_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"\['bench', 'duck'\]"):
        made_fleet().unit("duck-7")


def test_calibration_changes_one_number_and_keeps_the_rest_of_the_file() -> None:
    common = FLEET_FILE.with_name("furuta.toml")
    edited = unit_robot_file(FLEET_FILE, load_fleet(FLEET_FILE), "duck-07")
    before, after = common.read_text().splitlines(), edited.splitlines()
    assert [new for old, new in zip(before, after, strict=True) if old != new] == [
        "offset_rad = 0.013"
    ]


def test_a_calibrated_unit_runs_the_policies_of_its_kind() -> None:
    common = load_robot_spec(FLEET_FILE.with_name("furuta.toml"))
    text = unit_robot_file(FLEET_FILE, load_fleet(FLEET_FILE), "duck-07")
    unit = parse_robot_spec(text, "duck-07")
    assert unit.joints[0].offset_rad == 0.013
    assert unit.digest() == common.digest()


def test_calibration_of_a_joint_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(fleet_text().replace("calibration.arm", "calibration.leg"))
    robot = FLEET_FILE.with_name("furuta.toml")
    (tmp_path / robot.name).write_bytes(robot.read_bytes())
    with pytest.raises(ConfigError, match="no joint named 'leg'"):
        load_fleet(tmp_path / "fleet.toml")


def test_a_robot_file_that_cannot_be_edited_is_refused_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "fleet.toml").write_text(fleet_text())
    text = FLEET_FILE.with_name("furuta.toml").read_text()
    odd = text.replace('name = "arm"\n', '"name" = "arm"\n', 1)
    (tmp_path / "furuta.toml").write_text(odd)
    with pytest.raises(ConfigError, match="calibration cannot be put in"):
        load_fleet(tmp_path / "fleet.toml")
