"""Episodes of the task as the robot counts and judges them.

An episode of N steps leaves N + 1 rows: the row of step k holds what was sensed and sent, the last
one only what the last action led to. Source: protocol/step_record.py.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onboard.probation import Verdict
from onboard.step_judge import StepJudge
from protocol.robot_spec import RobotSpec
from protocol.step_record import End
from protocol.tasks import judge_for
from protocol.walk import commanded_m_s

FloatArray = NDArray[np.float32]


class Episode:
    """The episode in progress, or the last one.

    Attributes:
        number: counts up from ``first_number``; never used twice by one robot.
        step: actions taken so far.
        score: sum of rewards so far.
        interventions: actions that the envelope changed so far.
        late_ticks: so far; the loop counts them.
        bus_misses: ticks so far in which a bus access failed; the loop counts them.
        command_m_s: (1,) the speed it asks for; the same list for ever.
    """

    def __init__(self, spec: RobotSpec, task: str, first_number: int) -> None:
        settings = spec.task(task)
        O, A = len(spec.observation), len(spec.actuated)
        self._judge = StepJudge(judge_for(spec, settings), O, A)
        self._steps, self._task = settings.episode_steps, settings
        self._before: list[float] = []
        self._applied: list[float] = []
        self._acted = False
        self.number = first_number - 1
        self.step = self.interventions = self.late_ticks = self.bus_misses = 0
        self.score = 0.0
        self.command_m_s = [commanded_m_s(settings, self.number)]

    def begin(self) -> None:
        """A new episode starts with the next observation."""
        self.number += 1
        self.step = self.interventions = self.late_ticks = self.bus_misses = 0
        self.score, self._acted = 0.0, False
        self.command_m_s[0] = commanded_m_s(self._task, self.number)

    def observe(self, obs: FloatArray) -> End:
        """Judge the last action by what it led to, ``obs`` (O,); how the episode stands now."""
        if not self._acted:
            return End.RUNNING
        outcome = self._judge(self._before, self._applied, obs.tolist())
        self.step += 1
        self.score += float(outcome.reward)
        if outcome.terminated:
            return End.TERMINATED
        return End.TRUNCATED if self.step >= self._steps else End.RUNNING

    def act(self, obs: FloatArray, applied: FloatArray, limited: bool) -> None:
        """Remember what was sensed (O,) and sent (A,) this tick, and count what was changed."""
        self._before, self._applied = obs.tolist(), applied.tolist()
        self._acted = True
        self.interventions += limited

    @property
    def verdict(self) -> Verdict:
        """How the episode went so far."""
        return Verdict(self.score, self.step, self.interventions, self.late_ticks, self.bus_misses)
