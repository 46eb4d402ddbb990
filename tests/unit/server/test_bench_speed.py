"""Is the speed that is reported the speed that was measured, side by side and in turns?"""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from offboard.bench import contenders, speed
from offboard.bench.contenders import Work, learner, made_transitions, our_updates, peer_updates
from offboard.bench.speed import alternate, measure_speed, repeats_exactly, report, tracking
from offboard.sac import Sac
from protocol.errors import ConfigError

pytestmark = pytest.mark.usefixtures("eager")

needs_peer = pytest.mark.skipif(
    importlib.util.find_spec("stable_baselines3") is None, reason="needs requirements/bench.txt"
)


def tiny() -> Sac:
    return learner(O=3, A=1, width=8, batch=4)


class World:
    """A clock, and work that takes a known time on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def clock(self) -> float:
        return self.now

    def work(self, name: str, seconds: float, units: int) -> Work:
        def run() -> None:
            self.now += seconds
            self.log.append(name)

        return Work(run, units)


@pytest.fixture
def small(monkeypatch) -> None:
    """Everything that is timed, in the smallest amounts."""
    for name, value in (("TRANSITIONS", 300), ("BURST", 1)):
        monkeypatch.setattr(contenders, name, value)
    for name, value in (("ROUNDS", 1), ("STARTS", 2), ("CHECKED_UPDATES", 2)):
        monkeypatch.setattr(speed, name, value)
    monkeypatch.setattr(speed, "TRACKED_UPDATES", 3)


def test_a_rate_is_units_over_time() -> None:
    world = World()
    works = {"a": world.work("a", 0.5, 10), "b": world.work("b", 0.25, 1)}
    assert alternate(works, 4.0, 2, world.clock) == {"a": [20.0, 20.0], "b": [4.0, 4.0]}


def test_works_take_turns_after_one_uncounted_run() -> None:
    world = World()
    works = {"a": world.work("a", 1.0, 1), "b": world.work("b", 0.5, 1)}
    alternate(works, 4.0, 2, world.clock)
    assert "".join(world.log) == "ab" + "abb" + "abb"


def test_work_longer_than_its_turn_is_done_once() -> None:
    world = World()
    assert alternate({"a": world.work("a", 10.0, 5)}, 1.0, 1, world.clock) == {"a": [0.5]}


def test_ratios_are_taken_within_a_round() -> None:
    """The machine halves its speed in the second round: both are slower, the ratio is not."""
    rates = {name: [100.0, 50.0, 100.0] for name in ("ours_64", "ours_256", "fit", "plans")}
    rates |= {f"{kind}_{n}": [1e11] * 3 for kind in ("fp32", "bf16") for n in (256, 1024)}
    rates |= {"sb3_64": [20.0, 10.0, 50.0], "sb3_256": [50.0, 25.0, 50.0]}
    rates |= {"fit_eager": [10.0, 11.0, 12.0]}
    found = report(rates, {})
    assert (found["ratio_64"], found["ratio_256"]) == (5.0, 2.0)
    assert (found["ours_updates_s"], found["sb3_updates_s"]) == (100.0, 20.0)
    assert found["fit_steps_s_eager"] == 11.0
    assert found["matrix_gflops"]["fp32_1024"] == 100.0


def test_the_fraction_is_of_the_matrix_rate() -> None:
    rates = {name: [1.0] for name in ("ours_256", "fit", "plans")}
    rates |= {f"{kind}_{n}": [1e9] for kind in ("fp32", "bf16") for n in (256, 1024)}
    rates |= {"sb3_64": [1.0], "sb3_256": [1.0], "fit_eager": [1.0]}
    rates["ours_64"] = [250.0]
    assert report(rates, {"ours_64": 10**6})["matrix_fraction"] == {"ours_64": 0.25}


@needs_peer
@pytest.mark.usefixtures("small")
def test_everything_is_measured_in_one_call() -> None:
    threads = torch.get_num_threads()
    found = measure_speed(seconds=0.0)
    assert found.keys() >= {"ours_updates_s", "sb3_updates_s", "ratio_64", "ratio_256"}
    assert all(found[name] > 0.0 for name in ("fit_steps_s", "plans_s", "model_evaluations_s"))
    assert found["deterministic"] is True
    assert found["compiled"] is False
    assert found["matrix_fraction"].keys() == {"ours_64", "ours_256", "fit", "plans"}
    assert torch.get_num_threads() == threads


@needs_peer
def test_the_peer_has_our_network_and_step_sizes(monkeypatch) -> None:
    from stable_baselines3 import SAC

    made = []
    init = SAC.__init__
    monkeypatch.setattr(
        SAC, "__init__", lambda self, *a, **k: (made.append(self), init(self, *a, **k))[1]
    )
    ours = tiny()
    work = peer_updates(ours)
    peer = made[0]
    widths = [layer.out_features for layer in peer.critic.qf0 if hasattr(layer, "out_features")]
    assert widths == [8, 8, 1]
    assert len(peer.critic.q_networks) == ours.config.critics
    assert (peer.batch_size, peer.tau, peer.learning_rate) == (4, ours.config.tau, ours.config.lr)
    assert peer.target_entropy == ours.config.target_entropy
    before = peer._n_updates
    work.run()
    assert peer._n_updates - before == work.units


def test_a_missing_peer_names_the_remedy(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ConfigError, match=r"requirements/bench\.txt"):
        peer_updates(tiny())


def test_our_work_is_that_many_updates(monkeypatch) -> None:
    monkeypatch.setattr(contenders, "BURST", 3)
    counted = []
    update = contenders.Sac._update
    monkeypatch.setattr(contenders.Sac, "_update", lambda *a: (counted.append(1), update(*a))[1])
    work = our_updates(tiny())
    work.run()
    assert len(counted) == work.units == 3


def test_the_same_seed_repeats_exactly() -> None:
    assert repeats_exactly(tiny(), 5)


def test_what_drifts_does_not_repeat(monkeypatch) -> None:
    drift = iter(range(1_000))
    update = contenders.Sac._update

    def drifting(self, state, batch, noise):
        state, loss = update(self, state, batch, noise)
        return state._replace(actor=state.actor + 1e-6 * next(drift)), loss

    monkeypatch.setattr(contenders.Sac, "_update", drifting)
    assert not repeats_exactly(tiny(), 5)


def test_bf16_products_track_fp32() -> None:
    found = tracking(learner(O=3, A=1, width=32, batch=64), 60)
    assert found["critic_loss_ratio"] == pytest.approx(1.0, abs=0.2)
    assert found["critic_loss_ratio"] != 1.0


def test_the_made_world_is_stable() -> None:
    data = made_transitions(4, 2, 2_000)
    assert float(data.following.var()) < float(data.obs.var()) * 1.1
    assert float(data.reward.min()) > 0.0
    assert float(data.reward.max()) <= 1.0
