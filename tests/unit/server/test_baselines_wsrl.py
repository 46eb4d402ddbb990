"""Does warm-start RL keep what it learned offline and nothing of what it learned it from?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_bench import BEST, DISCOUNT, SMALL, A, O, bandit, chain, experience, greedy, make_bench

from offboard.baselines.cal_ql import CalQlConfig, make_cal_ql
from offboard.baselines.wsrl import WsrlConfig, make_wsrl
from offboard.replay import Batch, join
from offboard.sac import Sac

pytestmark = pytest.mark.usefixtures("eager")

CONFIG = WsrlConfig(offline_updates=3, critics=4)
MANY = replace(SMALL, critics=4, target_subset=2)
NEW = chain([1.0] * 6, start=1_000.0)


def test_it_starts_from_what_cal_ql_learned_with_its_many_critics() -> None:
    bench = make_bench(bandit(50, 0))
    theirs = make_cal_ql(replace(bench, sac=MANY), CalQlConfig(offline_updates=3)).state
    ours = make_wsrl(bench, CONFIG).state
    assert torch.equal(ours.actor, theirs.actor)
    assert ours.critic.numel() == Sac(O, A, DISCOUNT, MANY).critic_space.size


def test_on_locomotion_it_learns_offline_by_plain_cql() -> None:
    bench = make_bench(chain([9.0] * 40))
    calibrated, plain = (
        make_wsrl(bench, replace(CONFIG, calibrate=calibrate)).state for calibrate in (True, False)
    )
    assert not torch.equal(calibrated.critic, plain.critic)


def test_online_it_is_plain_sac_on_new_data_only_four_times_per_step(monkeypatch) -> None:
    agent = make_wsrl(make_bench(bandit(50, 0), warmup_steps=3, updates_per_step=1), CONFIG)
    heard: list[Batch] = []
    update = agent._sac.update
    monkeypatch.setattr(
        agent._sac, "update", lambda s, b, noise: (heard.append(b), update(s, b, noise))[1]
    )
    experience(agent, NEW)
    assert len(heard) == 4 * 3
    assert (join(heard).obs[:, 0] >= 1_000.0).all()


def test_during_the_warm_up_the_offline_policy_acts_unchanged() -> None:
    agent = make_wsrl(make_bench(bandit(50, 0), warmup_steps=6), CONFIG)
    before = agent.state
    experience(agent, NEW)
    assert agent.state is before


def test_online_it_learns_what_pays_now_and_not_what_paid_then() -> None:
    bench = make_bench(bandit(200, 0, best=BEST), warmup_steps=100)
    agent = make_wsrl(bench, replace(CONFIG, offline_updates=20))
    experience(agent, bandit(150, 1, best=-BEST))
    action = greedy(agent._sac.actor_space, agent.state.actor)
    assert float(action.mean()) < -0.5 * BEST
