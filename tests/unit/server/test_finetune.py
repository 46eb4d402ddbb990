"""Does the learner learn the target, doubt its model first, and forget nothing in a restart?"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
import torch
from made_learning import JUDGE, LAYOUT, SMALL_MODEL, SMALL_SAC, A, O, linear_transitions

from offboard.finetune import FinetuneConfig, Learner
from offboard.mismatch import PESSIMISM_MAX, pessimism
from offboard.model_state import ModelState
from offboard.replay import Batch, empty
from offboard.run_dir import RunDir
from offboard.sac import Sac
from offboard.sampling import SamplingConfig, beliefs, effective_size, offline_fraction
from offboard.switch import Course, SwitchConfig
from offboard.world_model import WorldModel
from protocol.errors import StoreError

pytestmark = pytest.mark.usefixtures("eager")

PRIOR = linear_transitions(1_000, seed=0)
TARGET_GAIN = 0.6
CONFIG = FinetuneConfig(
    updates_per_step=4,
    warmup_steps=20,
    adapt_every=100,
    adapt_steps=300,
    capacity=500,
    course=Course.RELABEL,
    sampling=SamplingConfig(start=0.5, half_life=10_000, nmse_useless=2.0),
)


@pytest.fixture(scope="module")
def model(eager) -> WorldModel:
    return WorldModel(LAYOUT, JUDGE, SMALL_MODEL)


@pytest.fixture(scope="module")
def source(model: WorldModel) -> ModelState:
    start = model.initial(PRIOR, seed=0)
    return model.fit(start, PRIOR, 500, torch.Generator().manual_seed(0))


class Ear:
    """A SAC that remembers the batches it was given."""

    def __init__(self) -> None:
        self.sac = Sac(O, A, 0.98, SMALL_SAC)
        self.heard: list[Batch] = []
        update = self.sac.update

        def listening(state, batch, noise):
            self.heard.append(batch)
            return update(state, batch, noise)

        self.sac.update = listening


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def make(ear: Ear, model: WorldModel, source: ModelState):
    def make(config: FinetuneConfig = CONFIG, seed: int = 0) -> Learner:
        start = ear.sac.initial(seed=1)
        return Learner(ear.sac, model, start, source, PRIOR, config, seed)

    return make


def target(count: int, seed: int = 5) -> Batch:
    return linear_transitions(count, seed, gain=TARGET_GAIN)


def adapted(learner: Learner) -> Learner:
    learner.observe(target(300))
    learner.adapt()
    learner.observe(target(50, seed=6))
    return learner


def test_updates_are_owed_for_what_is_seen_after_the_warm_up(make) -> None:
    learner = make()
    assert learner.updates_owed == 0
    learner.observe(target(20))
    assert learner.updates_owed == 0
    learner.observe(target(3))
    assert learner.updates_owed == 12
    learner.train(5)
    assert learner.updates_owed == 7
    assert learner.evidence.updates == 5


def test_updates_are_owed_for_all_that_was_seen_not_for_what_is_held(make) -> None:
    learner = make(replace(CONFIG, capacity=10, warmup_steps=0))
    for seed in range(4):
        learner.observe(target(10, seed))
    assert learner.updates_owed == 160


def test_adaptation_is_due_after_enough_new_data(make) -> None:
    learner = make()
    learner.observe(target(99))
    assert not learner.due_for_adaptation
    learner.observe(target(1))
    assert learner.due_for_adaptation
    learner.adapt()
    assert not learner.due_for_adaptation


def test_before_adaptation_only_target_data_is_learned_from(make, ear: Ear) -> None:
    learner = make()
    learner.observe(target(100))
    learner.train(3)
    assert learner.evidence.offline_fraction == 0.0
    assert learner.evidence.nmse is None
    seen = {tuple(row) for row in target(100).obs.tolist()}
    for batch in ear.heard:
        assert batch.size == SMALL_SAC.batch
        assert all(tuple(row) in seen for row in batch.obs.tolist())


def test_prior_data_waits_until_the_adapted_model_was_judged_on_data_new_to_it(make) -> None:
    learner = make()
    learner.observe(target(300))
    learner.adapt()
    assert learner.evidence.nmse is None
    assert learner.evidence.offline_fraction == 0.0
    learner.observe(target(50, seed=6))
    nmse = learner.evidence.nmse
    assert nmse is not None
    wanted = offline_fraction(350, nmse, CONFIG.sampling)
    assert 0.3 < wanted < 0.5
    assert learner.evidence.offline_fraction == wanted


def test_the_judgement_is_of_new_data_by_the_model_before_it_learns_them(make, model) -> None:
    learner = adapted(make())
    first = model.nmse(learner.model_state, target(50, seed=6))
    assert learner.evidence.nmse == pytest.approx(first)
    second = model.nmse(learner.model_state, target(80, seed=7))
    learner.observe(target(80, seed=7))
    assert learner.evidence.nmse == pytest.approx(0.8 * first + 0.2 * second)


def test_a_model_surer_than_it_may_be_makes_uncertainty_dearer(make, model) -> None:
    learner = make()
    learner.observe(target(300))
    learner.adapt()
    assert learner.evidence.pessimism == 1.0  # not judged yet
    state, fresh = learner.model_state, target(80, seed=6)
    learner.observe(fresh)
    stated = float((model.expect(state, fresh.obs, fresh.applied).uncertainty ** 2).mean())
    assert learner.evidence.pessimism == pytest.approx(
        pessimism(model.nmse(state, fresh), stated), rel=1e-5
    )
    restarted = make()
    restarted.restore(learner.tensors())
    assert restarted.pessimism == pytest.approx(learner.pessimism)
    moved_away = fresh._replace(following=fresh.following + 9.0)
    learner.observe(moved_away)
    assert learner.pessimism == PESSIMISM_MAX


def test_adaptation_teaches_the_model_the_target(make, model: WorldModel, source) -> None:
    learner = adapted(make())
    unseen = target(200, seed=9)
    before, after = (model.nmse(state, unseen) for state in (source, learner.model_state))
    assert after < 0.3 * before


def test_adaptation_lets_the_model_reach_as_far_as_the_target_did(make) -> None:
    arm = LAYOUT.column("position:arm")
    far = target(300)
    far.obs[0, arm] = 9.0
    learner = make()
    learner.observe(far)
    learner.adapt()
    assert float(learner.model_state.high[arm]) == 9.0


def test_adaptation_relabels_prior_data_as_the_target_would_have_it(make, ear: Ear) -> None:
    learner = adapted(make())
    learner.train(20)
    offline = round(SMALL_SAC.batch * learner.evidence.offline_fraction)
    prior = {tuple(row): index for index, row in enumerate(PRIOR.obs.tolist())}
    heard = [batch.take(torch.arange(offline)) for batch in ear.heard]
    index = torch.tensor([prior[tuple(row)] for part in heard for row in part.obs.tolist()])
    assert len(index) == 20 * offline
    relabelled = torch.cat([part.following for part in heard])
    truth = linear_transitions(1_000, seed=0, gain=TARGET_GAIN).following[index]
    speed = LAYOUT.column("velocity:arm")
    error = (relabelled - truth)[:, speed].square().mean()
    assert error < 0.3 * (PRIOR.following[index] - truth)[:, speed].square().mean()
    for batch in ear.heard:
        assert batch.size == SMALL_SAC.batch
        assert not any(tuple(row) in prior for row in batch.obs[offline:].tolist())


def test_prior_data_are_drawn_as_often_as_they_are_believed(make, model, source, ear) -> None:
    learner = adapted(make())
    wanted = beliefs(
        model.disagreement(learner.model_state, PRIOR.obs, PRIOR.applied),
        model.squared_error(learner.model_state, PRIOR),
        learner.evidence.nmse,
        float(model.squared_error(source, target(300)).mean()),
    )
    assert learner.evidence.relabelled == effective_size(wanted) < 1_000
    learner.train(100)
    offline = round(SMALL_SAC.batch * learner.evidence.offline_fraction)
    prior = {tuple(row): index for index, row in enumerate(PRIOR.obs.tolist())}
    drawn = [prior[tuple(row)] for batch in ear.heard for row in batch.obs[:offline].tolist()]
    share = wanted[torch.tensor(drawn)].mean() / wanted.mean()
    expected = (wanted**2).mean() / wanted.mean() ** 2
    assert float(share) == pytest.approx(float(expected), rel=0.05)


def test_before_the_first_adaptation_all_prior_data_are_alike(make) -> None:
    assert make().evidence.relabelled == PRIOR.size


def test_training_changes_the_policy_and_equal_seeds_change_it_equally(make) -> None:
    first, again, other = make(), make(), make(seed=1)
    before = first.state.actor
    for learner in (first, again, other):
        learner.observe(target(100))
        learner.train(3)
    assert not torch.equal(first.state.actor, before)
    assert torch.equal(first.state.actor, again.state.actor)
    assert not torch.equal(first.state.actor, other.state.actor)


def test_losses_are_of_the_last_update_and_absent_before_it(make) -> None:
    learner = make()
    learner.observe(target(60))
    assert learner.losses == {}
    learner.train(1)
    assert learner.losses.keys() == {"critic_loss", "actor_loss", "alpha", "q"}
    assert all(math.isfinite(loss) for loss in learner.losses.values())


def test_warming_up_teaches_nothing(make) -> None:
    learner, untouched = make(), make()
    learner.warm_up()
    for learner_ in (learner, untouched):
        learner_.observe(target(100))
        learner_.train(2)
    assert torch.equal(learner.state.actor, untouched.state.actor)
    assert torch.equal(learner.model_state.weights, untouched.model_state.weights)


def test_observing_nothing_changes_nothing(make) -> None:
    learner = adapted(make())
    before = learner.evidence
    learner.observe(empty(O, A))
    assert learner.evidence == before


def test_a_restored_learner_is_the_one_that_was_saved(make) -> None:
    saved = adapted(make())
    saved.train(6)
    restored = make()
    restored.restore(saved.tensors())
    restored.observe(target(300))
    restored.observe(target(50, seed=6))
    for ours, theirs in zip(restored.state, saved.state, strict=True):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(restored.model_state, saved.model_state, strict=True):
        assert torch.equal(ours, theirs)
    assert restored.updates_owed == saved.updates_owed
    assert restored.due_for_adaptation == saved.due_for_adaptation
    assert restored.evidence.relabelled == saved.evidence.relabelled < 1_000
    assert restored.evidence.nmse == pytest.approx(saved.evidence.nmse)


def test_replaying_what_the_model_was_trained_on_does_not_flatter_it(make) -> None:
    saved = adapted(make())
    restored = make()
    restored.restore(saved.tensors())
    for part in range(6):
        restored.observe(target(300).take(torch.arange(50 * part, 50 * part + 50)))
    assert restored.evidence.nmse == saved.evidence.nmse


def test_a_learner_that_was_never_judged_is_restored_as_such(make) -> None:
    restored = make()
    restored.restore(make().tensors())
    assert restored.evidence.nmse is None


@pytest.mark.parametrize("name", ["sac.actor", "model.whole.low", "progress.course"])
def test_a_checkpoint_that_lacks_something_is_refused_by_name(make, name: str) -> None:
    tensors = make().tensors()
    del tensors[name]
    with pytest.raises(StoreError, match=name):
        make().restore(tensors)


def test_a_prior_too_far_away_leaves_the_updates_of_plain_fine_tuning(make) -> None:
    """Not merely similar: the model's work must not disturb a single minibatch."""
    far = SwitchConfig(support_min=2.0)
    switched = make(replace(CONFIG, course=None, switch=far), seed=3)
    plain = make(replace(CONFIG, course=Course.FINETUNE), seed=3)
    for learner in (switched, plain):
        learner.observe(target(120))
        if learner.due_for_adaptation:
            learner.adapt()
        learner.train(5)
    assert switched.evidence.course is Course.FINETUNE
    assert switched.evidence.mismatch is not None
    assert not plain.due_for_adaptation
    torch.testing.assert_close(switched.state.actor, plain.state.actor, rtol=0.0, atol=0.0)


