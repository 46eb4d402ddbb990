"""The quadruped stands, obeys its servos, and each of its bodies changes what it says."""

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from protocol import walk
from protocol.errors import ConfigError
from sim_harness.quadruped import CONTROL_HZ, EPISODE_STEPS, QuadrupedEnv
from sim_harness.quadruped_bodies import (
    BODIES,
    PAYLOAD_KG,
    SLIPPERY_SHARE,
    WEAK_LEG,
    WEAK_SHARE,
    compile_quadruped,
)

MJCF = Path(__file__).parents[2] / "hw_configs" / "quadruped.xml"
STILL = np.zeros(walk.JOINTS, dtype=np.float32)
NOMINAL = compile_quadruped(MJCF, "nominal")


@pytest.fixture
def env() -> QuadrupedEnv:
    return QuadrupedEnv(MJCF)


def motion(env: QuadrupedEnv, seed: int, steps: int = 20) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = [env.reset(seed=seed)[0]]
    rows += [env.step(rng.uniform(-1, 1, 12).astype(np.float32))[0] for _ in range(steps)]
    return np.array(rows)


def roll_over(env: QuadrupedEnv) -> None:
    env._data.qpos[3:7] = [0.0, 1.0, 0.0, 0.0]
    env._data.qpos[2] = 0.3


def rewritten(tmp_path: Path, old: str, new: str) -> Path:
    text = MJCF.read_text()
    assert old in text
    path = tmp_path / "quadruped.xml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize("body", BODIES)
def test_every_body_can_stand_for_a_whole_episode(body):
    env = QuadrupedEnv(MJCF, body)
    env.reset(seed=0)
    steps = [env.step(STILL) for _ in range(EPISODE_STEPS)]
    assert [step[2:4] for step in steps] == [(False, False)] * 199 + [(False, True)]
    obs = steps[-1][0]
    assert np.abs(obs[walk.SPEED]).max() < 0.01
    assert obs[walk.GRAVITY][2] < -0.9
    assert np.mean([step[1] for step in steps]) < 0.07, "standing still is not walking"


@pytest.mark.filterwarnings("ignore:.*Box observation space .* is .*infinity:UserWarning")
def test_gymnasiums_own_checker_is_content(env):
    check_env(env, skip_render_check=True)


def test_equal_seeds_give_equal_motion():
    np.testing.assert_array_equal(motion(QuadrupedEnv(MJCF), 5), motion(QuadrupedEnv(MJCF), 5))
    assert not np.array_equal(motion(QuadrupedEnv(MJCF), 5), motion(QuadrupedEnv(MJCF), 6))


def test_a_reset_forgets_the_episode_before(env):
    first = motion(env, 5)
    roll_over(env)
    np.testing.assert_array_equal(motion(env, 5), first)


def test_the_command_is_drawn_from_its_range_and_holds_for_the_episode():
    env = QuadrupedEnv(MJCF, slowest_m_s=0.1, fastest_m_s=0.4)
    commands = []
    for seed in range(20):
        start = env.reset(seed=seed)[0][walk.COMMAND] / walk.SPEED_SCALE
        assert env.step(STILL)[0][walk.COMMAND] / walk.SPEED_SCALE == start
        commands.append(start)
    assert min(commands) >= 0.1
    assert max(commands) <= 0.4
    assert np.ptp(commands) > 0.2


def test_an_action_moves_the_servos_around_the_stance(env):
    env.reset(seed=0)
    for _ in range(20):
        obs, *_ = env.step(np.tile([0.0, 1.0, -1.0], 4).astype(np.float32))
    moved = obs[walk.JOINT_POSITION].reshape(4, 3).mean(axis=0)
    np.testing.assert_allclose(moved, [0.0, 0.35, -0.35], atol=0.1)


def test_the_last_action_is_the_one_that_was_applied(env):
    env.reset(seed=0)
    action = np.linspace(-1.5, 1.5, 12).astype(np.float32)
    obs, *_, info = env.step(action)
    np.testing.assert_array_equal(info["applied"], np.clip(action, -1, 1))
    np.testing.assert_array_equal(obs[walk.LAST_ACTION], info["applied"])


def test_a_target_that_is_not_finite_stays_as_it_was(env):
    env.reset(seed=0)
    env.step(np.full(12, 0.3, dtype=np.float32))
    bad = np.full(12, 0.5, dtype=np.float32)
    bad[:3] = np.nan, np.inf, -np.inf
    obs, *_, info = env.step(bad)
    np.testing.assert_allclose(info["applied"], [0.3] * 3 + [0.5] * 9)
    assert np.isfinite(obs).all()


def test_the_observed_speed_is_the_distance_covered_ahead_and_to_the_left(env):
    env.reset(seed=0)
    for quaternion, expected in (([1, 0, 0, 0], [1.0, 0.5]), ([1, 0, 0, 1], [0.5, -1.0])):
        env._data.qpos[:7] = [0, 0, 5.0, *(np.array(quaternion) / np.linalg.norm(quaternion))]
        env._data.qvel[:] = 0.0
        env._data.qvel[:2] = 1.0, 0.5
        speed_m_s = env.step(STILL)[0][walk.SPEED] / walk.SPEED_SCALE
        np.testing.assert_allclose(speed_m_s, expected, atol=0.02)


