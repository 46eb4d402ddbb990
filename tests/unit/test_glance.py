"""What a rig shows of itself, and what others make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_arm import ARM, load_arm

from protocol.dynamixel import make_write
from protocol.errors import ConfigError
from protocol.robot_spec import RobotSpec, load_robot_spec
from protocol.xl330 import CURRENT_MODE, GOAL_CURRENT, OPERATING_MODE, TORQUE_ENABLE
from sim_harness.glance import EVERY_NS, SUFFIX, GlanceReader, GlanceWriter, glance_path
from sim_harness.hil.faults import BrownOut, Drop
from sim_harness.hil.stage import Stage

FURUTA = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
SPEC = load_robot_spec(FURUTA)
MS = 1_000_000


class Shown:
    """A rig, what it shows, and somebody who looks."""

    def __init__(self, spec: RobotSpec, path: Path) -> None:
        self.stage = Stage(spec, FURUTA.parent, "nominal", 0)
        body = spec.body("nominal")
        self.writer = GlanceWriter(path, spec, body, self.stage.plant, self.stage.firmware)
        self.writer.open()
        coordinates = len(self.stage.plant.qpos)
        self.reader = GlanceReader(path, coordinates, len(spec.actuated)).open()

    def show(self, until_ns: int, faults: str = "") -> None:
        self.stage.advance(until_ns)
        self.writer.show(until_ns, faults)


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return Shown(SPEC, tmp_path / "tty.glance")


def push(shown: Shown, current_ma: int) -> None:
    orders = ((OPERATING_MODE, CURRENT_MODE), (TORQUE_ENABLE, 1), (GOAL_CURRENT, current_ma))
    for register, value in orders:
        packet = make_write(1, register.address, register.pack(value))
        shown.stage.receive(packet, shown.stage.time_ns)


def test_it_lies_beside_the_serial_port() -> None:
    assert glance_path(Path("/tmp/tty")).name == f"tty{SUFFIX}"


def test_before_the_first_moment_there_is_nothing_to_see(shown: Shown) -> None:
    assert shown.reader.look() is None


def test_pose_torque_and_faults_are_those_of_the_rig(shown: Shown) -> None:
    push(shown, 400)
    shown.show(100 * MS, "drop, half")
    seen = shown.reader.look()
    assert seen is not None
    assert seen.time_s == pytest.approx(0.1)
    assert seen.qpos.tolist() == shown.stage.plant.qpos.tolist()
    assert seen.torque_nm.tolist() == pytest.approx([0.37 * shown.stage.plant.current_a()[0]])
    assert seen.torque_nm[0] > 0.1
    assert seen.asked.tolist() == [True]
    assert (seen.supply_v, seen.faults) == (5.0, "drop, half")


def test_a_motor_of_which_nothing_is_asked_is_told_apart(shown: Shown) -> None:
    push(shown, 0)
    shown.show(50 * MS)
    seen = shown.reader.look()
    assert seen is not None
    assert seen.asked.tolist() == [False]


def test_moments_come_at_their_pace(shown: Shown) -> None:
    shown.show(EVERY_NS)
    shown.show(EVERY_NS + MS)
    first = shown.reader.look()
    shown.show(2 * EVERY_NS)
    second = shown.reader.look()
    assert first is not None
    assert second is not None
    assert second.time_s - first.time_s == pytest.approx(EVERY_NS * 1e-9)


def test_half_a_moment_is_never_taken_for_a_whole_one(shown: Shown) -> None:
    shown.show(EVERY_NS)
    assert shown.writer._row is not None
    shown.writer._row["sequence"] += 1
    assert shown.reader.look() is None


def test_more_faults_than_there_is_room_for_are_cut(shown: Shown) -> None:
    shown.show(EVERY_NS, "x" * 5000)
    seen = shown.reader.look()
    assert seen is not None
    assert seen.faults == "x" * 512


def test_without_a_rig_one_is_told_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is the plant running"):
        GlanceReader(tmp_path / "tty.glance", 2, 1).open()
    (tmp_path / "empty.glance").write_bytes(b"")
    with pytest.raises(ConfigError, match="is the plant running"):
        GlanceReader(tmp_path / "empty.glance", 2, 1).open()


def test_another_robots_rig_is_refused(shown: Shown, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another robot"):
        GlanceReader(tmp_path / "tty.glance", 12, 12).open()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot show itself"):
        Shown(SPEC, tmp_path / "nowhere" / "tty.glance")


def test_when_the_rig_ends_its_file_goes_and_readers_keep_what_they_saw(
    shown: Shown, tmp_path: Path
) -> None:
    shown.show(EVERY_NS)
    shown.writer.close()
    assert not (tmp_path / "tty.glance").exists()
    assert shown.reader.ended
    shown.show(2 * EVERY_NS)
    seen = shown.reader.look()
    assert seen is not None
    assert seen.time_s == pytest.approx(0.02)


def test_showing_changes_nothing_in_the_rig(tmp_path: Path) -> None:
    """Or a replay, which shows nothing, would differ."""
    arm = load_arm()
    watched, alone = Shown(arm, tmp_path / "one"), Stage(arm, ARM.parent, "sagging", 0)
    watched.stage = Stage(arm, ARM.parent, "sagging", 0)
    fault = Drop(share=0.1, at_s=0.0)
    for stage in (watched.stage, alone):
        stage.turn(True, fault)
        stage.turn(True, BrownOut(supply_v=6.5, at_s=0.0))
    for at_ns in range(0, 200 * MS, 20 * MS):
        watched.show(at_ns)
        alone.advance(at_ns)
    assert np.array_equal(watched.stage.plant.qpos, alone.plant.qpos)
