"""Each parameter of a simulated body changes what it says, and nothing where it is off."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_arm import ARM, load_arm

from protocol.dynamixel import make_ping
from protocol.errors import ConfigError
from protocol.plant_checks import outside
from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec, load_robot_spec, parse_robot_spec
from sim_harness.env import RigEnv
from sim_harness.firmware import firmware_for
from sim_harness.hil.faults import BrownOut
from sim_harness.hil.stage import Stage
from sim_harness.model import compile_model
from sim_harness.plant import Plant
from sim_harness.randomised import drawn
from sim_harness.rig import Rig
from sim_harness.wire_end import Setpoint

CONFIGS = Path(__file__).parents[2] / "hw_configs"
FURUTA = CONFIGS / "furuta.toml"
SPEC, ARM_SPEC = load_robot_spec(FURUTA), load_arm()
NEW = ("motor_stribeck_nm", "encoder_noise_counts", "supply_resistance_ohm", "bus_latency_ms")


def build(spec: RobotSpec = SPEC, **changes: float) -> Plant:
    """The nominal body with some parameters replaced."""
    body: Body = msgspec.structs.replace(spec.body("nominal"), **changes)
    return Plant(spec, body, compile_model(spec, body, CONFIGS), seed=3)


def speed_after(plant: Plant, current_a: float, steps: int = 200) -> float:
    plant.command([current_a])
    plant.advance(steps)
    return plant.velocity_rad_s()[0]


def test_friction_at_rest_holds_what_friction_in_motion_does_not() -> None:
    """0.022 Nm: above the Coulomb friction of 0.018, below it with 0.01 at rest on top."""
    current_a = 0.022 / 0.370
    assert speed_after(build(), current_a) > 0.2
    assert abs(speed_after(build(motor_stribeck_nm=0.01), current_a)) < 0.02  # MuJoCo's creeps


def test_friction_at_rest_is_gone_at_speed() -> None:
    plain, clinging = build(), build(motor_stribeck_nm=0.01)
    fast = [speed_after(plant, 0.6, 150) for plant in (plain, clinging)]
    assert fast[0] > 3.0
    assert fast[1] == pytest.approx(fast[0], rel=0.05)


def test_a_coarse_encoder_shows_only_its_own_steps() -> None:
    plant = build(encoder_bits=8)
    plant.command([0.5])
    seen = set()
    for _ in range(100):
        plant.advance(2)
        seen.add(plant.encoder_counts()[0])
    assert len(seen) > 2
    assert all(count % 16 == 0 for count in seen)


def test_encoder_noise_has_its_deviation_and_does_not_depend_on_who_looks() -> None:
    """A replay looks more often than the run did."""
    noisy, true = build(encoder_noise_counts=3.0), build()
    rows = []
    for _ in range(400):
        noisy.advance(1)
        true.advance(1)
        first = noisy.encoder_counts()
        assert noisy.encoder_counts() == first
        rows.append(np.subtract(first, true.encoder_counts()))
    assert np.std(rows) == pytest.approx(3.0, rel=0.15)


def test_equal_seeds_have_equal_noise_and_every_episode_its_own() -> None:
    one, other = build(encoder_noise_counts=3.0), build(encoder_noise_counts=3.0)
    assert one.encoder_counts() == other.encoder_counts()
    one.reset(7)
    first = one.encoder_counts()
    one.reset(7)
    assert one.encoder_counts() == first
    assert one._error is not None
    noise = list(one._error._noise(0))
    one.reset()
    assert one._error._noise(0) != noise


def test_the_supply_falls_under_load_and_comes_back() -> None:
    plant = build(supply_resistance_ohm=0.5)
    assert plant.supply_v == 5.0
    plant.command([0.8])
    plant.advance(7)
    drawn_w = 0.8**2 * 3.5
    assert plant.supply_v == pytest.approx(5.0 - 0.5 * drawn_w / plant.supply_v, abs=0.01)
    plant.command([0.0])
    plant.advance(7)
    assert plant.supply_v == pytest.approx(5.0)


def test_a_sagging_supply_takes_speed_from_a_fast_motor() -> None:
    stiff, soft = (build(supply_resistance_ohm=each) for each in (0.0, 2.0))
    assert speed_after(soft, 0.8, 400) < 0.9 * speed_after(stiff, 0.8, 400)


@pytest.mark.parametrize("robot", [FURUTA, ARM], ids=lambda path: path.stem)
def test_a_brown_out_takes_torque_and_every_node_measures_it(robot: Path) -> None:
    """Half of the supply: half of what a motor can draw from rest."""
    spec = load_robot_spec(robot)
    whole, low = Stage(spec, CONFIGS, "nominal", 0), Stage(spec, CONFIGS, "nominal", 0)
    nominal_v = spec.body("nominal").supply_v
    fault = BrownOut(supply_v=0.5 * nominal_v, at_s=0.0)
    low.turn(True, fault)
    assert strongest_a(low.plant) < 0.9 * strongest_a(whole.plant)
    assert {reading.voltage_v for reading in low._rig._readings()} == {0.5 * nominal_v}
    low.turn(False, fault)
    assert low.plant.supply_v == nominal_v


def strongest_a(plant: Plant) -> float:
    """Largest current of the first motor in a tenth of a second with all of it asked for."""
    motors = len(plant.current_a())
    plant.command([99.0] if motors == 1 else [Setpoint(1.8, 1.0, 0.0)] * motors)
    seen = []
    for _ in range(100):
        plant.advance(1)
        seen.append(plant.current_a()[0])
    return max(seen)


def test_a_servos_driver_cuts_its_current() -> None:
    free, cut = (build(ARM_SPEC, motor_current_max_a=each) for each in (9.0, 1.0))
    for plant in (free, cut):
        plant.command([Setpoint(1.5, 1.0, 0.0)] * 5)
        plant.advance(60)
    assert max(map(abs, free.current_a())) > 1.5
    assert max(map(abs, cut.current_a())) <= 1.0


def test_an_adapters_latency_delays_the_first_answer_of_a_question() -> None:
    spec = with_body(SPEC, bus_latency_ms=2.0)
    plant = Plant(spec, spec.body("nominal"), compile_model(spec, spec.body("nominal"), CONFIGS), 0)
    late = Rig(spec, "nominal", plant, firmware_for(spec)).receive(make_ping(0xFE), 0)
    prompt = Rig(SPEC, "nominal", plant, firmware_for(SPEC)).receive(make_ping(0xFE), 0)
    assert [a.delay_ns - b.delay_ns for a, b in zip(late, prompt, strict=True)] == [2_000_000, 0]


def with_body(spec: RobotSpec, **changes: float) -> RobotSpec:
    body = msgspec.structs.replace(spec.body("nominal"), **changes)
    bodies = {**spec.plant.bodies, "nominal": body}
    return msgspec.structs.replace(spec, plant=msgspec.structs.replace(spec.plant, bodies=bodies))


@pytest.mark.parametrize("spec", [SPEC, ARM_SPEC], ids=lambda spec: spec.name)
def test_the_nominal_body_has_none_of_it(spec: RobotSpec) -> None:
    """What was learned and measured before stays as it was."""
    assert [getattr(spec.body("nominal"), name) for name in NEW] == [0.0] * len(NEW)
    assert spec.body("nominal").encoder_bits == 12


@pytest.mark.parametrize("spec", [SPEC, ARM_SPEC], ids=lambda spec: spec.name)
def test_the_test_set_has_what_no_draw_has(spec: RobotSpec) -> None:
    rng = np.random.default_rng(0)
    for task, ranges in spec.plant.randomise.items():
        draws = [drawn(spec, task, spec.body("nominal"), rng) for _ in range(50)]
        assert all(outside(body, ranges) == [] for body in draws)
        for name in spec.plant.unseen:
            assert len(outside(spec.body(name), ranges)) >= 2


def test_draws_fill_their_ranges() -> None:
    rng = np.random.default_rng(1)
    bodies = [drawn(SPEC, "swing_up", SPEC.body("nominal"), rng) for _ in range(200)]
    for name, (low, high) in SPEC.plant.randomise["swing_up"].items():
        values = [getattr(body, name) for body in bodies]
        assert min(values) <= low + 0.1 * (high - low)
        assert max(values) >= high - 0.1 * (high - low)


def test_every_episode_of_a_randomised_environment_has_its_own_body() -> None:
    env = RigEnv(FURUTA, "swing_up", randomise=True)

    def weight(seed: int | None = None) -> float:
        env.reset(seed=seed)
        return float(env._plant._model.body("pendulum").mass[0])

    first, second = weight(3), weight()
    assert first != second
    assert weight(3) == first


def test_a_randomised_episode_starts_anew_each_time_and_repeats_by_its_seed() -> None:
    env = RigEnv(FURUTA, "swing_up", randomise=True)
    starts = [env.reset(seed=seed)[0].tolist() for seed in (5, None, 5, None)]
    assert starts[0] != starts[1]
    assert starts[:2] == starts[2:]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('unseen = ["nobody"]', "plant.unseen: there is no body 'nobody'"),
        ('unseen = ["nominal"]', "'nominal' is within every range of swing_up"),
        ("randomise.dance = {}", "plant.randomise.dance: there is no such task"),
        ("randomise.swing_up.charm = [0, 1]", "a body has no such parameter"),
        ("randomise.swing_up.supply_v = [5.0, 4.0]", "write 0 <= lowest <= highest"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(line: str, told: str) -> None:
    text = FURUTA.read_text()
    start, end = text.index("unseen ="), text.index("[plant.bodies.nominal]")
    ranges = "" if "randomise" in line else "[plant.randomise.swing_up]\nsupply_v = [4.8, 5.2]\n"
    with pytest.raises(ConfigError, match=told):
        parse_robot_spec(text[:start] + line + "\n" + ranges + text[end:], "test")


@pytest.mark.parametrize(
    ("robot", "name", "lacking"),
    [
        ("arm5", "pendulum_tip_kg", "joint without a motor"),
        ("furuta", "imu_tilt_bias_rad", "imu"),
    ],
)
def test_a_range_of_a_part_that_the_robot_lacks_is_refused(robot, name, lacking) -> None:
    text = FURUTA.with_name(f"{robot}.toml").read_text()
    start = text.index("\n", text.index("[plant.randomise.")) + 1
    with pytest.raises(ConfigError, match=f"{name}: {robot} has no {lacking}; remove it"):
        parse_robot_spec(text[:start] + f"{name} = [0.0, 0.1]\n" + text[start:], "test")


def test_a_task_without_ranges_has_no_randomised_environment() -> None:
    plant = msgspec.structs.replace(SPEC.plant, randomise={})
    spec = msgspec.structs.replace(SPEC, plant=plant)
    with pytest.raises(ConfigError, match="no ranges to draw from"):
        drawn(spec, "swing_up", spec.body("nominal"), np.random.default_rng(0))


def test_a_range_beyond_what_a_body_may_have_is_refused() -> None:
    plant = msgspec.structs.replace(
        SPEC.plant, randomise={"swing_up": {"actuation_delay_ms": (900.0, 900.0)}}
    )
    spec = msgspec.structs.replace(SPEC, plant=plant)
    with pytest.raises(ConfigError, match="makes no body"):
        drawn(spec, "swing_up", spec.body("nominal"), np.random.default_rng(0))
