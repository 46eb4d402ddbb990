"""A crew started by torchrun, and what each of its workers runs: ``crew_of_two.py OUT``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import safetensors.torch
import torch

from offboard.distributed import crew, follow, leading
from offboard.replay import Batch
from offboard.run_dir import pack, unpack
from offboard.sac import Noise, Sac, SacConfig, SacState

O, A, DISCOUNT, UPDATES = 5, 2, 0.99, 20
CONFIG = SacConfig(width=16, critics=3, target_subset=2, batch=32)


def minibatches(sac: Sac) -> Iterator[tuple[Batch, Noise]]:
    """The same ones for everybody who asks."""
    generator = torch.Generator().manual_seed(3)
    for _ in range(UPDATES):
        obs, following = torch.randn(2, CONFIG.batch, O, generator=generator)
        applied = 2.0 * torch.rand(CONFIG.batch, A, generator=generator) - 1.0
        reward, chance = torch.rand(2, CONFIG.batch, generator=generator)
        batch = Batch(obs, applied, reward, following, (chance < 0.1).float())
        yield batch, sac.noise(generator)


def learn(sac: Sac, rows: slice = slice(None)) -> SacState:
    """Half of the updates, networks from elsewhere, and the other half; on ``rows`` only."""
    state = sac.initial(seed=1)
    for update, (batch, noise) in enumerate(minibatches(sac)):
        if update == UPDATES // 2:
            state = state._replace(actor=0.5 * state.actor)
        seen = Batch(*(column[rows] for column in batch))
        state, _ = sac.update(state, seen, Noise(noise.action[:, rows], noise.critics))
    return state


def run_crew(out: Path, limit_s: float, **environment: str) -> list[SacState]:
    """What the leader and its follower hold in the end."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, __file__, out],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True, text=True, timeout=limit_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [
        unpack("sac", SacState, safetensors.torch.load_file(out / f"{rank}.safetensors"))
        for rank in (0, 1)
    ]


def main() -> None:
    torch.set_num_threads(1)
    with crew() as team:
        sac = Sac(O, A, DISCOUNT, CONFIG, team.mean)
        if team.rank:
            state = follow(team, sac, O)
            assert state is not None
        else:
            with leading(team, sac, O) as led:
                state = learn(led)
        content = {name: value.contiguous() for name, value in pack("sac", state).items()}
        Path(sys.argv[1], f"{team.rank}.safetensors").write_bytes(safetensors.torch.save(content))


if __name__ == "__main__":
    main()
