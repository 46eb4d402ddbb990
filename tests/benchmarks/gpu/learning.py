"""Our learning core on a GPU: updates of one learner and of many seeds at once, fits and plans.

Everything stays on the device, minibatches and noise too; a CPU thread of the same machine does
the same work beside it. A population is :meth:`offboard.sac.Sac._update` mapped over a first axis
of seeds: the same function, one launch for all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from runtime.percentiles import Json
from torch import Tensor

from offboard.bench import flops
from offboard.bench.contenders import DISCOUNT, TRANSITIONS, made_transitions
from offboard.columns import Unnamed
from offboard.device import moved
from offboard.model_state import ModelConfig
from offboard.planner import PlanConfig, Planner
from offboard.replay import Batch
from offboard.sac import Noise, Sac, SacConfig, SacState
from offboard.world_model import WorldModel

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TURN_S = 1.5
CHECKED = 200


class Size(NamedTuple):
    """Observation, action, hidden width and batch of a learner."""

    O: int
    A: int
    width: int
    batch: int


RIG, CHEETAH, WIDE = Size(7, 1, 64, 128), Size(17, 6, 256, 256), Size(17, 6, 512, 2048)
POPULATIONS = (16, 256)
WIDE_MODEL = ModelConfig(members=7, width=512, batch=2048)
STARTS = (64, 1024, 8192)


def measure(device: torch.device) -> Json:
    """Units per second; the CPU works with one thread."""
    torch.set_num_threads(1)
    machine, sizes, both = matrix_rate(device), (RIG, CHEETAH, WIDE), (CPU, device)
    groups = [(size, seeds) for size in (RIG, CHEETAH) for seeds in POPULATIONS]
    work = [(starts, CPU) for starts in STARTS[:2]] + [(starts, device) for starts in STARTS]
    configs = (ModelConfig(), WIDE_MODEL)
    return {
        "matrix_tflops_fp32": machine * 1e-12,
        "plans": [told(plan(starts, place, machine)) for starts, place in work],
        "fit_steps_s": [told(fit(config, place)) for config in configs for place in both],
        "updates_s": [told(one_learner(size, place)) for size in sizes for place in both],
        "population": [told(population(size, seeds, device)) for size, seeds in groups],
        "parity": parity(CHEETAH, device),
    }


def told(row: Json) -> Json:
    """A row that whoever waits may read already."""
    print(f"bench-gpu: {row}", file=sys.stderr, flush=True)
    return row


def learner(size: Size, device: torch.device) -> Sac:
    """Without its own compilation: what is timed says how it is compiled."""
    config = SacConfig(width=size.width, batch=size.batch, target_entropy=-float(size.A))
    return Sac(size.O, size.A, DISCOUNT, config, device=device)


def one_learner(size: Size, device: torch.device) -> Json:
    """Updates/s as our server makes them, and with the update as one CUDA graph."""
    sac = learner(size, device)
    found = {**size._asdict(), "device": device.type, "compiled": _updates_s(sac, sac.update, ())}
    if device.type == "cuda":
        graph = torch.compile(sac._update, fullgraph=True, dynamic=False, mode="reduce-overhead")
        found["compiled_cuda_graph"] = _updates_s(sac, graph, ())
    return found


def population(size: Size, count: int, device: torch.device) -> Json:
    """Updates/s of ``count`` seeds together."""
    sac = learner(size, device)
    update = torch.compile(
        torch.vmap(sac._update, in_dims=(0, 0, Noise(0, None))), fullgraph=True, dynamic=False,
        mode="reduce-overhead" if device.type == "cuda" else None,
    )  # fmt: skip
    rate = _updates_s(sac, update, (count,))
    return {**size._asdict(), "seeds": count, "updates_s_of_each": rate, "updates_s": rate * count}


def _updates_s(sac: Sac, update: Callable[..., Any], seeds: tuple[int, ...]) -> float:
    data = moved(made_transitions(*_sizes(sac), TRANSITIONS), sac.device)
    state, draw = _states(sac, seeds), _Draw(sac, data, seeds)

    def step() -> None:
        nonlocal state
        torch.compiler.cudagraph_mark_step_begin()
        state, _ = update(state, *draw())
        state = SacState(*(part.clone() for part in state))

    return rate(step, sac.device)


class _Draw:
    """Minibatches and noise of every seed, drawn where they are used."""

    def __init__(self, sac: Sac, data: Batch, seeds: tuple[int, ...]) -> None:
        self._data, self._device = data, sac.device
        self._batch = (*seeds, sac.config.batch)
        self._noise = (*seeds, 2, sac.config.batch, sac.action_size)
        self._critics = torch.arange(sac.config.critics, device=sac.device)

    def __call__(self) -> tuple[Batch, Noise]:
        index = torch.randint(self._data.size, self._batch, device=self._device)
        return self._data.take(index), Noise(
            torch.randn(self._noise, device=self._device), self._critics
        )


def _states(sac: Sac, seeds: tuple[int, ...]) -> SacState:
    """Of one learner, or of several side by side."""
    if not seeds:
        return sac.initial(0)
    states = [sac.initial(seed) for seed in range(seeds[0])]
    return SacState(*(torch.stack(parts) for parts in zip(*states, strict=True)))


def fit(config: ModelConfig, device: torch.device) -> Json:
    """Steps/s of the ensemble's fit, held-out checks included."""
    O, A, *_ = CHEETAH
    model = WorldModel(Unnamed(O, A), None, config, device)
    data = moved(made_transitions(O, A, TRANSITIONS), device)
    state, generator = model.initial(data, seed=0), torch.Generator().manual_seed(0)
    steps = 25
    found = steps * rate(lambda: model.fit(state, data, steps, generator), device)
    return {
        "members": config.members, "width": config.width, "batch": config.batch,
        "device": device.type, "steps_s": found,
    }  # fmt: skip


