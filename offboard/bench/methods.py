"""The methods by name: each makes an agent from what it may know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from offboard.baselines.balanced_replay import make_balanced_replay
from offboard.baselines.cal_ql import make_cal_ql
from offboard.baselines.iql import make_iql
from offboard.baselines.mixed_sac import Fraction, MixedSac, never, proportional, symmetric
from offboard.baselines.mopo import make_mopo
from offboard.baselines.peers import ALGORITHMS
from offboard.baselines.wsrl import make_wsrl
from offboard.bench.agent import Agent, Bench
from offboard.bench.planning_agent import Planner, PlanningAgent
from offboard.bench.transfer_agent import TransferAgent
from offboard.bench.world import sac_of
from offboard.finetune import FinetuneConfig, Learner
from offboard.planner_policy import PlannerArchitecture, SearchConfig
from offboard.replay import empty, join
from offboard.sac import Sac, SacConfig
from offboard.switch import Course
from offboard.world_model import WorldModel
from protocol.errors import ConfigError

RLPD_CRITICS, RLPD_SUBSET = 10, 2
"""Source: RLPD (Ball et al. 2023), table of hyper-parameters."""


@dataclass(frozen=True)
class Terms:
    """What a cell gives a method beside the world.

    Budgets, a mean reward to beat, the algorithm that learned the source from nothing, and whether
    a ``planner`` is deployed where the model is believed.
    """

    finetune: FinetuneConfig
    fresh: SacConfig
    random_reward: float
    planner: bool = False


Make = Callable[[Bench, Terms], Agent]


@dataclass(frozen=True)
class Method:
    """How an agent is made.

    ``generates`` says whether it needs WOMBET's generated data, which takes a while to make;
    ``peer`` names an outside algorithm that owns its loop instead; ``budgets`` is how many of its
    pair's budgets of target steps it gets.
    """

    make: Make
    generates: bool = False
    peer: str = ""
    budgets: int = 1


def _sac(bench: Bench, config: SacConfig | None = None) -> Sac:
    return sac_of(bench.O, bench.A, bench.discount, config or bench.sac)


def _learner(
    bench: Bench, terms: Terms, course: Course | None, generated: bool = False
) -> tuple[Learner, Sac]:
    """The prior is the source's replay, and what was ``generated`` from it where asked for."""
    source, sac = bench.known_source(), _sac(bench)
    learner = Learner(
        sac,
        bench.model,
        sac.restart(source.actor, source.critic),
        bench.known_model(),
        join([source.replay, source.kept]) if generated else source.replay,
        replace(terms.finetune, course=course),
        bench.seed,
        terms.random_reward,
        _sac(bench, terms.fresh),
    )
    return learner, sac


def _ours(course: Course | None, actor: bool = False, generated: bool = False) -> Make:
    """What acts is what the family deploys, or the ``actor`` in any case."""

    def make(bench: Bench, terms: Terms) -> Agent:
        learner, sac = _learner(bench, terms, course, generated)
        agent = TransferAgent(learner, bench.model, sac, bench.seed + 1)
        if actor or not terms.planner:
            return agent
        return PlanningAgent(
            agent, learner, _planner(bench.model, sac, bench.discount), bench.seed + 2
        )

    return make


def _fine_tuned_kept(bench: Bench, terms: Terms) -> Agent:
    """Fine-tuning that deploys the best measured of its snapshots, as ours does."""
    learner, sac = _learner(bench, terms, Course.FINETUNE)
    return TransferAgent(learner, bench.model, sac, bench.seed + 1, kept_anyway=True)


@cache
def _planner(model: WorldModel, sac: Sac, discount: float) -> Planner:
    return Planner(PlannerArchitecture(model, sac, discount, SearchConfig()))


def _scratch(bench: Bench, terms: Terms) -> Agent:
    sac, nothing = _sac(bench, terms.fresh), empty(bench.O, bench.A)
    return MixedSac(
        sac, sac.initial(bench.seed), nothing, never, bench.warmup_steps,
        bench.updates_per_step, bench.seed,
    )  # fmt: skip


def _rlpd(bench: Bench, terms: Terms) -> Agent:
    config = replace(terms.fresh, critics=RLPD_CRITICS, target_subset=RLPD_SUBSET)
    sac = _sac(bench, config)
    return MixedSac(
        sac, sac.initial(bench.seed), bench.known_source().replay, symmetric,
        bench.warmup_steps, bench.updates_per_step, bench.seed,
    )  # fmt: skip


def _warm(fraction: Callable[[int], Fraction], kept: bool) -> Make:
    """Warm networks and prior data as it is, mixed by ``fraction`` of the prior's size."""

    def make(bench: Bench, terms: Terms) -> Agent:
        source, sac = bench.known_source(), _sac(bench)
        prior = source.kept if kept else source.replay
        return MixedSac(
            sac, sac.restart(source.actor, source.critic), prior, fraction(prior.size),
            bench.warmup_steps, bench.updates_per_step, bench.seed,
        )  # fmt: skip

    return make


def _half_proportional(size: int) -> Fraction:
    return proportional(size, start=0.5)


METHODS: dict[str, Method] = {
    "ours": Method(_ours(None)),
    "ours_always": Method(_ours(Course.RELABEL)),
    "ours_actor": Method(_ours(None, actor=True)),
    "ours_generated": Method(_ours(None, generated=True), generates=True),
    "ft": Method(_ours(Course.FINETUNE)),
    "ft_kept": Method(_fine_tuned_kept),
    "scratch": Method(_scratch),
    "scratch_long": Method(_scratch, budgets=5),
    "rlpd": Method(_rlpd),
    "raw": Method(_warm(lambda _: symmetric, kept=False)),
    "proportional": Method(_warm(proportional, kept=False)),
    "wombet": Method(_warm(_half_proportional, kept=True), generates=True),
    "balanced_replay": Method(lambda bench, _: make_balanced_replay(bench)),
    "iql": Method(lambda bench, _: make_iql(bench)),
    "cal_ql": Method(lambda bench, _: make_cal_ql(bench)),
    "wsrl": Method(lambda bench, _: make_wsrl(bench)),
    "mopo": Method(lambda bench, _: make_mopo(bench)),
    **{f"sb3_{name}": Method(_scratch, peer=name) for name in ALGORITHMS},
}


def method_named(name: str) -> Method:
    """Raises ConfigError listing the methods if there is none of that name."""
    if name not in METHODS:
        raise ConfigError(f"no method {name!r}; methods are {sorted(METHODS)}")
    return METHODS[name]
