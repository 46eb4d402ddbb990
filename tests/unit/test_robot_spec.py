"""Is every kind of nonsense in a robot file refused, by one error that names file and key?"""

from __future__ import annotations

import re

import msgspec
import pytest
from made_records import ROBOT_FILE, SPEC

from protocol.errors import ConfigError
from protocol.robot_spec import RobotSpec, Safety, load_robot_spec, parse_robot_spec

TEXT = ROBOT_FILE.read_text(encoding="utf-8")


def edited(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_robot_spec(text, "rig.toml")
    assert str(caught.value).startswith("rig.toml: ")
    return str(caught.value)


def test_the_file_we_ship_is_accepted() -> None:
    spec = parse_robot_spec(TEXT, "furuta.toml")
    assert [joint.name for joint in spec.actuated] == ["arm"]
    assert spec.tick_s == pytest.approx(0.02)


NONSENSE = {
    "unknown key at the top": ("schema = 1", "schema = 1\ncolour = 1", "colour"),
    "unknown key in a table": ("baud = 1_000_000", "baud = 1_000_000\nbauds = 1", "bauds"),
    "unknown key in a joint": ('model = "xl330-m288"', 'model = "xl330-m288"\nkp = 1', "kp"),
    "another schema": ("schema = 1", "schema = 2", "schema"),
    "text for a number": ("baud = 1_000_000", 'baud = "fast"', "baud"),
    "NaN": ("offset_rad = 0.0", "offset_rad = nan", "joints[0].offset_rad"),
    "infinite stop": ("position_max_rad = 2.6", "position_max_rad = inf", "position_max_rad"),
    "NaN home": ("home_rad = [0.0]", "home_rad = [nan]", "homing.home_rad[0]"),
    "NaN limit": ("effort_max_nm = 0.296", "effort_max_nm = nan", "effort_max_nm"),
    "infinite limit": ("voltage_max_v = 6.0", "voltage_max_v = inf", "safety.voltage_max_v"),
    "effort in mNm": ("effort_max_nm = 0.296", "effort_max_nm = 296.0", "check the units"),
    "current in mA": ("current_max_a = 0.8", "current_max_a = 800.0", "check the units"),
    "unit left out": ("effort_max_nm = 0.296", "effort_max = 0.296", "effort_max"),
    "two joints of one name": ('name = "pendulum"', 'name = "arm"', "joints.name must be unique"),
    "two joints of one id": ("id = 2", "id = 1", "joints.id must be unique"),
    "broadcast id": ("id = 2", "id = 254", "id"),
    "name with a blank": ('name = "arm"', 'name = "my arm"', "name"),
    "no actuated joint": ("actuated = true", "actuated = false", "at least one"),
    "encoder that pulls": ("actuated = false", "actuated = true", "has no torque"),
    "stops the wrong way round": ("position_min_rad = -2.6", "position_min_rad = 2.7", "below"),
    "margin as wide as the range": (
        "position_margin_rad = 0.4",
        "position_margin_rad = 2.6",
        "position_margin_rad",
    ),
    "home missing": ("home_rad = [0.0]", "home_rad = []", "home_rad needs 1"),
    "home for two": ("home_rad = [0.0]", "home_rad = [0.0, 0.0]", "home_rad needs 1"),
    "home behind the barrier": ("home_rad = [0.0]", "home_rad = [2.3]", "[-2.2, 2.2] rad"),
    "passive joint that is none": (
        'passive_joint = "pendulum"',
        'passive_joint = "elbow"',
        "'elbow'",
    ),
    "passive joint that is driven": (
        'passive_joint = "pendulum"',
        'passive_joint = "arm"',
        "passive_joint 'arm'",
    ),
    "observation of no joint": (
        'kind = "cos"\njoint = "pendulum"',
        'kind = "cos"\njoint = "elbow"',
        "observation[1].joint 'elbow'",
    ),
    "applied action of a passive joint": (
        'kind = "applied"\njoint = "arm"',
        'kind = "applied"\njoint = "pendulum"',
        "cannot be read as applied",
    ),
    "history with a hole": ("age_ticks = 2", "age_ticks = 3", "got [1, 3]"),
    "history said twice": ("age_ticks = 2", "age_ticks = 1", "got [1, 1]"),
    "age of a position": ("scale = 0.5", "scale = 0.5\nage_ticks = 2", "observation[0].age_ticks"),
    "scale of zero": ("scale = 0.5", "scale = 0.0", "scale"),
    "voltages the wrong way round": ("voltage_min_v = 3.7", "voltage_min_v = 6.5", "voltage_min_v"),
    "read time-out of more than half a tick": (
        "read_timeout_s = 0.006",
        "read_timeout_s = 0.0101",
        "bus.read_timeout_s",
    ),
    "watchdog shorter than two ticks": ("watchdog_s = 0.04", "watchdog_s = 0.03", "watchdog_s"),
    "discount of one": ("discount = 0.98", "discount = 1.0", "discount"),
    "physics out of step": ("physics_hz = 1000", "physics_hz = 1020", "physics_hz"),
    "no nominal body": ("[plant.bodies.nominal]", "[plant.bodies.other]", "bodies.nominal"),
    "stops in degrees": ("position_max_rad = 2.6", "position_max_rad = 149.0", "write radians"),
    "stops far below": ("position_min_rad = -2.6", "position_min_rad = -12.6", "write radians"),
    "speed in rpm": ("velocity_max_rad_s = 12.0", "velocity_max_rad_s = 229.0", "write rad/s"),
    "speed of a passive joint": (
        "velocity_max_rad_s = 40.0",
        "velocity_max_rad_s = 201.0",
        "rad/s",
    ),
    "temperature in kelvin": ("temperature_max_c = 70.0", "temperature_max_c = 343.0", "°C"),
    "temperature below the room's": ("temperature_max_c = 70.0", "temperature_max_c = 29.0", "°C"),
    "voltage in mV": ("voltage_max_v = 6.0", "voltage_max_v = 6000.0", "voltage_max_v must lie in"),
    "voltage of no supply": (
        "voltage_min_v = 3.7",
        "voltage_min_v = 2.9",
        "voltage_min_v must lie",
    ),
    "current beyond the motor's register": (
        "current_max_a = 0.8\ntorque_constant_nm_a = 0.370",
        "current_max_a = 1.8\ntorque_constant_nm_a = 0.2",
        "at most the 1.75 A of an xl330-m288",
    ),
    "a barrier that gives way": (
        "barrier_stiffness_nm_rad = 2.0",
        "barrier_stiffness_nm_rad = 0.7",
        "0.28 Nm must reach effort_max_nm 0.296",
    ),
    "operator away for days": (
        "operator_timeout_s = 3600.0",
        "operator_timeout_s = 86401.0",
        "operator_timeout_s must be at most 86400",
    ),
    "homing faster than the joint": (
        "velocity_max_rad_s = 8.0",
        "velocity_max_rad_s = 12.5",
        "homing.velocity_max_rad_s must be at most 12",
    ),
    "settled at any speed": (
        "settled_velocity_rad_s = 0.3",
        "settled_velocity_rad_s = 8.0",
        "homing.settled_velocity_rad_s",
    ),
    "homing for ever": ("timeout_s = 20.0", "timeout_s = 20000.0", "homing.timeout_s"),
    "unknown reward": ('reward = "swing_up"', 'reward = "swing_down"', "tasks.swing_up: no reward"),
    "no TOML": ("schema = 1", "schema = ", "Invalid value"),
    "nested beyond reason": ("schema = 1", "schema = " + "[" * 10_000, "rig.toml"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused_by_name(case: str) -> None:
    old, new, named = NONSENSE[case]
    assert named in refusal(edited(old, new))


def test_an_empty_table_of_tasks_is_refused() -> None:
    table = re.search(r"\[tasks.swing_up\]\n(.+\n)+", TEXT)
    assert table is not None
    assert "tasks is empty" in refusal(TEXT.replace(table[0], "[tasks]\n"))


@pytest.mark.parametrize("key", Safety.__struct_fields__)
def test_no_safety_number_has_a_default(key: str) -> None:
    text, removed = re.subn(rf"^{key} = .*\n", "", TEXT, flags=re.MULTILINE)
    assert removed == 1
    assert f"`{key}`" in refusal(text)


def test_all_problems_are_told_at_once() -> None:
    text = edited("home_rad = [0.0]", "home_rad = []").replace(
        "watchdog_s = 0.04", "watchdog_s=0.03"
    )
    told = refusal(text)
    assert "home_rad" in told
    assert "watchdog_s" in told


def test_a_gear_multiplies_the_effort_that_may_be_allowed() -> None:
    text = edited("gear = 1.0", "gear = 10.0")
    assert "check the units" in refusal(text)
    text = text.replace("effort_max_nm = 0.296", "effort_max_nm = 2.96")
    assert "the barrier cannot hold" in refusal(text)
    parse_robot_spec(text.replace("nm_rad = 2.0", "nm_rad = 20.0"), "geared.toml")


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_robot_spec(tmp_path / "nowhere.toml")


def test_a_file_that_is_no_text_is_named(tmp_path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml"):
        load_robot_spec(path)


@pytest.mark.parametrize(
    ("lookup", "known"),
    [
        (lambda spec: spec.joint_index("elbow"), "arm"),
        (lambda spec: spec.task("juggle"), "swing_up"),
        (lambda spec: spec.body("moon"), "nominal"),
    ],
    ids=["joint", "task", "body"],
)
def test_an_unknown_name_is_answered_with_those_that_exist(lookup, known) -> None:
    with pytest.raises(ConfigError, match=known):
        lookup(SPEC)


@pytest.mark.parametrize("key", Safety.__struct_fields__)
def test_the_digest_changes_with_every_safety_number(key: str) -> None:
    changed = msgspec.structs.replace(SPEC.safety, **{key: 2 * getattr(SPEC.safety, key)})
    assert with_parts(safety=changed).digest() != SPEC.digest()


def test_the_digest_does_not_change_with_the_simulated_body() -> None:
    heavier = msgspec.structs.replace(SPEC.body("nominal"), pendulum_tip_kg=1.0)
    plant = msgspec.structs.replace(SPEC.plant, physics_hz=2000, bodies={"nominal": heavier})
    assert with_parts(plant=plant).digest() == SPEC.digest()


def test_the_digest_does_not_depend_on_how_the_file_is_written() -> None:
    timing = "[timing]\ncpu = 0\nfifo_priority = 80\n"
    moved = edited(timing, "").replace("[bus]", f"# moved\n{timing}\n[bus]")
    assert parse_robot_spec(moved, "moved.toml").digest() == SPEC.digest()


def with_parts(**parts: object) -> RobotSpec:
    return msgspec.structs.replace(SPEC, **parts)
