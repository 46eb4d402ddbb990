"""Cal-QL, and CQL, offline and then online on half old and half new data.

Source: Nakamoto et al. 2023 (arXiv 2303.05479) and its code (LEARNING.md § 2). As there, online
episodes are learned from once they are over, because only then their returns are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from offboard.baselines.conservative import (
    Conservative,
    CqlConfig,
    Valued,
    join_valued,
    valued,
)
from offboard.baselines.episodes import reward_scale
from offboard.baselines.mixed_sac import Fraction, proportional, symmetric
from offboard.bench.agent import Bench
from offboard.replay import Batch, empty, join
from offboard.rollout import Policy, actor_policy
from offboard.sac import Sac, SacState


@dataclass(frozen=True)
class CalQlConfig:
    """The recipe, in the reward's own units.

    Attributes:
        weight: of the conservative term, over the reward by which the best and the worst source
            episode differ in a step. Published is 5 for D4RL's locomotion, where random and expert
            differ by 3 to 12 a step (LEARNING.md § 3); a reward in [0, 1] would drown in that.
        actions: sampled of each kind.
        calibrate: Cal-QL; without it CQL(H).
        offline_updates: scaled to a source replay of some 10k steps.
        proportional: replaces the fixed half by the share that old data has in all data.
    """

    weight: float = 1.0
    actions: int = 10
    calibrate: bool = True
    offline_updates: int = 10_000
    proportional: bool = False


class CalQlAgent:
    """Goes on in the target as it learned offline, on a mix of old and new data."""

    def __init__(
        self,
        sac: Sac,
        learner: Conservative,
        state: SacState,
        old: Valued,
        fraction: Fraction,
        bench: Bench,
    ) -> None:
        self.state = state
        self._sac = sac
        self._learner = learner
        self._old = old
        self._new = Valued(empty(bench.O, bench.A), torch.zeros(0))
        self._episode: list[Batch] = []
        self._fraction = fraction
        self._bench = bench
        self._generator = torch.Generator().manual_seed(bench.seed)

    def policy(self, explore: bool) -> Policy:
        """The present actor."""
        generator = self._generator if explore else None
        return actor_policy(self._sac.actor_space, self.state.actor, generator)

    def observe(self, transition: Batch, over: bool) -> None:
        """Take one transition; at the end of its episode learn for each of them."""
        self._episode.append(transition)
        if not over:
            return
        episode = valued(join(self._episode), self._bench.discount)
        self._episode = []
        before = self._new.size
        self._new = join_valued(self._new, episode)
        warm = self._new.size - max(before, self._bench.warmup_steps)
        self.learn(warm * self._bench.updates_per_step)

    def learn(self, updates: int) -> None:
        """Make ``updates`` gradient steps."""
        for _ in range(updates):
            noise = self._learner.noise(self._generator)
            self.state, _ = self._learner.update(self.state, self._minibatch(), noise)

    def _minibatch(self) -> Valued:
        size = self._sac.config.batch
        if self._new.size == 0:
            return self._old.sample(size, self._generator)
        old = round(size * self._fraction(self._new.size))
        return join_valued(
            self._old.sample(old, self._generator), self._new.sample(size - old, self._generator)
        )


def make_cal_ql(bench: Bench, config: CalQlConfig = CalQlConfig()) -> CalQlAgent:
    """An agent trained offline on the source replay. Raises ConfigError without a source."""
    source = bench.known_source()
    sac = Sac(bench.O, bench.A, bench.discount, bench.sac)
    weight = config.weight / reward_scale(source.replay)
    cql = CqlConfig(weight, config.actions, config.calibrate)
    agent = CalQlAgent(
        sac,
        Conservative(sac, bench.discount, cql),
        sac.initial(bench.seed),
        Valued(source.replay, source.returns_to_go),
        proportional(source.replay.size) if config.proportional else symmetric,
        bench,
    )
    agent.learn(config.offline_updates)
    return agent
