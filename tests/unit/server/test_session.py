"""Does a session publish what, when and how boldly it should, and go on after a restart?"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from made_learning import (
    JUDGE,
    LAYOUT,
    SMALL_MODEL,
    SMALL_SAC,
    A,
    O,
    episode_rows,
    linear_transitions,
)

from offboard.architecture import ActorArchitecture
from offboard.assembler import Assembler
from offboard.finetune import FinetuneConfig, Learner
from offboard.model_state import ModelState
from offboard.sac import Sac
from offboard.session import Session
from offboard.session_plan import Phase, SessionConfig, phase_after
from offboard.world_model import Step, WorldModel
from protocol.errors import BundleError, ConfigError, StoreError
from protocol.step_record import End

pytestmark = pytest.mark.usefixtures("eager")

STEPS = 10
WHOLE = 5
"""Transitions of a whole episode, as the session is told."""
CONFIG = SessionConfig(
    zero_shot_episodes=2,
    episodes=8,
    final_episodes=2,
    publish_every=20,
    updates_per_turn=16,
)
PRIOR = linear_transitions(300, seed=0)
MODEST, BOLD = 0.3, 0.6


class Mirror:
    """A model in which an action is worth itself: an actor's return is 5 of its actions."""

    action_size = A
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.asked_about: list[torch.Tensor] = []

    def expect(self, state: object, obs: torch.Tensor, applied: torch.Tensor) -> Step:
        self.asked_about.append(obs)
        nothing = torch.zeros(obs.shape[0])
        return Step(obs, applied[:, 0], nothing, nothing)


class Bench:
    """A real session and learner, the model's opinion excepted; published bundles are noted."""

    def __init__(
        self, config: SessionConfig = CONFIG, learning: bool = False, whole: int = WHOLE
    ) -> None:
        sac = Sac(O, A, 0.98, SMALL_SAC)
        model = WorldModel(LAYOUT, JUDGE, SMALL_MODEL)
        budget = FinetuneConfig(
            updates_per_step=1 if learning else 0, warmup_steps=0, adapt_every=30, adapt_steps=5
        )
        self.space = sac.actor_space
        self.architecture = ActorArchitecture(sac.actor_space)
        self.critic = torch.zeros(sac.critic_space.size)
        self.sac = sac
        self.learner = Learner(
            sac,
            model,
            sac.restart(self.actor(MODEST), self.critic),
            model.initial(PRIOR, seed=0),
            PRIOR,
            budget,
            seed=0,
        )
        self.published: list[tuple[float, float, dict[str, float]]] = []
        self.refusal: BundleError | StoreError | None = None
        self.mirror = Mirror()
        self.session = Session(
            self.learner,
            self.mirror,
            self.architecture,
            Assembler(LAYOUT, JUDGE),
            self.publish,
            config,
            whole,
        )
        self.first = 0

    def actor(self, action: float) -> torch.Tensor:
        named = self.space.view(torch.zeros(self.space.size))
        named["actor.head.bias"][0] = math.atanh(action)
        return self.space.flatten(named)

    def publish(self, policy: torch.Tensor, scale: float, evaluation: dict[str, float]) -> int:
        if self.refusal is not None:
            raise self.refusal
        action = float(self.architecture.space.view(policy)["actor.head.bias"][0].tanh())
        self.published.append((round(action, 4), scale, evaluation))
        return len(self.published)

    def becomes(self, action: float) -> None:
        """The learner's actor is now another."""
        self.learner.state = self.sac.restart(self.actor(action), self.critic)

    def episode(self, version: int = 1, cos: float = 1.0, end: End = End.TRUNCATED) -> None:
        number = 1 + self.first // (STEPS + 1)
        rows = episode_rows(number, STEPS, first=self.first, version=version, cos=cos, end=end)
        self.first += STEPS + 1
        self.session.push(rows)

    def work(self) -> None:
        """Turns until there is nothing to do."""
        for _ in range(100):
            if not self.session.turn():
                return
        raise AssertionError("the session never rests")

    def what(self) -> list[tuple[float, float]]:
        """Action and exploration scale of everything published."""
        return [(action, scale) for action, scale, _ in self.published]


