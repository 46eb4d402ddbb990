"""From streamed step records to transitions and finished episodes. Pure; one object per robot."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from offboard.replay import Batch, empty
from protocol.observation import Layout
from protocol.step_record import End, Flag, Rows, transition_mask
from protocol.tasks import Judge

NEARLY_WHOLE = 0.95


@dataclass(frozen=True)
class Episode:
    """One episode as the server saw it: ``steps`` transitions arrived of ``length`` made."""

    number: int
    steps: int
    length: int
    total: float
    end: End
    explored: bool
    versions: dict[int, int]

    @property
    def representative(self) -> bool:
        """Whether its return speaks about one policy: one version, hardly a gap, not cut off."""
        nearly_whole = self.steps >= NEARLY_WHOLE * self.length > 0
        return nearly_whole and len(self.versions) == 1 and self.end is not End.ABORTED

    @property
    def main_version(self) -> int:
        """The policy version that acted longest."""
        return max(self.versions, key=lambda version: self.versions[version])


@dataclass
class _Open:
    """An episode still being received."""

    total: float = 0.0
    steps: int = 0
    explored: bool = False
    versions: dict[int, int] = field(default_factory=dict)


class Assembler:
    """Joins record batches of one robot; the reward is computed here, from the stream."""

    def __init__(self, layout: Layout, judge: Judge) -> None:
        self._layout = layout
        self._judge = judge
        self._tail: Rows | None = None
        self._open: dict[int, _Open] = {}

    def push(self, rows: Rows) -> tuple[Batch, list[Episode]]:
        """Take the next rows (N,) in order.

        Returns:
            The transitions they complete, in order, and the episodes that ended within them.
        """
        joined = rows if self._tail is None else np.concatenate([self._tail, rows])
        self._tail = rows[-1:].copy() if len(rows) else self._tail
        if len(joined) < 2:
            return empty(self._layout.size, self._layout.action_size), []
        index = np.flatnonzero(transition_mask(joined))
        here, there = joined[index], joined[index + 1]
        batch = self._judged(here, there)
        for row, reward in zip(here, batch.reward.tolist(), strict=True):
            self._count(row, reward)
        ended = rows[rows["end"] != End.RUNNING]
        return batch, [self._close(row) for row in ended if int(row["episode"]) in self._open]

    def _judged(self, here: Rows, there: Rows) -> Batch:
        obs, applied, following = (
            torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
            for values in (here["obs"], here["applied"], there["obs"])
        )
        outcome = self._judge(obs, applied, following)
        return Batch(obs, applied, outcome.reward, following, outcome.terminated)

    def _count(self, row: np.void, reward: float) -> None:
        episode = self._open.setdefault(int(row["episode"]), _Open())
        version = int(row["policy_version"])
        episode.total += reward
        episode.steps += 1
        episode.explored |= bool(row["flags"] & Flag.EXPLORING)
        episode.versions[version] = episode.versions.get(version, 0) + 1

    def _close(self, row: np.void) -> Episode:
        number = int(row["episode"])
        seen = self._open.pop(number)
        return Episode(
            number=number,
            steps=seen.steps,
            length=int(row["step"]),
            total=seen.total,
            end=End(int(row["end"])),
            explored=seen.explored,
            versions=seen.versions,
        )
