"""What all log formats have in common: unbroken stretches of sensing and acting, and their times.

Readers make a :class:`Log`, writers take one, and nothing else passes between formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from offboard.replay import Batch, join
from protocol.errors import StoreError
from protocol.step_record import End, Rows, transition_mask
from protocol.tasks import Judge

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Trajectory:
    """T steps without a gap; every two neighbours are one transition.

    Attributes:
        episode: number of the episode it is a part of.
        obs: (T+1, O) float32, the last one final.
        applied: (T, A) float32, what the robot did, in [-1, 1].
        reward: (T,) float32; NaN where the log has none.
        terminated: whether the last step ended the task; if not, the log merely stops.
        sense_ns: (T+1,) monotonic time of each observation as measured; empty if unknown.
        act_ns: (T,) monotonic time of each action as measured; empty if unknown.
    """

    episode: int
    obs: FloatArray
    applied: FloatArray
    reward: FloatArray
    terminated: bool
    sense_ns: IntArray
    act_ns: IntArray

    @property
    def steps(self) -> int:
        """T."""
        return len(self.applied)


@dataclass(frozen=True)
class Log:
    """Trajectories of one robot.

    Attributes:
        origin: the file or folder it was read from, for messages.
        robot: which unit made it, "" if unknown.
        columns: names of the O observation columns; empty if the format has none.
        actions: names of the A actions; empty if the format has none.
        control_hz: nominal rate, 0 if unknown. Times never come from it.
        task: "" if unknown.
        trajectories: in order.
    """

    origin: str
    robot: str
    columns: tuple[str, ...]
    actions: tuple[str, ...]
    control_hz: float
    task: str
    trajectories: tuple[Trajectory, ...]

    @property
    def steps(self) -> int:
        """Steps of all trajectories."""
        return sum(trajectory.steps for trajectory in self.trajectories)


def unbroken(rows: Rows, number: int) -> Iterator[Trajectory]:
    """The trajectories in the rows (N,) of one episode, called ``number``.

    A gap or a tick without a reading divides them.
    """
    following = np.flatnonzero(transition_mask(rows))
    if len(following) == 0:
        return
    for stretch in np.split(following, np.flatnonzero(np.diff(following) > 1) + 1):
        yield _of(rows[stretch[0] : stretch[-1] + 2], number)


def judged(log: Log, judge: Judge) -> Log:
    """The same log with the reward that the task gives every step."""
    parts = [
        replace(part, reward=np.asarray(_outcome(part, judge).reward)) for part in log.trajectories
    ]
    return replace(log, trajectories=tuple(parts))


def transitions(log: Log, judge: Judge) -> Batch:
    """Everything that happened, as a learner takes it; reward and termination are the task's.

    Raises:
        StoreError: the log has no step.
    """
    if log.steps == 0:
        raise StoreError(f"{log.origin} holds no two neighbouring steps to learn from")
    return join(_outcome(part, judge) for part in log.trajectories)


def starts(log: Log) -> torch.Tensor:
    """First observations of the episodes (E, O), for generation to begin at."""
    first = {part.episode: part.obs[0] for part in reversed(log.trajectories)}
    return torch.from_numpy(np.stack([first[episode] for episode in sorted(first)]))


def measured_hz(parts: Iterable[Trajectory]) -> float:
    """Rate of the observations by their own times, NaN if there are none."""
    gaps = [np.diff(part.sense_ns) for part in parts]
    periods_ns = np.concatenate([np.empty(0), *gaps])
    return 1e9 / float(np.median(periods_ns)) if len(periods_ns) else float("nan")


def _of(rows: Rows, number: int) -> Trajectory:
    return Trajectory(
        episode=number,
        obs=np.array(rows["obs"], dtype=np.float32, order="C"),
        applied=np.array(rows["applied"][:-1], dtype=np.float32, order="C"),
        reward=np.full(len(rows) - 1, np.nan, dtype=np.float32),
        terminated=bool(rows["end"][-1] == End.TERMINATED),
        sense_ns=rows["sense_ns"].astype(np.int64),
        act_ns=rows["act_ns"][:-1].astype(np.int64),
    )


def _outcome(part: Trajectory, judge: Judge) -> Batch:
    obs, following = torch.from_numpy(part.obs[:-1]), torch.from_numpy(part.obs[1:])
    applied = torch.from_numpy(part.applied)
    outcome = judge(obs, applied, following)
    return Batch(obs, applied, outcome.reward, following, outcome.terminated)