def test_the_raw_course_takes_half_of_each_batch_from_the_prior_as_it_is(make, ear: Ear) -> None:
    raw = replace(CONFIG, course=Course.RAW)
    learner = make(raw)
    learner.restore(make(raw).tensors())
    learner.observe(target(300))
    assert not learner.due_for_adaptation
    assert learner.evidence.offline_fraction == 0.5
    learner.train(3)
    prior = {tuple(row) for row in torch.cat([PRIOR.obs, PRIOR.following], dim=1).tolist()}
    for batch in ear.heard:
        rows = torch.cat([batch.obs, batch.following], dim=1).tolist()
        known = [tuple(row) in prior for row in rows]
        assert known == [True] * (len(known) // 2) + [False] * (len(known) // 2)


def test_a_source_policy_worse_than_random_is_given_up(model, source, ear) -> None:
    start = ear.sac.initial(seed=1)
    hopeless = replace(CONFIG, course=None)
    learner = Learner(ear.sac, model, start, source, PRIOR, hopeless, 4, random_reward=2.0)
    learner.observe(target(120))
    learner.adapt()
    assert learner.evidence.course is Course.SCRATCH
    assert torch.equal(learner.state.actor, ear.sac.initial(seed=4).actor)


def test_a_course_once_taken_survives_a_restart(make) -> None:
    far = replace(CONFIG, course=None, switch=SwitchConfig(support_min=2.0))
    learner = adapted(make(far))
    restarted = make(far)
    restarted.restore(learner.tensors())
    assert restarted.evidence.course is Course.FINETUNE


def test_a_checkpoint_of_an_older_learner_is_refused_in_one_clear_sentence(make) -> None:
    """One that kept its numbers in a row, before there were ways of adapting."""
    tensors = adapted(make()).tensors()
    for name in ("updates", "adapted_at", "nmse", "course"):
        del tensors[f"progress.{name}"]
    tensors["counts"] = torch.zeros(4)
    with pytest.raises(StoreError, match=r"checkpoint lacks 'progress\.updates'$"):
        make().restore(tensors)


def test_a_restart_does_not_take_the_adapted_model_for_the_source_model(make, model, source):
    learner = adapted(make())
    restarted = make()
    restarted.restore(learner.tensors())
    restarted.observe(target(300))
    restarted.observe(target(100, seed=7))
    restarted.adapt()
    seen = restarted.online.all()
    assert restarted.evidence.mismatch is not None
    assert restarted.evidence.mismatch.source_nmse == pytest.approx(model.nmse(source, seen))


@pytest.mark.parametrize("column", ["following", "reward"])
def test_a_mismatch_that_is_not_a_number_leaves_plain_fine_tuning(make, column: str) -> None:
    learner = make(replace(CONFIG, course=None))
    broken = target(120)
    getattr(broken, column)[0] = torch.nan
    learner.observe(broken)
    learner.adapt()
    assert learner.evidence.mismatch is None
    assert learner.evidence.course is Course.FINETUNE
    learner.observe(target(50))
    assert learner.evidence.offline_fraction == 0.0


def test_a_judgement_that_is_not_a_number_is_not_held_against_the_next(make, model) -> None:
    learner = make()
    learner.observe(target(300))
    learner.adapt()
    broken = target(50, seed=6)
    broken.following[0] = torch.nan
    learner.observe(broken)
    assert learner.evidence.offline_fraction == 0.0
    learner.observe(target(80, seed=7))
    assert learner.evidence.nmse == pytest.approx(
        model.nmse(learner.model_state, target(80, seed=7))
    )


def test_the_way_of_adapting_is_told_once_there_is_one(make) -> None:
    learner = make()
    assert learner.evidence.way is None
    assert adapted(learner).evidence.way in {"whole", "last_layers"}


def test_what_was_decided_can_be_written_to_a_log(make, tmp_path) -> None:
    """A server once died of it, at the first episode after an adaptation."""
    evidence = adapted(make()).evidence
    assert evidence.mismatch is not None
    RunDir(tmp_path).log(**asdict(evidence))
    (row,) = RunDir(tmp_path).metrics()
    assert row["course"] == "relabel"
    assert row["mismatch"]["support"] == pytest.approx(evidence.mismatch.support)
