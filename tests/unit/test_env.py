import math
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from protocol.errors import ConfigError
from protocol.observation import Layout
from protocol.robot_spec import load_robot_spec
from sim_harness.env import RigEnv

ROOT = Path(__file__).parents[2]
ROBOT = ROOT / "hw_configs" / "furuta.toml"
LAYOUT = Layout(load_robot_spec(ROBOT))


@pytest.fixture
def env():
    return RigEnv(ROBOT, "swing_up")


def pump(obs: np.ndarray) -> np.ndarray:
    """Energy pumping, with a pull of the arm towards its centre. Source: LEARNING.md § 5.1."""
    inertia_kg_m2, mgl_nm = 2.87e-4, 0.0220
    cos = float(LAYOUT.read(obs, "cos:pendulum"))
    speed = float(LAYOUT.read(obs, "velocity:pendulum"))
    arm = float(LAYOUT.read(obs, "position:arm"))
    arm_speed = float(LAYOUT.read(obs, "velocity:arm"))
    energy_j = 0.5 * inertia_kg_m2 * speed**2 + mgl_nm * (cos - 1.0)
    push = -0.8 * energy_j / mgl_nm * math.copysign(1.0, speed * cos)
    return np.array([np.clip(push - 0.7 * arm - 0.03 * arm_speed, -1.0, 1.0)], dtype=np.float32)


@pytest.mark.filterwarnings("ignore:.*Box observation space .* is .*infinity:UserWarning")
def test_gymnasiums_own_checker_is_content(env):
    check_env(env, skip_render_check=True)


def test_the_rig_can_be_made_without_importing_the_harness():
    code = (
        "import gymnasium; gymnasium.make('sim_harness.registration:wombet/Rig-v0', "
        "robot='hw_configs/furuta.toml', task='swing_up', body='target', disable_env_checker=True)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


def test_energy_pumping_swings_the_nominal_pendulum_up_within_three_seconds(env):
    for seed in range(5):
        obs, _ = env.reset(seed=seed)
        for _ in range(150):
            obs, _, terminated, _, _ = env.step(pump(obs))
            assert not terminated
            if LAYOUT.read(obs, "cos:pendulum") > math.cos(0.3):
                break
        assert LAYOUT.read(obs, "cos:pendulum") > math.cos(0.3), f"seed {seed}"


def test_reset_starts_hanging_at_rest_with_an_empty_history(env):
    obs, info = env.reset(seed=4)
    assert info == {}
    assert abs(LAYOUT.read(obs, "position:arm")) < 0.12
    assert LAYOUT.read(obs, "cos:pendulum") < -0.99
    assert abs(LAYOUT.read(obs, "velocity:pendulum")) < 0.6
    assert [LAYOUT.read(obs, f"applied:arm:{age}") for age in (1, 2)] == [0.0, 0.0]


def test_equal_seeds_and_actions_give_equal_episodes(env):
    def episode(seed):
        obs, _ = env.reset(seed=seed)
        rows = [obs]
        for step in range(40):
            obs, reward, *_ = env.step(np.array([math.sin(step)], dtype=np.float32))
            rows.append(np.append(obs, reward))
        return np.concatenate(rows)

    assert np.array_equal(episode(1), episode(1))
    assert not np.array_equal(episode(1), episode(2))


def test_resets_without_a_seed_differ(env):
    env.reset(seed=1)
    assert not np.array_equal(env.reset()[0], env.reset()[0])


def test_observations_are_copies(env):
    first, _ = env.reset(seed=0)
    kept = first.copy()
    for _ in range(10):
        env.step(np.ones(1, dtype=np.float32))
    assert np.array_equal(first, kept)


def test_applied_is_what_was_sent_in_whole_milliamperes_and_enters_the_history(env):
    env.reset(seed=0)
    obs, *_, info = env.step(np.array([0.12345], dtype=np.float32))
    sent_ma = float(info["applied"][0]) * 800
    assert info["applied"].dtype == np.float32
    assert info["applied"].shape == (1,)
    assert sent_ma == pytest.approx(99, abs=1e-3)
    assert LAYOUT.read(obs, "applied:arm:1") == pytest.approx(info["applied"][0])
    obs, *_ = env.step(np.zeros(1, dtype=np.float32))
    assert LAYOUT.read(obs, "applied:arm:2") == pytest.approx(info["applied"][0])


def test_the_envelope_overrules_a_policy_that_runs_into_the_stop(env):
    env.reset(seed=0)
    overruled = False
    for _ in range(120):
        *_, info = env.step(np.ones(1, dtype=np.float32))
        overruled |= bool(info["applied"][0] < 0.0)
    assert overruled


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_policy_that_is_not_finite_gets_no_torque(env, bad):
    env.reset(seed=0)
    obs, reward, *_, info = env.step(np.array([bad], dtype=np.float32))
    assert info["applied"][0] == 0.0
    assert np.isfinite(obs).all()
    assert math.isfinite(reward)


def test_an_episode_is_truncated_after_its_steps_not_before(env):
    env.reset(seed=0)
    ends = [env.step(np.zeros(1, dtype=np.float32))[2:4] for _ in range(250)]
    assert ends[:-1] == [(False, False)] * 249
    assert ends[-1] == (False, True)


def test_reward_stays_in_the_unit_interval(env):
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    rewards = [env.step(rng.uniform(-1, 1, 1).astype(np.float32))[1] for _ in range(200)]
    assert min(rewards) >= 0.0
    assert max(rewards) <= 1.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"robot": "nowhere.toml", "task": "swing_up"}, "nowhere"),
        ({"robot": ROBOT, "task": "juggle"}, "juggle"),
        ({"robot": ROBOT, "task": "swing_up", "body": "moon"}, "moon"),
    ],
)
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(ConfigError, match=named):
        RigEnv(**arguments)


