"""A policy at half the bus rate, from the robot to the learner and back, in simulated time.

Everything but transport is real: the loop over the simulated rig, transitions, learner, export and
the swap on the robot.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from made_learning import SMALL_MODEL, SMALL_SAC, linear_transitions
from made_loop import Bench
from made_rig import ROBOT, make_rig_port
from torch import Tensor

from offboard.architecture import ActorArchitecture
from offboard.assembler import Assembler
from offboard.export import Exporter, Origin
from offboard.finetune import FinetuneConfig, Learner
from offboard.session import Session
from offboard.session_plan import Phase, SessionConfig
from offboard.task_setup import TaskSetup, load_task
from onboard.control_api import Start
from protocol.bundle import encode_manifest
from protocol.modes import Mode
from protocol.robot_spec import Policy
from protocol.step_record import Flag, Rows

pytestmark = pytest.mark.usefixtures("eager")

TICKS, DIVISOR, EPISODES = 40, 2, 4
ANSWERS = TICKS // DIVISOR
PRIOR = linear_transitions(200, seed=0)
Course = tuple["School", Bench, list[Rows]]
RHYTHM = SessionConfig(
    zero_shot_episodes=1, episodes=EPISODES, final_episodes=1, publish_every=ANSWERS, gate_ratio=0.0
)
BUDGET = FinetuneConfig(updates_per_step=1, warmup_steps=0, adapt_every=ANSWERS, adapt_steps=2)


def slow_setup() -> TaskSetup:
    """The Furuta pendulum in short episodes, its policy asked at every other tick."""
    setup = load_task(ROBOT, "swing_up")
    task = msgspec.structs.replace(setup.spec.task("swing_up"), episode_steps=TICKS)
    slow = msgspec.structs.replace(
        setup.spec, tasks={"swing_up": task}, policy=Policy(divisor=DIVISOR)
    )
    return replace(setup, spec=slow)


class School:
    """A server's session that lays its bundles into a folder, where the robot finds them.

    Attributes:
        newest: version and folder of the last bundle.
    """

    def __init__(self, setup: TaskSetup, folder: Path) -> None:
        sac, model = setup.sac(SMALL_SAC), setup.world_model(SMALL_MODEL)
        architecture = ActorArchitecture(sac.actor_space)
        self._exporter = Exporter(setup.spec, setup.task, architecture)
        self._folder = folder
        self.newest = 0, folder
        self.learner = Learner(
            sac, model, sac.initial(0), model.initial(PRIOR, seed=0), PRIOR, BUDGET, seed=0
        )
        self.session = Session(
            self.learner,
            model,
            architecture,
            Assembler(setup.layout, setup.judge, setup.spec.policy),
            self.publish,
            RHYTHM,
            setup.episode_answers,
        )

    def publish(self, policy: Tensor, scale: float, evaluation: dict[str, float]) -> int:
        version = self.newest[0] + 1
        origin = Origin(version, version - 1, "test", "test", scale, evaluation)
        bundle = self._exporter.bundle(policy, PRIOR.obs, origin)
        place = self._folder / f"bundle-{version}"
        place.mkdir()
        (place / "manifest.json").write_bytes(encode_manifest(bundle.manifest))
        (place / "graph.onnx").write_bytes(bundle.graph)
        (place / "weights.safetensors").write_bytes(bundle.weights)
        self.newest = version, place
        return version

    def learn(self, rows: Rows) -> None:
        self.session.push(rows)
        while self.session.turn():
            pass


def episode(robot: Bench) -> Rows:
    """The robot's next episode, and its way home until it is about to begin another."""
    robot.until(Mode.RUN)
    robot.until(Mode.RECOVER)
    rows = robot.rows().copy()
    robot.reader.release(len(rows))
    return rows


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A whole adaptation: what the robot streamed, episode by episode."""
    setup, place = slow_setup(), tmp_path_factory.mktemp("slow")
    school, robot = School(setup, place), Bench(setup.spec, make_rig_port(setup.spec), place)
    school.session.begin()
    robot.boot()
    robot.load(school.newest[1], 1)
    robot.obey(Start())
    streamed = []
    for _ in range(EPISODES):
        streamed.append(episode(robot))
        school.learn(streamed[-1])
        if school.newest[0] != robot.swap.active_version:
            robot.load(school.newest[1], school.newest[0])
    robot.close()
    return school, robot, streamed


def test_it_runs_records_learns_and_is_swapped(course: Course) -> None:
    school, robot, streamed = course
    session, evidence = school.session, school.learner.evidence
    assert session.phase is Phase.DONE
    assert [(e.length, e.steps, e.answers) for e in session.episodes] == [
        (TICKS, TICKS, ANSWERS)
    ] * EPISODES
    versions = [e.main_version for e in session.episodes]
    assert versions == sorted({*versions})  # a newer one in every episode
    assert robot.swap.active_version == school.newest[0]
    assert evidence.online == EPISODES * ANSWERS
    assert evidence.updates == (EPISODES - 2) * ANSWERS  # the last two came with the end
    for rows in streamed:
        driven = rows[rows["mode"] == Mode.RUN]
        asked = np.flatnonzero(driven["flags"] & Flag.ASKED)
        assert asked.tolist() == [*range(0, TICKS, DIVISOR)]


def test_a_transition_is_an_answer_of_two_ticks(course: Course) -> None:
    school, _, streamed = course
    rows = streamed[0][streamed[0]["mode"] == Mode.RUN]
    learned = school.learner.online.all()
    obs, applied = (torch.from_numpy(rows[name].copy()) for name in ("obs", "applied"))
    torch.testing.assert_close(learned.obs[:ANSWERS], obs[:TICKS:DIVISOR], rtol=0.0, atol=0.0)
    torch.testing.assert_close(
        learned.applied[:ANSWERS], applied[:TICKS:DIVISOR], rtol=0.0, atol=0.0
    )
    torch.testing.assert_close(
        learned.following[: ANSWERS - 1], obs[DIVISOR:TICKS:DIVISOR], rtol=0.0, atol=0.0
    )


def test_what_a_policy_is_expected_to_earn_counts_answers() -> None:
    """Expected and measured returns are compared, so both are sums over answers."""
    assert slow_setup().episode_answers == ANSWERS
    assert load_task(ROBOT, "swing_up").episode_answers == 250
