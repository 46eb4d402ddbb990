"""Speed of the learning core on this machine, beside stable-baselines3 in the same run.

Contenders take turns, so that what else the machine does meets all of them; a ratio is taken
within a turn and its median reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from statistics import median
from typing import Any

import torch
from torch import Tensor

from offboard import compiled
from offboard.bench import flops
from offboard.bench.contenders import (
    Work,
    fit_steps,
    learner,
    matrix_products,
    our_updates,
    peer_updates,
    plans,
    updates,
)
from offboard.columns import Unnamed
from offboard.model_state import ModelConfig
from offboard.planner import PlanConfig
from offboard.sac import Sac
from offboard.world_model import WorldModel

Json = dict[str, Any]
Rates = dict[str, list[float]]
Clock = Callable[[], float]

FURUTA, CHEETAH = (7, 1, 64, 128), (17, 6, 256, 256)
"""Observation, action, hidden width and batch: the rig's own, and what peers use on HalfCheetah."""

ROUNDS = 5
STARTS = 64
CHECKED_UPDATES = 1_000
TRACKED_UPDATES = 300
MATRICES = (256, 1024)
"""The learner's largest product is 256 × 256 × 256; 1024 shows what the machine can do."""


def measure_speed(seconds: float, clock: Clock = time.perf_counter) -> Json:
    """Time every contender for ``seconds`` in all, one thread, compilation not counted.

    Raises:
        ConfigError: stable-baselines3 is not installed.
    """
    furuta, cheetah = learner(*FURUTA), learner(*CHEETAH)
    with _one_thread():
        rates = alternate(contenders(furuta, cheetah), seconds, ROUNDS, clock)
        return {
            **report(rates, unit_flops(furuta, cheetah)),
            "deterministic": repeats_exactly(furuta, CHECKED_UPDATES),
            "bf16": {
                "updates_s_256": median(rates["ours_256_bf16"]),
                "gain": _ratio(rates, "ours_256_bf16", "ours_256"),
                **tracking(cheetah, TRACKED_UPDATES),
            },
            "compiled": compiled.can_compile(),
            "versions": {name: _version(name) for name in ("torch", "stable-baselines3")},
            "rounds": rates,
        }


def contenders(furuta: Sac, cheetah: Sac) -> dict[str, Work]:
    """Everything timed, rivals next to each other."""
    O, A, *_ = CHEETAH
    products = {
        f"{name}_{n}": matrix_products(n, dtype)
        for n in MATRICES
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    return {
        "ours_64": our_updates(furuta),
        "sb3_64": peer_updates(furuta),
        "ours_256": our_updates(cheetah),
        "sb3_256": peer_updates(cheetah),
        "ours_256_bf16": our_updates(cheetah, torch.bfloat16),
        "fit": fit_steps(O, A, ModelConfig()),
        "fit_eager": fit_steps(O, A, ModelConfig(), "force_eager"),
        "plans": plans(cheetah, PlanConfig(), ModelConfig(), STARTS),
        **products,
    }


def alternate(works: dict[str, Work], seconds: float, rounds: int, clock: Clock) -> Rates:
    """Units per second of each work in each round; the first, uncounted, run compiles."""
    for work in works.values():
        work.run()
    turn_s = seconds / (rounds * len(works))
    rates: Rates = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            rates[name].append(_rate(work, turn_s, clock))
    return rates


def report(rates: Rates, unit_flops: dict[str, int]) -> Json:
    """Medians, ratios, and fractions of the machine's fp32 matrix rate.

    Args:
        rates: of every contender.
        unit_flops: operations in one unit of those whose fraction is wanted.
    """
    typical = {name: median(values) for name, values in rates.items()}
    machine = typical["fp32_1024"]
    return {
        "ours_updates_s": typical["ours_64"],
        "sb3_updates_s": typical["sb3_64"],
        "ratio_64": _ratio(rates, "ours_64", "sb3_64"),
        "ours_updates_s_256": typical["ours_256"],
        "sb3_updates_s_256": typical["sb3_256"],
        "ratio_256": _ratio(rates, "ours_256", "sb3_256"),
        "fit_steps_s": typical["fit"],
        "fit_steps_s_eager": typical["fit_eager"],
        "plans_s": typical["plans"],
        "model_evaluations_s": typical["plans"] * flops.imagined_steps(PlanConfig()),
        "matrix_gflops": {
            f"{kind}_{n}": typical[f"{kind}_{n}"] / 1e9
            for n in MATRICES
            for kind in ("fp32", "bf16")
        },
        "matrix_fraction": {
            name: count * typical[name] / machine for name, count in unit_flops.items()
        },
    }


def unit_flops(furuta: Sac, cheetah: Sac) -> dict[str, int]:
    """Floating-point operations in the matrix products of one unit of each contender of ours."""
    O, A, *_ = CHEETAH
    model = WorldModel(Unnamed(O, A), None, ModelConfig()).space
    return {
        "ours_64": flops.update(furuta.actor_space, furuta.critic_space, furuta.config.batch),
        "ours_256": flops.update(cheetah.actor_space, cheetah.critic_space, cheetah.config.batch),
        "fit": flops.fit(model, ModelConfig().batch),
        "plans": flops.plan(model, cheetah.actor_space, cheetah.critic_space, PlanConfig()),
    }


def repeats_exactly(sac: Sac, count: int) -> bool:
    """Whether ``count`` updates from the same seed end in the same bits twice."""
    first, second = (_state_after(sac, count) for _ in range(2))
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def tracking(sac: Sac, count: int) -> Json:
    """Late critic loss and value of bf16 products over those of fp32, same seed and batches."""
    full, half = (_late(sac, dtype, count) for dtype in (torch.float32, torch.bfloat16))
    return {
        "critic_loss_ratio": float(half[0] / full[0]),
        "q_ratio": float(half[1] / full[1]),
        "tracked_updates": count,
    }


def _rate(work: Work, seconds: float, clock: Clock) -> float:
    began, done = clock(), 0
    while (spent := clock() - began) < seconds or not done:
        work.run()
        done += work.units
    return done / spent


def _ratio(rates: Rates, ours: str, theirs: str) -> float:
    return median(a / b for a, b in zip(rates[ours], rates[theirs], strict=True))


def _state_after(sac: Sac, count: int) -> tuple[Tensor, ...]:
    state, _ = next(islice(updates(sac, torch.float32), count - 1, None))
    return state


def _late(sac: Sac, dtype: torch.dtype, count: int) -> tuple[Tensor, Tensor]:
    """Mean critic loss and value over the last third of ``count`` updates."""
    losses = [loss for _, loss in islice(updates(sac, dtype), count - count // 3, count)]
    return (
        torch.stack([loss.critic for loss in losses]).mean(),
        torch.stack([loss.q for loss in losses]).mean(),
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
