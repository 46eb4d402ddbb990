import math
from pathlib import Path

import msgspec
import mujoco
import numpy as np
import pytest

from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec
from sim_harness.model import compile_model
from sim_harness.plant import Plant, load_plant

CONFIGS = Path(__file__).parents[2] / "hw_configs"
ROBOT = CONFIGS / "furuta.toml"
GRAVITY = 9.81


@pytest.fixture(scope="module")
def spec():
    return load_robot_spec(ROBOT)


def build(spec, **changes) -> Plant:
    """The nominal rig with some parameters replaced."""
    body = msgspec.structs.replace(spec.body("nominal"), **changes)
    return Plant(spec, body, compile_model(spec, body, CONFIGS), seed=3)


def clamped_arm(spec, **changes) -> Plant:
    """An arm too heavy to move leaves a simple pendulum."""
    return build(spec, motor_armature_kg_m2=1e4, **changes)


def trace(plant: Plant, steps: int) -> np.ndarray:
    rows = []
    for _ in range(steps):
        plant.advance(1)
        rows.append(plant.velocity_rad_s()[1])
    return np.array(rows)


def test_pendulum_inertia_and_gravity_torque_are_those_of_the_rig(spec):
    body = spec.body("nominal")
    model = compile_model(spec, body, CONFIGS)
    pendulum = model.body("pendulum")
    mass, centre = float(pendulum.mass[0]), float(pendulum.ipos[2])
    inertia = max(pendulum.inertia) + mass * centre**2
    assert inertia == pytest.approx(2.87e-4, rel=0.01)
    assert mass * GRAVITY * centre == pytest.approx(0.0220, rel=0.01)


def test_small_oscillation_has_the_frequency_of_the_rig(spec):
    plant = clamped_arm(spec, pendulum_damping_nm_s=0.0, pendulum_friction_nm=0.0)
    velocity = trace(plant, 5000)
    rising = np.flatnonzero((velocity[:-1] < 0) & (velocity[1:] >= 0))
    period_s = (rising[-1] - rising[0]) * plant.step_s / (len(rising) - 1)
    assert 2 * math.pi / period_s == pytest.approx(8.74, rel=0.01)


def test_energy_is_conserved_without_friction(spec):
    """Large swings of arm and pendulum together for 10 s: the integrator loses less than 2 %."""
    body = msgspec.structs.replace(
        spec.body("nominal"),
        pendulum_damping_nm_s=0.0,
        pendulum_friction_nm=0.0,
        motor_damping_nm_s=0.0,
        motor_friction_nm=0.0,
    )
    model = compile_model(spec, body, CONFIGS)
    model.opt.enableflags |= mujoco.mjtEnableBit.mjENBL_ENERGY
    data = mujoco.MjData(model)
    data.qpos[:] = [0.0, 1.0]
    energies_j = []
    for _ in range(10_000):
        mujoco.mj_step(model, data)
        energies_j.append(sum(data.energy))
        assert abs(data.qpos[0]) < 2.6, "hit a stop: not a conservative motion"
    assert np.ptp(energies_j) < 0.02 * 2 * 0.0220


def test_friction_brings_the_pendulum_to_rest(spec):
    plant = build(spec, pendulum_friction_nm=1e-3)
    plant.advance(5000)
    assert abs(plant.velocity_rad_s()[1]) < 0.05


def spin_freely(spec) -> Plant:
    """Full current on an arm without pendulum and stops, until the speed is steady."""
    body = msgspec.structs.replace(spec.body("nominal"), pendulum_tip_kg=1e-6, pendulum_rod_kg=1e-6)
    model = compile_model(spec, body, CONFIGS)
    model.jnt_limited[:] = 0
    plant = Plant(spec, body, model, seed=0)
    plant.command([0.8])
    plant.advance(1500)
    return plant


def test_full_current_drives_the_free_arm_to_the_no_load_speed(spec):
    plant = spin_freely(spec)
    assert plant.velocity_rad_s()[0] == pytest.approx(10.8, rel=0.06)
    assert 0.0 < plant.current_a()[0] < 0.3


def test_a_gear_divides_the_no_load_speed(spec):
    joints = [msgspec.structs.replace(spec.joints[0], gear=2.0), spec.joints[1]]
    geared = spin_freely(msgspec.structs.replace(spec, joints=joints))
    assert geared.velocity_rad_s()[0] == pytest.approx(
        0.5 * spin_freely(spec).velocity_rad_s()[0], rel=1e-3
    )


def test_end_stops_hold_against_full_current(spec):
    plant = build(spec)
    plant.command([0.8])
    plant.advance(3000)
    assert 2.55 < plant.position_rad()[0] < 2.75


