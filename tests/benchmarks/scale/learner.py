"""One learner on N workers: ``torchrun … learner.py OUT``; the leader writes seconds an update.

Every size is timed on the minibatch as a whole, whoever has which share of it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

from offboard.distributed import crew, follow, leading
from offboard.replay import Batch
from offboard.sac import Sac, SacConfig

O, A, DISCOUNT = 8, 2, 0.99
SIZES = {"64": (64, 128, 100), "256": (256, 256, 40), "512": (512, 2048, 4)}
"""Width, minibatch, and updates in a round; the rig's own is the first."""
ROUNDS = 5


def minibatch(size: int) -> Batch:
    """Of noise: an update does the same work whatever it learns from."""
    generator = torch.Generator().manual_seed(0)
    obs, following = torch.randn(2, size, O, generator=generator)
    applied = torch.rand(size, A, generator=generator)
    return Batch(obs, applied, applied[:, 0], following, torch.zeros(size))


def seconds(led: Sac, size: int, updates: int) -> float:
    """Of one update, in the fastest round; compiled before."""
    generator, batch = torch.Generator().manual_seed(1), minibatch(size)
    state, _ = led.update(led.initial(seed=1), batch, led.noise(generator))
    state, _ = led.update(state, batch, led.noise(generator))
    took = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        for _ in range(updates):
            state, _ = led.update(state, batch, led.noise(generator))
        took.append((time.perf_counter() - began_s) / updates)
    return min(took)


def main() -> None:
    torch.set_num_threads(1)
    found = {}
    with crew() as team:
        for name, (width, size, updates) in SIZES.items():
            sac = Sac(O, A, DISCOUNT, SacConfig(width=width, batch=size), team.mean)
            if team.rank:
                follow(team, sac, O)
                continue
            with leading(team, sac, O) as led:
                found[name] = seconds(led, size, updates)
    if found:
        Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