@pytest.mark.parametrize(
    ("episodes", "phase"),
    [(0, "zero-shot"), (1, "zero-shot"), (2, "adapt"), (5, "adapt"), (6, "final"), (7, "final"),
     (8, "done"), (99, "done")],
)  # fmt: skip
def test_phases_follow_the_number_of_episodes(episodes: int, phase: str) -> None:
    assert phase_after(episodes, 10 * episodes, 10, CONFIG) is Phase(phase)


@pytest.mark.parametrize(
    ("steps", "phase"), [(0, "zero-shot"), (15, "adapt"), (20, "adapt"), (21, "final")]
)
def test_no_episode_begins_that_could_pass_the_steps_to_learn_from(steps: int, phase: str) -> None:
    config = replace(CONFIG, target_steps=30)
    assert phase_after(steps // 7, steps, 10, config) is Phase(phase)


def test_it_begins_with_the_zero_shot_policy_without_exploration() -> None:
    bench = Bench()
    bench.session.begin()
    assert bench.published == [(MODEST, 0.0, {"online_steps": 0.0})]
    assert bench.session.phase is Phase.ZERO_SHOT
    bench.work()
    assert len(bench.published) == 1


def test_exploration_begins_with_adaptation() -> None:
    bench = Bench()
    bench.session.begin()
    bench.episode()
    bench.work()
    assert bench.session.phase is Phase.ZERO_SHOT
    bench.episode()
    assert bench.session.turn()
    assert bench.session.phase is Phase.ADAPT
    action, scale, evaluation = bench.published[-1]
    assert (action, scale) == (MODEST, 1.0)
    assert evaluation == {
        "online_steps": 20.0,
        "imagined_return": pytest.approx(WHOLE * MODEST, rel=1e-4),
    }


def test_policies_are_imagined_from_where_the_last_eight_episodes_began() -> None:
    bench = Bench(SessionConfig(zero_shot_episodes=10, episodes=50))
    bench.session.begin()
    for episode in range(10):
        bench.episode(cos=0.1 * episode)
    bench.session.turn()
    starts = bench.mirror.asked_about[0][:, LAYOUT.column("cos:pendulum")]
    torch.testing.assert_close(starts, 0.1 * torch.arange(2.0, 10.0))


def adapting() -> Bench:
    """In the adaptation phase, with everything published that is due."""
    bench = Bench()
    bench.session.begin()
    for _ in range(2):
        bench.episode()
    bench.work()
    assert bench.session.phase is Phase.ADAPT
    return bench


def test_a_better_candidate_is_published_once_per_rhythm() -> None:
    bench = adapting()
    before = len(bench.published)
    bench.becomes(BOLD)
    bench.episode()
    bench.work()
    assert len(bench.published) == before  # 10 new transitions of 20
    bench.episode()
    bench.work()
    assert bench.what()[before:] == [(BOLD, 1.0)]
    assert bench.session.version == len(bench.published)


@pytest.mark.parametrize("candidate", [0.9 * MODEST - 0.01, -BOLD, math.nan])
def test_a_candidate_expected_to_be_worse_is_held_back(candidate: float) -> None:
    bench = adapting()
    before = len(bench.published)
    bench.becomes(candidate)
    for _ in range(2):
        bench.episode()
    bench.work()
    assert len(bench.published) == before
    assert bench.session.held_back == 1


def test_a_candidate_a_little_worse_is_let_through() -> None:
    bench = adapting()
    bench.becomes(0.9 * MODEST + 0.01)
    for _ in range(2):
        bench.episode()
    bench.work()
    assert bench.what()[-1] == (pytest.approx(0.28), 1.0)
    assert bench.session.held_back == 0


@pytest.mark.parametrize(("cos", "held_back"), [(1.0, 1), (-1.0, 0)])
def test_what_the_robot_measured_with_the_newest_policy_is_the_bar(cos, held_back: int) -> None:
    """The candidate expects 1.5; the newest policy measured 10, or 0."""
    bench = adapting()
    before = len(bench.published)
    for _ in range(2):
        bench.episode(version=bench.session.version, cos=cos)
    bench.work()
    assert bench.session.held_back == held_back
    assert len(bench.published) == before + 1 - held_back


def test_a_candidate_that_cannot_be_exported_is_noted_and_the_next_one_is_tried() -> None:
    bench = adapting()
    before = len(bench.published)
    bench.refusal = BundleError("graph differs")
    for _ in range(2):
        bench.episode()
    bench.work()
    assert bench.session.unfit == ["graph differs"]
    bench.refusal = None
    for _ in range(2):
        bench.episode()
    bench.work()
    assert len(bench.published) == before + 1


def near_the_end() -> Bench:
    """Versions 1 to 3 are modest, the fourth is bold; two of six episodes are over."""
    bench = Bench(SessionConfig(
        zero_shot_episodes=1, episodes=6, final_episodes=1, publish_every=10
    ))  # fmt: skip
    bench.session.begin()
    bench.episode(version=1, cos=0.2)
    bench.work()
    bench.becomes(BOLD)
    bench.episode(version=2, cos=0.2)
    bench.work()
    return bench


def test_the_end_goes_back_to_the_best_snapshot_without_exploration() -> None:
    bench = near_the_end()
    bold = bench.session.version
    assert bench.what()[-1] == (BOLD, 1.0)
    bench.becomes(0.59)
    bench.episode(version=bold, cos=1.0)
    bench.work()
    for _ in range(2):
        bench.episode(version=bold + 1, cos=-0.5)
    bench.work()
    assert bench.session.phase is Phase.FINAL
    assert bench.what()[-1] == (BOLD, 0.0)


@pytest.mark.parametrize("end", [End.ABORTED, End.TRUNCATED])
def test_only_whole_episodes_speak_about_a_policy(end: End) -> None:
    """The bold policy's second episode earns nothing; if it was cut off that proves nothing."""
    bench = near_the_end()
    bold = bench.session.version
    bench.episode(version=bold, cos=0.2)
    bench.work()
    bench.episode(version=bold, cos=-1.0, end=end)
    bench.episode(version=3, cos=0.9)
    bench.work()
    assert bench.session.phase is Phase.FINAL
    fair = end is End.TRUNCATED
    assert bench.what()[-1] == (MODEST if fair else BOLD, 0.0)


def test_what_the_final_policy_does_is_not_learned_from() -> None:
    bench = Bench(replace(CONFIG, target_steps=3 * STEPS), learning=True, whole=STEPS)
    bench.session.begin()
    for _ in range(3):
        bench.episode()
        bench.work()
    assert bench.session.phase is Phase.FINAL
    learned = bench.learner.evidence.updates
    assert learned == 2 * STEPS
    bench.episode(version=bench.session.version)
    assert not bench.session.turn()
    assert bench.learner.evidence.updates == learned


def test_a_model_that_was_never_judged_on_the_target_has_no_say_in_the_end() -> None:
    """It would prefer the bold policy; the robot measured more with the modest one."""
    bench = Bench(SessionConfig(
        zero_shot_episodes=1, episodes=4, final_episodes=1, publish_every=10
    ))  # fmt: skip
    bench.session.begin()
    bench.episode(version=1, cos=0.9)
    bench.work()
    bench.becomes(BOLD)
    bench.episode(version=2, cos=-1.0)
    bench.work()
    bench.episode(version=3, cos=0.7)
    bench.work()
    assert bench.session.phase is Phase.FINAL
    assert bench.learner.evidence.nmse is None
    assert bench.what()[-1] == (MODEST, 0.0)


def test_without_a_gate_whatever_can_be_exported_is_published() -> None:
    bench = Bench(replace(CONFIG, gate_ratio=0.0))
    bench.session.begin()
    for _ in range(2):
        bench.episode()
        bench.work()
    bench.becomes(-BOLD)
    for _ in range(2):
        bench.episode(version=bench.session.version)
        bench.work()
    assert bench.what()[-1] == (-BOLD, 1.0)
    assert bench.session.held_back == 0
    assert bench.mirror.asked_about == []


def episode_by_episode() -> Bench:
    """Publishes between episodes; version 2 explores."""
    bench = Bench(replace(CONFIG, zero_shot_episodes=1, publish_every=0, gate_ratio=0.0))
    bench.session.begin()
    bench.episode(version=1)
    bench.work()
    assert bench.session.version == 2
    bench.becomes(BOLD)
    return bench


def test_a_candidate_follows_the_newest_policys_own_episode() -> None:
    bench = episode_by_episode()
    bench.episode(version=1)  # the second policy came too late for it
    bench.work()
    assert bench.session.version == 2
    bench.episode(version=2)
    bench.work()
    assert bench.what()[2:] == [(BOLD, 1.0)]


def test_a_policy_that_the_robot_does_not_take_is_not_waited_for() -> None:
    bench = episode_by_episode()
    for version in (2, 2, 3, 3, 4):
        assert bench.session.version == version
        bench.episode(version=1)
        bench.work()


def test_when_it_is_over_nothing_more_is_published() -> None:
    bench = near_the_end()
    for _ in range(4):
        bench.episode(version=3)
        bench.work()
    assert bench.session.phase is Phase.DONE
    before = len(bench.published)
    bench.episode(version=3)
    bench.work()
    assert len(bench.published) == before


def test_learning_is_done_in_small_turns_after_adaptation() -> None:
    bench = Bench(learning=True)
    bench.session.begin()
    for _ in range(3):
        bench.episode()
    assert bench.session.turn()  # into ADAPT
    assert bench.session.turn()  # adapts the model: 30 transitions are there
    assert not bench.learner.due_for_adaptation
    assert bench.learner.evidence.updates == 0
    assert bench.session.turn()
    assert bench.learner.evidence.updates == CONFIG.updates_per_turn
    bench.work()
    assert bench.learner.updates_owed == 0


def test_a_gap_that_swallowed_every_start_stops_nothing() -> None:
    bench = Bench()
    bench.session.begin()
    for number in (1, 2):
        bench.session.push(episode_rows(number, STEPS, first=20 * number)[1:])
    bench.work()
    assert bench.session.phase is Phase.ADAPT
    assert bench.what()[-1] == (MODEST, 1.0)


def restarted(bench: Bench, episodes: int, version: int) -> Bench:
    """A new process with the checkpoint of ``bench``, after replaying ``episodes`` episodes."""
    again = Bench()
    again.session.restore(bench.session.tensors())
    for _ in range(episodes):
        again.episode(version=version)
    again.session.begin()
    return again


def test_a_restart_while_adapting_publishes_the_learners_actor_and_explores() -> None:
    bench = adapting()
    bench.becomes(BOLD)
    again = restarted(bench, episodes=3, version=2)
    assert again.session.phase is Phase.ADAPT
    assert again.what() == [(BOLD, 1.0)]
    assert again.learner.evidence.online == 30


@pytest.mark.parametrize(("episodes", "phase"), [(7, Phase.FINAL), (8, Phase.DONE)])
def test_a_restart_near_the_end_keeps_to_the_best_snapshot(episodes: int, phase: Phase) -> None:
    bench = adapting()
    bench.becomes(BOLD)
    again = restarted(bench, episodes, version=2)
    assert again.session.phase is phase
    assert again.what() == [(MODEST, 0.0)]


def test_a_restart_without_a_checkpoint_begins_with_what_it_has() -> None:
    again = Bench()
    for _ in range(7):
        again.episode()
    again.session.begin()
    assert again.what() == [(MODEST, 0.0)]


def test_a_model_state_is_part_of_the_checkpoint() -> None:
    names = adapting().session.tensors().keys()
    assert {f"model.whole.{field}" for field in ModelState._fields} <= names
    assert {"snapshot.1", "snapshot.2"} <= names


def test_once_it_is_over_a_restart_needs_no_record_any_more() -> None:
    """So retention may have them all."""
    bench = near_the_end()
    bold = bench.session.version
    for version in (bold, bold, 1, 1):
        bench.episode(version=version, cos=1.0 if version == bold else -0.5)
        assert bench.session.settled == 0
        bench.work()
    assert bench.session.settled == bold
    again = restarted(bench, episodes=0, version=0)
    assert again.session.phase is Phase.DONE
    assert again.what() == [(BOLD, 0.0)]
    assert not again.session.turn()
    assert again.session.settled == bold


def test_a_pinned_policy_goes_out_again_without_exploring_and_nothing_newer_does() -> None:
    bench = Bench()
    bench.session.begin()
    for _ in range(3):
        bench.episode()
        bench.work()
    before = len(bench.published)
    bench.becomes(BOLD)
    bench.session.pin(1)
    (action, scale, _) = bench.published[-1]
    assert (len(bench.published), action, scale) == (before + 1, MODEST, 0.0)
    for _ in range(9):
        bench.episode(version=before + 1)
        bench.work()
    assert bench.session.phase is Phase.DONE
    assert len(bench.published) == before + 1


@pytest.mark.parametrize(("learned", "out", "held_back"), [(BOLD, 1, 0), (-BOLD, 0, 1)])
def test_once_unpinned_a_candidate_is_due_and_the_gate_judges_it(
    learned: float, out: int, held_back: int
) -> None:
    bench = adapting()
    bench.session.pin(1)
    before = len(bench.published)
    bench.becomes(learned)
    bench.session.pin(0)
    bench.work()
    assert bench.what()[before:] == out * [(learned, 1.0)]
    assert (bench.session.pinned, bench.session.held_back) == (0, held_back)


def test_once_it_is_over_unpinned_robots_get_the_best() -> None:
    bench = near_the_end()
    bold = bench.session.version
    bench.session.pin(1)
    for _ in range(4):
        bench.episode(version=bold, cos=1.0)
    bench.work()
    bench.session.pin(0)
    assert bench.what()[-2:] == [(MODEST, 0.0), (BOLD, 0.0)]


def test_before_adaptation_unpinned_robots_have_the_newest_already() -> None:
    bench = Bench(replace(CONFIG, publish_every=1_000))
    bench.session.begin()
    bench.session.pin(1)
    bench.session.pin(0)
    for _ in range(2):
        bench.episode()
    bench.work()
    assert bench.what() == [(MODEST, 0.0), (MODEST, 0.0), (MODEST, 1.0)]


@pytest.mark.parametrize("refusal", [BundleError("graph differs"), StoreError("disk is full")])
@pytest.mark.parametrize("wanted", [1, 0])
def test_a_pin_that_cannot_go_out_is_none_and_can_be_tried_again(
    wanted: int, refusal: BundleError | StoreError
) -> None:
    bench = Bench()
    for _ in range(CONFIG.episodes):
        bench.episode()
    bench.session.begin()
    if not wanted:
        bench.session.pin(1)
    bench.refusal = refusal
    with pytest.raises(type(refusal)):
        bench.session.pin(wanted)
    assert bench.session.pinned == 1 - wanted
    before, bench.refusal = len(bench.published), None
    bench.session.pin(wanted)
    assert (bench.session.pinned, len(bench.published)) == (wanted, before + 1)


def test_a_restarted_session_that_is_pinned_publishes_nothing_else() -> None:
    first = Bench()
    first.session.begin()
    second = Bench()
    second.session.restore(first.session.tensors())
    second.becomes(BOLD)
    second.session.pin(1)
    assert second.published == []
    second.session.begin()
    assert [(action, scale) for action, scale, _ in second.published] == [(MODEST, 0.0)]


def test_only_what_was_published_can_be_pinned() -> None:
    bench = Bench()
    bench.session.begin()
    bench.session.pin(1)
    with pytest.raises(ConfigError, match="policy 9 cannot be pinned"):
        bench.session.pin(9)
    assert bench.session.pinned == 1


def test_pinning_twice_publishes_once() -> None:
    bench = Bench()
    bench.session.begin()
    bench.session.pin(1)
    bench.session.pin(1)
    assert len(bench.published) == 2