def test_the_observed_turn_rate_and_gravity_are_in_the_bodys_frame(env):
    env.reset(seed=0)
    env._data.qpos[:7] = [0, 0, 5.0, np.cos(0.25), np.sin(0.25), 0, 0]  # rolled by half a radian
    env._data.qvel[:] = 0.0
    env._data.qvel[3] = 0.2
    obs, *_ = env.step(STILL)
    roll_rad = 0.5 + 0.2 / CONTROL_HZ
    np.testing.assert_allclose(
        obs[walk.GRAVITY], [0, -np.sin(roll_rad), -np.cos(roll_rad)], atol=0.02
    )
    np.testing.assert_allclose(obs[walk.TURN_RATE] / walk.TURN_RATE_SCALE, [0.2, 0, 0], atol=0.1)


def test_a_fall_terminates(env):
    env.reset(seed=0)
    roll_over(env)
    *_, terminated, truncated, _ = env.step(STILL)
    assert (terminated, truncated) == (True, False)


def test_random_actions_are_rewarded_within_the_unit_interval(env):
    rng = np.random.default_rng(1)
    env.reset(seed=1)
    rewards = [env.step(rng.uniform(-1, 1, 12).astype(np.float32))[1] for _ in range(60)]
    assert 0.0 <= min(rewards) <= max(rewards) <= 1.0


def test_the_walker_weighs_what_its_file_says_and_lifts_itself_with_margin():
    assert NOMINAL.body_mass.sum() == pytest.approx(2.4)
    lever_m = 0.100 * np.sin(0.7)  # from the foot to the knee's axis
    assert 2.4 * 9.81 / 2 * lever_m < 1.5 / 1.9, "two legs must do for a trot"


def test_a_free_servo_runs_at_its_no_load_speed():
    model = compile_quadruped(MJCF, "nominal")
    knee = model.joint("front_left_knee")
    assert 1.5 / knee.damping[0] == pytest.approx(61 * 2 * np.pi / 60, rel=0.01)


def test_the_payload_sits_above_the_trunk():
    model = compile_quadruped(MJCF, "payload")
    assert model.body_mass.sum() - NOMINAL.body_mass.sum() == pytest.approx(PAYLOAD_KG)
    trunk = model.body("trunk")
    assert trunk.mass[0] - NOMINAL.body("trunk").mass[0] == pytest.approx(PAYLOAD_KG)
    assert trunk.ipos[2] > NOMINAL.body("trunk").ipos[2] + 0.02


def test_the_weak_leg_gives_its_share_of_the_torque_and_the_others_all():
    model = compile_quadruped(MJCF, "weak_leg")
    for index in range(model.nu):
        share = WEAK_SHARE if model.actuator(index).name in WEAK_LEG else 1.0
        for array in ("actuator_forcerange", "actuator_gainprm", "actuator_biasprm"):
            np.testing.assert_allclose(
                getattr(model, array)[index], share * getattr(NOMINAL, array)[index]
            )
    np.testing.assert_array_equal(model.dof_damping, NOMINAL.dof_damping)


def test_the_slippery_world_has_its_share_of_the_friction():
    model = compile_quadruped(MJCF, "low_friction")
    np.testing.assert_allclose(model.geom_friction, SLIPPERY_SHARE * NOMINAL.geom_friction)


def test_the_target_is_loaded_and_weak_and_slippery_at_once():
    model = compile_quadruped(MJCF, "loaded_weak_slippery")
    assert model.body_mass.sum() == pytest.approx(2.4 + PAYLOAD_KG)
    assert model.actuator(WEAK_LEG[0]).forcerange[1] == pytest.approx(1.5 * WEAK_SHARE)
    assert model.geom("floor").friction[0] == pytest.approx(0.8 * SLIPPERY_SHARE)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"body": "moon"}, r"'moon'.*loaded_weak_slippery"),
        ({"slowest_m_s": 0.0}, "0 < slowest"),
        ({"slowest_m_s": 0.5, "fastest_m_s": 0.4}, "slowest <= fastest"),
        ({"mjcf": "nowhere.xml"}, "nowhere"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(ConfigError, match=named):
        QuadrupedEnv(**{"mjcf": MJCF, **arguments})


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('<key name="stance"', '<key name="pose"', "key 'stance'"),
        ('<body name="trunk"', '<body name="torso"', "body 'trunk'"),
        ('<position name="front_left_knee" joint="front_left_knee"/>', "", "12 servos"),
        ('<freejoint name="root"/>', "", "free joint"),
        ('<position name="rear_right_knee"', '<position name="knee"', "rear_right_knee"),
        ("</worldbody>", "</world>", "MuJoCo refuses"),
    ],
)
def test_a_wrong_mjcf_is_refused_by_name(tmp_path, old, new, named):
    path = rewritten(tmp_path, old, new)
    with pytest.raises(ConfigError, match=named):
        QuadrupedEnv(path)


def test_make_passes_keyword_arguments_through():
    env = gymnasium.make("sim_harness.registration:wombet/Quadruped-v0", mjcf=MJCF, body="payload")
    assert env.observation_space.shape == (walk.SIZE,)
    env.close()


def test_no_part_of_the_walker_collides_with_another_part():
    data = mujoco.MjData(NOMINAL)
    mujoco.mj_resetDataKeyframe(NOMINAL, data, 0)
    data.qpos[2] = 5.0
    data.qpos[7:] = np.tile([0.0, 2.0, -2.5], 4)
    mujoco.mj_forward(NOMINAL, data)
    assert data.ncon == 0
