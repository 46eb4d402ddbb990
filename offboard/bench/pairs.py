"""The pairs: a source world, a target world, and the recipe both are learned with.

A pair says everything that decides a result and nothing else; :mod:`offboard.bench.plan` says
which cells are run. Recipes belong to families, never to a pair, and were chosen on the prototype's
pairs (LEARNING.md § 4-6), not on the benchmark's evaluation seeds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from offboard.bench.world import World
from offboard.finetune import FinetuneConfig
from offboard.model_state import ModelConfig
from offboard.sac import SacConfig
from offboard.sampling import SamplingConfig
from offboard.train_online import OnlineConfig
from protocol.errors import ConfigError

Start = Literal["source", "scratch", "mirror"]
"""What a reference expert is made from (:mod:`offboard.bench.expert`)."""


@dataclass(frozen=True)
class Recipe:
    """Sizes and budgets of a family; the same for every method that uses them.

    ``planner`` says that our method acts by planning in its model and not by its actor alone.
    """

    discount: float
    sac: SacConfig
    target_lr: float
    target_alpha_min: float
    source: OnlineConfig
    model: ModelConfig
    model_steps: int
    finetune: FinetuneConfig
    budget_steps: int
    evaluate_every: int
    evaluate_episodes: int
    expert: OnlineConfig
    judge_episodes: int = 10
    planner: bool = False

    @property
    def target_sac(self) -> SacConfig:
        """The algorithm in the target: smaller steps keep a warm start from collapsing."""
        return replace(self.sac, lr=self.target_lr, alpha_min=self.target_alpha_min)


@dataclass(frozen=True)
class Pair:
    """One cell's two worlds. The reference expert is the best of those in ``expert_from``."""

    name: str
    family: str
    source: World
    target: World
    recipe: Recipe
    expert_from: tuple[Start, ...] = ("source",)


FURUTA = Recipe(
    discount=0.98,
    sac=SacConfig(),
    target_lr=3e-4,
    target_alpha_min=0.03,
    source=OnlineConfig(env_steps=15_000),
    model=ModelConfig(),
    model_steps=3_000,
    finetune=FinetuneConfig(warmup_steps=250, adapt_every=250, adapt_steps=300),
    budget_steps=4_000,
    evaluate_every=250,
    evaluate_episodes=3,
    expert=OnlineConfig(env_steps=20_000, random_steps=0, updates_per_step=2),
    planner=True,
)

_LEGGED_SAC = SacConfig(width=128, lr=5e-4, tau=0.005, target_entropy=-6.0)
CHEETAH = Recipe(
    discount=0.99,
    sac=_LEGGED_SAC,
    target_lr=5e-4,
    target_alpha_min=0.0,
    source=OnlineConfig(
        env_steps=40_000,
        random_steps=2_000,
        updates_per_step=1,
        evaluate_every=5_000,
        evaluate_episodes=3,
    ),
    model=ModelConfig(width=128),
    model_steps=8_000,
    finetune=FinetuneConfig(
        warmup_steps=1_000,
        adapt_every=1_000,
        adapt_steps=600,
        sampling=SamplingConfig(half_life=20_000),
    ),
    budget_steps=5_000,
    evaluate_every=1_000,
    evaluate_episodes=3,
    expert=OnlineConfig(
        env_steps=30_000,
        random_steps=0,
        updates_per_step=1,
        evaluate_every=5_000,
        evaluate_episodes=3,
    ),
    judge_episodes=5,
)
PUBLISHED = replace(CHEETAH, budget_steps=100_000, evaluate_every=5_000)
"""As many target steps as VGDF's table 1 (LEARNING.md § 3)."""
ANT = replace(CHEETAH, sac=replace(_LEGGED_SAC, target_entropy=-8.0))
QUADRUPED = replace(
    CHEETAH,
    discount=0.98,
    sac=replace(_LEGGED_SAC, target_entropy=-6.0),
    source=replace(
        CHEETAH.source,
        env_steps=14_000,
        random_steps=500,
        updates_per_step=2,
        evaluate_every=2_000,
    ),
    finetune=replace(CHEETAH.finetune, warmup_steps=600, adapt_every=600, adapt_steps=600),
    budget_steps=6_000,
    evaluate_every=600,
    evaluate_episodes=5,
    expert=replace(CHEETAH.expert, env_steps=20_000, updates_per_step=2, evaluate_every=2_000),
)

_RIG = "wombet/Rig-v0"
_RIG_FILE = {"robot": "hw_configs/furuta.toml", "task": "swing_up"}


def _rig(name: str, gap: float, *starts: Start) -> Pair:
    source = World(_RIG, {**_RIG_FILE, "body": "nominal"})
    target = World(_RIG, {**_RIG_FILE, "body": "target", "gap": gap})
    return Pair(name, "furuta", source, target, FURUTA, starts or ("source",))


def _body(name: str, family: str, env_id: str, recipe: Recipe, body: str, *starts: Start) -> Pair:
    files = {"mjcf": "hw_configs/quadruped.xml"} if family == "quadruped" else {}
    source = World(env_id, {**files, "body": "nominal"})
    target = World(env_id, {**files, "body": body})
    return Pair(name, family, source, target, recipe, starts or ("source",))


def _cheetah(name: str, body: str, *starts: Start, recipe: Recipe = CHEETAH) -> Pair:
    return _body(name, "cheetah", "wombet/Cheetah-v0", recipe, body, *starts)


def _ant(name: str, body: str) -> Pair:
    return _body(name, "ant", "wombet/Ant-v0", ANT, body)


PAIRS: tuple[Pair, ...] = (
    _rig("furuta", 1.0),
    _rig("furuta_gap_0", 0.0),
    _rig("furuta_gap_0.5", 0.5),
    _rig("furuta_gap_2", 2.0),
    _rig("furuta_gap_4", 4.0, "source", "scratch"),
    _cheetah("cheetah_front_thigh", "broken_front_thigh"),
    _cheetah("cheetah_inverted", "inverted", "mirror"),
    _cheetah("cheetah_back_thigh", "broken_back_thigh", recipe=PUBLISHED),
    _cheetah("cheetah_no_thighs", "no_thighs", "source", "scratch", recipe=PUBLISHED),
    _cheetah("cheetah_backward", "backward", "source", "scratch"),
    _cheetah("cheetah_morph", "odrl_morph_torso_medium"),
    _cheetah("cheetah_kinematic", "odrl_kinematic_thighjnt_medium"),
    _cheetah("cheetah_weak_gear", "weak_gear"),
    _cheetah("cheetah_payload", "payload"),
    _cheetah("cheetah_low_friction", "low_friction"),
    _ant("ant_morph", "odrl_morph_alllegs_medium"),
    _ant("ant_kinematic", "odrl_kinematic_hipjnt_medium"),
    _body("quadruped", "quadruped", "wombet/Quadruped-v0", QUADRUPED, "loaded_weak_slippery"),
)


LIVE = replace(PAIRS[0], name="furuta_live")
"""The flagship: its robot learns in the real-time loop, see :mod:`offboard.bench.live`."""


def lock_step_of(live: Pair) -> Pair:
    """The pair whose source and expert ``live`` shares."""
    return replace(live, name=live.name.removesuffix("_live"))


def pair_named(name: str) -> Pair:
    """Raises ConfigError listing the pairs if there is none of that name."""
    pairs = (*PAIRS, LIVE)
    for pair in pairs:
        if pair.name == name:
            return pair
    raise ConfigError(f"no pair {name!r}; pairs are {[pair.name for pair in pairs]}")
