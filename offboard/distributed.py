"""One learner on several workers: each update's minibatch is shared out, its gradients averaged.

torchrun starts the workers. The first leads: it runs its stage as if it were alone and sends every
other its share of each minibatch. The others follow: they hold the same networks and do nothing but
update. All losses are means over a minibatch, so the mean of the gradients of equal shares is the
gradient of the whole (up to rounding, because sums are taken in another order).
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from datetime import timedelta
from enum import IntEnum
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from offboard.device import CPU, the_device
from offboard.replay import Batch
from offboard.sac import Noise, Sac, SacLoss, SacState, Update
from protocol.errors import ConfigError

PATIENCE = timedelta(days=1)
"""A follower's: while the leader does what only it does, nothing comes."""


class Crew(NamedTuple):
    """This process's place among the workers of one learner; 0 leads. Each may have a GPU."""

    rank: int
    size: int
    device: torch.device = CPU

    def mean(self, gradient: Tensor) -> Tensor:
        """``gradient`` averaged over the crew; all of them have to ask."""
        total = gradient.clone()
        dist.all_reduce(total)
        return total / self.size


class Order(IntEnum):
    """What a share is sent with."""

    STOP = 0
    UPDATE = 1
    RENEW = 2  # networks come first


@contextlib.contextmanager
def crew(device: str = CPU.type) -> Iterator[Crew]:
    """The place that torchrun gave this process.

    Args:
        device: cpu, whose workers talk by gloo, or cuda: each worker of a machine has the GPU of
            its number there, and they talk by NCCL.

    Raises:
        ConfigError: it was not torchrun that started it, or there is no GPU for this worker.
    """
    if not dist.is_torchelastic_launched():
        raise ConfigError(
            "--distributed is for torchrun: torchrun --standalone --nproc-per-node 2 "
            "-m offboard.main source … --distributed"
        )
    own = the_device(device_of(device, int(os.environ["LOCAL_RANK"])))
    if own.type == "cuda":
        torch.cuda.set_device(own)
    dist.init_process_group(backend_of(own), timeout=PATIENCE)
    try:
        yield Crew(dist.get_rank(), dist.get_world_size(), own)
    finally:
        dist.destroy_process_group()


def device_of(device: str, local_rank: int) -> str:
    """The worker's own: a GPU that is not numbered is the one of its place on its machine."""
    return f"cuda:{local_rank}" if device == "cuda" else device


def backend_of(device: torch.device) -> str:
    """What workers talk by: NCCL between GPUs, which takes no tensor of the CPU, else gloo."""
    return "nccl" if device.type == "cuda" else "gloo"


@contextlib.contextmanager
def leading(team: Crew, sac: Sac, O: int) -> Iterator[Sac]:
    """``sac`` with updates made by the whole crew; the crew goes home when the context ends.

    Args:
        team: with this process at its head.
        sac: made with ``team.mean``.
        O: width of an observation.

    Raises:
        ConfigError: a minibatch cannot be shared out evenly.
    """
    lead = _Lead(team, sac.update, _Share.of(team, sac, O))
    led = copy.copy(sac)
    led.update = lead
    try:
        yield led
    finally:
        lead.dismiss()


def follow(team: Crew, sac: Sac, O: int) -> SacState | None:
    """Update as the leader orders, until it sends the crew home.

    Args:
        team: led by another process.
        sac: made with ``team.mean``, otherwise like the leader's.
        O: width of an observation.

    Returns:
        The networks in the end, the leader's too; None if there was nothing to do.

    Raises:
        ConfigError: a minibatch cannot be shared out evenly.
    """
    share = _Share.of(team, sac, O)
    state: SacState | None = None
    while True:
        message = torch.empty(share.size, device=team.device)
        dist.scatter(message, None)
        order, batch, noise = share.unpack(message)
        if order is Order.STOP:
            return state
        if order is Order.RENEW or state is None:
            state = _received(sac.initial(0))
        state, _ = sac.update(state, batch, noise)


class _Lead:
    """Called like :attr:`Sac.update`; the losses it gives are those of its own share."""

    def __init__(
        self,
        team: Crew,
        update: Update,
        share: _Share,
    ) -> None:
        self._team = team
        self._update = update
        self._share = share
        self._latest: SacState | None = None

    def __call__(self, state: SacState, batch: Batch, noise: Noise) -> tuple[SacState, SacLoss]:
        """``state`` after an update on the whole ``batch``; followers get it if they lack it."""
        order = Order.UPDATE if state is self._latest else Order.RENEW
        shares = self._share.cut(batch, noise, self._team.size)
        mine = self._scatter([self._share.pack(order, *one) for one in shares])
        if order is Order.RENEW:
            dist.broadcast(torch.cat([part.reshape(-1) for part in state]), 0)
        _, own_batch, own_noise = self._share.unpack(mine)
        self._latest, loss = self._update(state, own_batch, own_noise)
        return self._latest, loss

    def dismiss(self) -> None:
        """Send the crew home."""
        stop = torch.full((self._share.size,), float(Order.STOP), device=self._team.device)
        self._scatter([stop] * self._team.size)

    def _scatter(self, messages: list[Tensor]) -> Tensor:
        mine = torch.empty(self._share.size, device=self._team.device)
        dist.scatter(mine, messages)
        return mine


class _Share(NamedTuple):
    """How one worker's part of a minibatch lies in one vector: order, transitions, noise.

    B rows of a minibatch, O columns of observation, A of action, M critics of the target.
    """

    B: int
    O: int
    A: int
    M: int

    @staticmethod
    def of(team: Crew, sac: Sac, O: int) -> _Share:
        B, M = sac.config.batch, sac.config.target_subset or sac.config.critics
        if B % team.size:
            raise ConfigError(
                f"--sac.batch {B} cannot be shared out evenly among {team.size} workers"
            )
        return _Share(B // team.size, O, sac.action_size, M)

    @property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        B, O, A, M = self
        return ((1,), (B, O), (B, A), (B,), (B, O), (B,), (2, B, A), (M,))

    @property
    def size(self) -> int:
        return sum(torch.Size(shape).numel() for shape in self._shapes)

    @staticmethod
    def cut(batch: Batch, noise: Noise, into: int) -> Iterator[tuple[Batch, Noise]]:
        """A minibatch in equal shares; the critics of the target are the same for all."""
        columns = zip(*(column.chunk(into) for column in batch), strict=True)
        for rows, action in zip(columns, noise.action.chunk(into, 1), strict=True):
            yield Batch(*rows), Noise(action, noise.critics)

    @staticmethod
    def pack(order: Order, batch: Batch, noise: Noise) -> Tensor:
        code = batch.reward.new_full((1,), float(order))
        parts = (code, *batch, noise.action, noise.critics.float())
        return torch.cat([part.reshape(-1) for part in parts])

    def unpack(self, message: Tensor) -> tuple[Order, Batch, Noise]:
        sizes = [torch.Size(shape).numel() for shape in self._shapes]
        order, *columns, action, critics = (
            part.view(shape)
            for part, shape in zip(torch.split(message, sizes), self._shapes, strict=True)
        )
        return Order(int(order)), Batch(*columns), Noise(action, critics.long())


def _received(like: SacState) -> SacState:
    """The leader's networks, of the sizes of ``like``."""
    flat = like.actor.new_empty(sum(part.numel() for part in like))
    dist.broadcast(flat, 0)
    parts = torch.split(flat, [part.numel() for part in like])
    return SacState(*(part.view(old.shape).clone() for part, old in zip(parts, like, strict=True)))