def test_make_passes_keyword_arguments_through():
    env = gymnasium.make(
        "sim_harness.registration:wombet/Rig-v0", robot=ROBOT, task="swing_up", body="target"
    )
    assert env.action_space.shape == (1,)
    env.close()


def slower(folder: Path, table: str) -> RigEnv:
    """The rig with a ``policy`` table in its file."""
    path = folder / "robot.toml"
    path.write_text(f"{ROBOT.read_text(encoding='utf-8')}\n[policy]\n{table}\n", encoding="utf-8")
    shutil.copy(ROBOT.with_suffix(".xml"), folder / "furuta.xml")
    return RigEnv(path, "swing_up")


def steps(env: RigEnv, actions: list[float]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Observation and what was applied after each of ``actions``."""
    env.reset(seed=0)
    found = []
    for action in actions:
        obs, _, _, _, info = env.step(np.float32([action]))
        found.append((obs, info["applied"]))
    return found


def test_an_answer_is_held_for_as_many_ticks_as_on_the_robot(env, tmp_path):
    answers = [0.5, -0.25, 0.1]
    held = steps(slower(tmp_path, "divisor = 3"), answers)
    every = steps(env, np.repeat(answers, 3).tolist())
    for number, (obs, applied) in enumerate(held):
        np.testing.assert_array_equal(obs, every[3 * number + 2][0])
        np.testing.assert_array_equal(applied, every[3 * number][1])


def test_an_answer_is_approached_as_on_the_robot(env, tmp_path):
    led = steps(slower(tmp_path, 'divisor = 2\nbetween = "interpolate"'), [0.5, -0.25])
    every = steps(env, [0.25, 0.5, 0.125, -0.25])
    for number, (obs, applied) in enumerate(led):
        np.testing.assert_allclose(obs, every[2 * number + 1][0], atol=1e-6)
        np.testing.assert_allclose(applied, every[2 * number + 1][1], atol=1e-6)


def test_an_episode_lasts_as_long_whatever_the_policys_rate(tmp_path):
    env = slower(tmp_path, "divisor = 5")
    env.reset(seed=0)
    ends = [env.step(np.zeros(1, dtype=np.float32))[3] for _ in range(50)]
    assert ends == [False] * 49 + [True]
