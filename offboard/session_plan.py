"""The plan of a session: its phases, when each begins, how often policies go out meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

PATIENCE = 2
"""Episodes to wait for one that speaks about the newest policy."""


class Phase(str, Enum):
    """Where the adaptation stands; decided by the number of finished episodes."""

    ZERO_SHOT = "zero-shot"
    ADAPT = "adapt"
    FINAL = "final"
    DONE = "done"


@dataclass(frozen=True)
class SessionConfig:
    """Episodes of each phase, publishing rhythm and gate.

    The first final episode may begin before the final policy has reached the robot.

    Attributes:
        zero_shot_episodes: with the source policy as it is.
        episodes: in all.
        final_episodes: with the best snapshot, at the end.
        publish_every: target transitions between candidates. 0 makes one as soon as the newest
            policy has had an episode to itself, so that the robot can take it on its way home.
        gate_ratio: of what the newest policy is worth, expected of the next one; 0 is no gate.
        updates_per_turn: between two looks at what has arrived.
        target_steps: the final phase begins earlier if another whole episode would pass so many.
    """

    zero_shot_episodes: int = 2
    episodes: int = 24
    final_episodes: int = 6
    publish_every: int = 250
    gate_ratio: float = 0.9
    updates_per_turn: int = 50
    target_steps: int | None = None


def phase_after(episodes: int, answers: int, whole: int, config: SessionConfig) -> Phase:
    """The phase once ``episodes`` episodes of ``answers`` transitions together are finished.

    ``whole`` are the transitions of an episode that nothing ends early.
    """
    if episodes >= config.episodes:
        return Phase.DONE
    spent = config.target_steps is not None and answers + whole > config.target_steps
    if spent or episodes >= config.episodes - config.final_episodes:
        return Phase.FINAL
    return Phase.ADAPT if episodes >= config.zero_shot_episodes else Phase.ZERO_SHOT
