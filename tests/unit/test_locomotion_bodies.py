"""Does each body of Cheetah and Ant change what its table says, and nothing else?"""

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.mujoco_env import expand_model_path
from gymnasium.utils.env_checker import check_env

from protocol.errors import ConfigError
from sim_harness.locomotion import make_ant, make_cheetah
from sim_harness.locomotion_bodies import ANT, CHEETAH

WORLDS = [(make_cheetah, body) for body in CHEETAH] + [(make_ant, body) for body in ANT]
DERIVED = {"body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "dof_length",
           "actuator_acc0", "geom_rbound", "geom_aabb", "bvh_aabb", "cam_poscom0",
           "light_poscom0"}  # fmt: skip
"""What MuJoCo computes from the rest when it compiles a model."""
MASSES = {"body_mass", "body_inertia", "body_ipos"}
SHAPES = MASSES | {"geom_pos", "geom_size"}


def changed(ours: mujoco.MjModel, theirs: mujoco.MjModel, rtol: float = 1e-12) -> set[str]:
    """Names of the arrays that differ."""
    arrays = [name for name in dir(theirs) if isinstance(getattr(theirs, name), np.ndarray)]
    return {
        name
        for name in arrays
        if not np.allclose(
            getattr(ours, name), getattr(theirs, name), rtol=rtol, atol=0.1 * rtol, equal_nan=True
        )
    }


def range_of(model: mujoco.MjModel, joint: str) -> list[float]:
    return model.joint(joint).range.tolist()


def motion(env, seed: int, steps: int = 20) -> np.ndarray:
    """Observations and rewards under a fixed series of actions."""
    obs, _ = env.reset(seed=seed)
    rows = [np.append(obs, 0.0)]
    rng = np.random.default_rng(0)
    for _ in range(steps):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        obs, reward, *_ = env.step(action)
        rows.append(np.append(obs, reward))
    return np.array(rows)