def plan(starts: int, device: torch.device, machine: float) -> Json:
    """Plans/s from ``starts`` states at once, eager as generation makes them."""
    O, A, *_ = CHEETAH
    sac, config = learner(CHEETAH, device), PlanConfig()
    data = moved(made_transitions(O, A, max(TRANSITIONS, starts)), device)
    model = WorldModel(Unnamed(O, A), None, ModelConfig(), device)
    networks = sac.initial(seed=0)
    planner = Planner(
        model, model.initial(data, seed=0), sac.actor_space.view(networks.actor),
        sac.critic_space.view(networks.critic), config, DISCOUNT, torch.Generator().manual_seed(0),
    )  # fmt: skip
    mean = torch.zeros(starts, config.horizon, A, device=device)

    def step() -> None:
        with torch.no_grad():
            planner.plan(data.obs[:starts], mean)

    plans_s = starts * rate(step, device)
    work = flops.plan(model.space, sac.actor_space, sac.critic_space, config)
    return {
        "starts": starts, "device": device.type, "plans_s": plans_s,
        "model_evaluations_s": plans_s * flops.imagined_steps(config),
        "matrix_fraction": work * plans_s / machine if device.type == "cuda" else None,
    }  # fmt: skip


def parity(size: Size, device: torch.device) -> Json:
    """Largest relative difference of the networks after updates here and on the CPU."""
    found = []
    for place in (CPU, device):
        sac = learner(size, place)
        data, generator = (
            made_transitions(*_sizes(sac), TRANSITIONS),
            torch.Generator().manual_seed(0),
        )
        state = sac.initial(0)
        for _ in range(CHECKED):
            index = torch.randint(data.size, (size.batch,), generator=generator)
            batch = moved(data.take(index), place)
            state, _ = sac.update(state, batch, sac.noise(generator))
        found.append(state)
    return {
        "updates": CHECKED,
        **{name: _apart(*(getattr(each, name) for each in found)) for name in ("actor", "critic")},
    }  # fmt: skip


def _apart(here: Tensor, there: Tensor) -> float:
    return float((here - there.cpu()).norm() / here.norm())


def matrix_rate(device: torch.device, n: int = 8192) -> float:
    """Floating-point operations/s of float32 products without TF32."""
    a, b = (torch.randn(n, n, device=device) for _ in range(2))
    return 2 * n**3 * rate(lambda: torch.mm(a, b), device)


def rate(step: Callable[[], Any], device: torch.device, seconds: float = TURN_S) -> float:
    """Calls per second; the first few compile and capture and are not counted."""
    for _ in range(5):
        step()
    wait = torch.cuda.synchronize if device.type == "cuda" else _nothing
    wait()
    began, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        step()
        done += 1
        if done % 20 == 0:
            wait()
    wait()
    return done / (time.perf_counter() - began) if spent else 0.0


def _nothing() -> None:
    """The CPU has done what it was asked to."""


def _sizes(sac: Sac) -> tuple[int, int]:
    return sac.actor_space.shapes["actor.0.weight"][0], sac.action_size