@pytest.mark.parametrize("delay_ms", [0, 5, 25])
def test_a_command_acts_after_the_actuation_delay(spec, delay_ms):
    plant = build(spec, actuation_delay_ms=delay_ms)
    plant.command([0.5])
    plant.advance(delay_ms)
    assert plant.current_a() == [0.0]
    plant.advance(1)
    assert plant.current_a() == [pytest.approx(0.5, rel=1e-3)]


def test_delayed_commands_keep_their_order(spec):
    plant = build(spec, actuation_delay_ms=5)
    plant.command([0.5])
    plant.advance(3)
    plant.command([-0.5])
    plant.advance(4)
    assert plant.current_a()[0] > 0.0
    plant.advance(2)
    assert plant.current_a()[0] < 0.0


def test_positions_are_whole_encoder_counts(spec):
    plant = build(spec)
    plant.command([0.3])
    plant.advance(200)
    for joint, angle, count in zip(
        spec.joints, plant.position_rad(), plant.encoder_counts(), strict=True
    ):
        assert angle == pytest.approx(joint.offset_rad + count * 2 * math.pi / 4096)


def test_the_encoder_is_centred_on_the_hanging_pendulum(spec):
    assert abs(build(spec).encoder_counts()[1]) <= 0.05 * 4096 / (2 * math.pi) + 1


def test_sign_and_gear_are_undone_on_the_way_back(spec):
    joints = [
        msgspec.structs.replace(joint, sign=-1, gear=3.0, offset_rad=0.3) for joint in spec.joints
    ]
    turned = msgspec.structs.replace(spec, joints=joints)
    plain, geared = build(spec), build(turned)
    assert geared.position_rad() == pytest.approx(plain.position_rad(), abs=2 * math.pi / 4096)
    assert geared.encoder_counts()[0] == pytest.approx(
        -3.0 * (plain.position_rad()[0] - 0.3) * 4096 / (2 * math.pi), abs=3
    )


def test_equal_seeds_give_equal_motion(spec):
    def motion(seed: int) -> list[float]:
        plant = load_plant(ROBOT, "nominal", seed)
        seen = []
        for tick in range(50):
            plant.command([0.4 * math.sin(tick)])
            plant.advance(20)
            seen += plant.velocity_rad_s()
        return seen

    assert motion(1) == motion(1)
    assert motion(1) != motion(2)


def test_reset_with_a_seed_repeats_the_start(spec):
    plant = build(spec)
    plant.reset(seed=9)
    first = plant.velocity_rad_s() + plant.position_rad()
    plant.command([0.8])
    plant.advance(100)
    plant.reset(seed=9)
    assert plant.velocity_rad_s() + plant.position_rad() == first
    assert plant.time_s == 0.0
    plant.advance(10)
    assert plant.current_a() == [0.0], "a command from before the reset must not act"


def test_the_target_body_differs_from_nominal(spec):
    nominal = compile_model(spec, spec.body("nominal"), CONFIGS)
    target = compile_model(spec, spec.body("target"), CONFIGS)
    assert target.body("pendulum").mass[0] > nominal.body("pendulum").mass[0]
    assert target.joint("arm").frictionloss[0] > nominal.joint("arm").frictionloss[0]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('<joint name="arm"', '<joint name="elbow"', "no joint 'arm'"),
        ('<geom name="tip"', '<geom name="bob"', "no geom 'tip'"),
        ('<key name="rest"', '<key name="start"', "no key 'rest'"),
        ('type="hinge" axis="1 0 0"', 'type="slide" axis="1 0 0"', "'pendulum' must be a hinge"),
        ("</worldbody>", "</world>", "MuJoCo refuses"),
        ('type="sphere"', 'type="mesh"', "MuJoCo"),
    ],
)
def test_a_wrong_mjcf_is_refused_by_name(spec, tmp_path, old, new, named):
    text = (CONFIGS / "furuta.xml").read_text()
    assert old in text
    (tmp_path / "furuta.xml").write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=named):
        compile_model(spec, spec.body("nominal"), tmp_path)


def test_an_mjcf_joint_without_a_node_is_refused(spec, tmp_path):
    text = (CONFIGS / "furuta.xml").read_text()
    extra = '<body name="x"><joint name="wrist"/><geom size="0.01"/></body></worldbody>'
    (tmp_path / "furuta.xml").write_text(text.replace("</worldbody>", extra))
    with pytest.raises(ConfigError, match="wrist"):
        compile_model(spec, spec.body("nominal"), tmp_path)


def test_a_missing_mjcf_is_named(spec, tmp_path):
    with pytest.raises(ConfigError, match=r"furuta\.xml"):
        compile_model(spec, spec.body("nominal"), tmp_path)