@pytest.mark.parametrize(
    ("make", "asset"), [(make_cheetah, "half_cheetah.xml"), (make_ant, "ant.xml")]
)
def test_nominal_is_gymnasiums_own_model_to_the_last_bit(make, asset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo logs there that settotalmass is going away
    theirs = mujoco.MjModel.from_xml_path(expand_model_path(asset))
    assert changed(make("nominal").model, theirs, rtol=0.0) == set()


@pytest.mark.parametrize(
    ("make", "body", "arrays"),
    [
        (make_cheetah, "broken_front_thigh", {"jnt_range"}),
        (make_cheetah, "broken_back_thigh", {"jnt_range"}),
        (make_cheetah, "no_thighs", SHAPES | {"body_pos", "body_iquat", "geom_quat"}),
        (make_cheetah, "odrl_morph_torso_medium", SHAPES | {"body_pos", "body_iquat"}),
        (make_cheetah, "odrl_kinematic_thighjnt_medium", {"jnt_range"}),
        (make_cheetah, "weak_gear", {"actuator_gear"}),
        (make_cheetah, "payload", {"body_mass", "body_inertia"}),
        (make_cheetah, "low_friction", {"geom_friction"}),
        (make_cheetah, "backward", set()),
        (make_cheetah, "inverted", set()),
        (make_ant, "broken_hips", {"jnt_range"}),
        (make_ant, "odrl_morph_alllegs_medium", SHAPES),
        (make_ant, "odrl_kinematic_hipjnt_medium", {"jnt_range"}),
    ],
)
def test_a_body_changes_these_arrays_and_no_others(make, body, arrays):
    assert changed(make(body).model, make("nominal").model) - DERIVED == arrays


def test_every_body_but_nominal_is_in_the_table_above():
    marks = test_a_body_changes_these_arrays_and_no_others.pytestmark
    listed = {(make, body) for make, body, _ in marks[0].args[1]}
    assert listed == {(make, body) for make, body in WORLDS if body != "nominal"}


def test_the_broken_joints_have_the_published_ranges():
    assert range_of(make_cheetah("broken_back_thigh").model, "bthigh") == [-0.0052, 0.0105]
    assert range_of(make_cheetah("broken_front_thigh").model, "fthigh") == [-0.01, 0.007]
    hips = make_ant("broken_hips").model
    for joint, degrees in (("hip_1", 0.3), ("hip_2", 0.3), ("hip_3", 30), ("hip_4", 30)):
        assert range_of(hips, joint) == pytest.approx([-np.radians(degrees), np.radians(degrees)])


@pytest.mark.parametrize(
    ("make", "body", "joints"),
    [
        (make_cheetah, "odrl_kinematic_thighjnt_medium", ["bthigh", "fthigh"]),
        (make_ant, "odrl_kinematic_hipjnt_medium", ["hip_1", "hip_2", "hip_3", "hip_4"]),
    ],
)
def test_the_medium_kinematic_shift_halves_these_ranges_only(make, body, joints):
    ours, nominal = make(body).model, make("nominal").model
    for index in range(nominal.njnt):
        share = 0.5 if nominal.joint(index).name in joints else 1.0
        np.testing.assert_allclose(ours.jnt_range[index], share * nominal.jnt_range[index])


def test_the_medium_morphologies_have_the_published_sizes():
    torso = make_cheetah("odrl_morph_torso_medium").model
    assert torso.geom("torso").size[1] == pytest.approx(0.25)
    assert [torso.body(name).pos[0] for name in ("bthigh", "fthigh")] == [-0.25, 0.25]
    ours, nominal = make_ant("odrl_morph_alllegs_medium").model, make_ant().model
    for leg in ("left", "right", "third", "fourth"):
        name = f"{leg}_ankle_geom"
        assert ours.geom(name).size[1] == pytest.approx(0.5 * nominal.geom(name).size[1])


def test_without_thighs_the_shins_hang_on_the_torso():
    model = make_cheetah("no_thighs").model
    for leg in ("b", "f"):
        assert np.linalg.norm(model.body(f"{leg}shin").pos) < 2e-4
        assert model.geom(f"{leg}thigh").size[1] < 1e-4


def test_the_payload_is_half_a_torso_and_sits_in_the_torso():
    ours, nominal = make_cheetah("payload").model, make_cheetah().model
    torso = nominal.body("torso").id
    share = np.ones(nominal.nbody)
    share[torso] = 1.5
    np.testing.assert_allclose(ours.body_mass, share * nominal.body_mass, rtol=1e-12)
    np.testing.assert_allclose(ours.body_inertia[torso], 1.5 * nominal.body_inertia[torso])


@pytest.mark.parametrize(
    ("body", "array", "share"),
    [("weak_gear", "actuator_gear", 0.6), ("low_friction", "geom_friction", 0.4)],
)
def test_a_scaled_array_is_scaled_everywhere(body, array, share):
    nominal = getattr(make_cheetah().model, array)
    np.testing.assert_allclose(getattr(make_cheetah(body).model, array), share * nominal)


def test_running_backward_is_rewarded_and_the_effort_still_costs():
    forward, backward = motion(make_cheetah(), 3), motion(make_cheetah("backward"), 3)
    np.testing.assert_array_equal(forward[:, :-1], backward[:, :-1])
    rng, costs = np.random.default_rng(0), [0.0]
    costs += [0.1 * float(np.sum(np.square(rng.uniform(-1, 1, 6)))) for _ in range(20)]
    np.testing.assert_allclose(forward[:, -1] + backward[:, -1], -2 * np.array(costs), atol=1e-5)


def test_the_inverted_body_does_the_opposite_and_reports_what_was_sent():
    ours, nominal = make_cheetah("inverted"), make_cheetah()
    ours.reset(seed=1), nominal.reset(seed=1)
    action = np.linspace(-1, 1, 6, dtype=np.float32)
    obs, *_, info = ours.step(action)
    np.testing.assert_array_equal(info["applied"], action)
    np.testing.assert_array_equal(obs, nominal.step(-action)[0])


@pytest.mark.parametrize("make", [make_cheetah, make_ant])
def test_equal_seeds_give_equal_motion(make):
    np.testing.assert_array_equal(motion(make(), 5), motion(make(), 5))
    assert not np.array_equal(motion(make(), 5), motion(make(), 6))


@pytest.mark.parametrize("make", [make_cheetah, make_ant])
def test_bad_actions_are_clipped_or_become_no_torque(make):
    env = make()
    env.reset(seed=0)
    action = np.full(env.action_space.shape, 3.0, dtype=np.float32)
    action[1:3] = np.nan, -np.inf
    *_, info = env.step(action)
    assert info["applied"].dtype == np.float32
    assert info["applied"].tolist() == [1.0, 0.0, 0.0] + [1.0] * (len(action) - 3)


@pytest.mark.filterwarnings("ignore:.*Box observation space .* is .*infinity:UserWarning")
@pytest.mark.parametrize(("make", "O", "A"), [(make_cheetah, 17, 6), (make_ant, 27, 8)])
def test_gymnasiums_own_checker_is_content(make, O, A):
    env = make()
    assert (env.observation_space.shape, env.action_space.shape) == ((O,), (A,))
    check_env(env, skip_render_check=True)


def test_a_fallen_ant_ends_its_episode():
    env = make_ant()
    env.reset(seed=0)
    task = env._task
    assert isinstance(task, AntEnv)
    task.set_state(np.array([0, 0, 5.0, *task.data.qpos[3:]]), task.data.qvel)
    assert env.step(np.zeros(8, dtype=np.float32))[2]


@pytest.mark.parametrize("world", ["Cheetah", "Ant"])
def test_an_unknown_body_is_refused_with_those_there_are(world):
    with pytest.raises(ConfigError, match=r"'moon'.*nominal"):
        gymnasium.make(f"sim_harness.registration:wombet/{world}-v0", body="moon")


@pytest.mark.parametrize("world", ["Cheetah", "Ant"])
def test_make_ends_an_episode_after_a_thousand_steps(world):
    env = gymnasium.make(f"sim_harness.registration:wombet/{world}-v0", disable_env_checker=True)
    assert env.spec is not None
    assert env.spec.max_episode_steps == 1000
    env.close()


def test_making_a_world_leaves_nothing_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for make, body in WORLDS:
        make(body).close()
    assert list(tmp_path.iterdir()) == []
