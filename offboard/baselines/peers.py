"""stable-baselines3's SAC, TD3 and PPO, as published, from scratch in the target.

They own their loop and see the action they asked for, not the one that was applied. Everything
about them is their default; TD3's exploration noise, which has none, is its paper's (Fujimoto et
al. 2018, table 3: N(0, 0.1)).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offboard.rollout import Env, Policy
from protocol.errors import ConfigError

ALGORITHMS = ("sac", "td3", "ppo")
TD3_NOISE_STD = 0.1


def train_peer(
    algorithm: str,
    env: Env,
    evaluate: Callable[[Policy], float],
    budget: int,
    evaluate_every: int,
    seed: int,
) -> Iterator[tuple[int, float]]:
    """Train in ``env``; yields (environment steps so far, return of the deterministic policy).

    The first row is the untrained policy at step 0, the others follow every ``evaluate_every``
    steps up to ``budget``. Seeds torch's and numpy's global generators, as that library does.

    Args:
        algorithm: one of ``ALGORITHMS``.
        env: where it trains; a Box of actions in [-1, 1].
        evaluate: the return of a policy, in an environment of its own.
        budget: environment steps.
        evaluate_every: steps between rows.
        seed: of networks, minibatches, exploration and ``env``.

    Raises:
        ConfigError: an unknown algorithm, or stable-baselines3 is not installed.
    """
    model = _make(algorithm, env, seed)
    rows: list[tuple[int, float]] = [(0, evaluate(_policy(model)))]

    def on_step(local: dict[str, Any], world: dict[str, Any]) -> bool:
        if model.num_timesteps % evaluate_every == 0:
            rows.append((model.num_timesteps, evaluate(_policy(model))))
        return bool(model.num_timesteps < budget)

    while model.num_timesteps < budget:
        model.learn(evaluate_every, callback=on_step, reset_num_timesteps=False)
        yield from rows
        rows.clear()


def _make(algorithm: str, env: Env, seed: int) -> Any:
    if algorithm not in ALGORITHMS:
        raise ConfigError(f"no peer {algorithm!r}; peers are {', '.join(ALGORITHMS)}")
    try:
        library = importlib.import_module("stable_baselines3")
        noise = importlib.import_module("stable_baselines3.common.noise")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{algorithm} needs stable-baselines3; pip install -r requirements/bench.txt"
        ) from error
    options: dict[str, Any] = {"seed": seed, "device": "cpu"}
    if algorithm == "td3":
        mean = np.zeros(env.action_space.shape or ())
        options["action_noise"] = noise.NormalActionNoise(mean, mean + TD3_NOISE_STD)
    return getattr(library, algorithm.upper())("MlpPolicy", env, **options)


def _policy(model: Any) -> Policy:
    def choose(obs: NDArray[np.float32]) -> NDArray[np.float32]:
        action: NDArray[np.float32] = model.predict(obs, deterministic=True)[0]
        return action

    return choose
