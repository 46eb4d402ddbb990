"""From streamed step records to transitions and finished episodes. Pure; one object per robot.

A transition is one answer of the policy: from the tick in which it was asked to the next such tick,
or to the end of the episode. Where the policy is asked at every tick, that is one tick.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from offboard.replay import Batch, empty
from protocol.observation import Layout
from protocol.robot_spec import Policy
from protocol.step_record import End, Flag, Rows, transition_mask
from protocol.tasks import Judge

NEARLY_WHOLE = 0.95
EVERY_TICK = Policy()

Index = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Episode:
    """One episode as the server saw it: transitions of ``steps`` ticks arrived of ``length``.

    They are ``answers`` in number: each is one answer of the policy, which may last several ticks.
    """

    number: int
    steps: int
    length: int
    total: float
    end: End
    explored: bool
    versions: dict[int, int]
    answers: int = 0

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
    answers: int = 0
    explored: bool = False
    versions: dict[int, int] = field(default_factory=dict)


class Assembler:
    """Joins record batches of one robot; the reward is computed here, from the stream."""

    def __init__(self, layout: Layout, judge: Judge, policy: Policy = EVERY_TICK) -> None:
        """``policy`` says how long an answer lasts on this robot."""
        self._layout = layout
        self._judge = judge
        self._policy = policy
        self._tail: Rows | None = None
        self._open: dict[int, _Open] = {}

    def push(self, rows: Rows) -> tuple[Batch, list[Episode]]:
        """Take the next rows (N,) in order.

        Returns:
            The transitions they complete, in order, and the episodes that ended within them.
        """
        joined = rows if self._tail is None else np.concatenate([self._tail, rows])
        known = len(joined) - len(rows)
        self._tail = joined[-self._policy.divisor :].copy() if len(joined) else None
        if len(joined) < 2:
            return empty(self._layout.size, self._layout.action_size), []
        first, last = self._answers(joined, known)
        batch = self._judged(joined, first, last)
        ticks, rewards = (last - first).tolist(), batch.reward.tolist()
        for row, *count in zip(joined[first], ticks, rewards, strict=True):
            self._count(row, *count)
        ended = rows[rows["end"] != End.RUNNING]
        return batch, [self._close(row) for row in ended if int(row["episode"]) in self._open]

    def _answers(self, rows: Rows, known: int) -> tuple[Index, Index]:
        """Where each answer begins and ends, of those that end in row ``known`` or later."""
        joins = transition_mask(rows)
        if self._policy.divisor == 1:
            last = np.flatnonzero(joins) + 1
            last = last[last >= known]
            return last - 1, last
        asked = (rows["flags"] & Flag.ASKED) > 0
        firsts = np.flatnonzero(asked).tolist()
        ends = [(first, self._end(first, rows, joins, asked)) for first in firsts]
        whole = [(first, last) for first, last in ends if last >= max(known, 1)]
        first, last = np.array(whole, dtype=np.intp).reshape(-1, 2).T
        return first, last

    def _end(self, first: int, rows: Rows, joins: Bools, asked: Bools) -> int:
        """The row that ends the answer of row ``first``; 0 unless all of it was seen.

        An answer that another one cut short says little of what it would have done.
        """
        last, latest = first, min(first + self._policy.divisor, len(joins))
        while last < latest and joins[last] and (last == first or not asked[last]):
            last += 1
        whole = last == first + self._policy.divisor
        terminated = last > first and rows["end"][last] == End.TERMINATED
        return last if whole or terminated else 0

    def _judged(self, rows: Rows, first: Index, last: Index) -> Batch:
        """What was applied when the policy was asked; when its answer is reached, if led to it."""
        acted = first if self._policy.between == "hold" else last - 1
        obs, applied, following = (
            torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
            for values in (rows["obs"][first], rows["applied"][acted], rows["obs"][last])
        )
        outcome = self._judge(obs, applied, following)
        return Batch(obs, applied, outcome.reward, following, outcome.terminated)

    def _count(self, row: np.void, ticks: int, reward: float) -> None:
        episode = self._open.setdefault(int(row["episode"]), _Open())
        version = int(row["policy_version"])
        episode.total += reward
        episode.steps += ticks
        episode.answers += 1
        episode.explored |= bool(row["flags"] & Flag.EXPLORING)
        episode.versions[version] = episode.versions.get(version, 0) + ticks

    def _close(self, row: np.void) -> Episode:
        number, length, end = int(row["episode"]), int(row["step"]), End(int(row["end"]))
        if end is End.TRUNCATED:  # in the midst of an answer, perhaps
            length -= length % self._policy.divisor
        seen = self._open.pop(number)
        return Episode(
            number=number,
            steps=seen.steps,
            length=length,
            total=seen.total,
            end=end,
            explored=seen.explored,
            versions=seen.versions,
            answers=seen.answers,
        )
