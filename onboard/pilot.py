"""Asks the active policy, decides whether its answer can be used, and fills the ticks between.

A policy may be asked more rarely than the bus is served (``[policy]`` of the robot file). One that
has just taken over is asked at once, and an unusable answer is not held: the next tick asks again.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from onboard.hotswap import HotSwap
from onboard.noise import Noise
from onboard.policy import Slot
from onboard.safety import Run
from onboard.tick import ASKED, BAD_POLICY, EXPLORING, SWAPPED
from protocol.robot_spec import RobotSpec

FloatArray = NDArray[np.float32]
TROUBLE_CHARS = 200


class Pilot:
    """Drives RUN.

    Attributes:
        requested: (A,) the policy's last answer as it came, NaN included.
        flags: what is special about this tick.
        draw: number of the noise it explored with in this tick; 0 if it drew none.
        bad: unusable answers in a row and in total.
    """

    def __init__(self, spec: RobotSpec, swap: HotSwap, noise: Noise) -> None:
        self._swap, self._noise, self._divisor = swap, noise, spec.policy.divisor
        self._held = spec.policy.between == "hold" or self._divisor == 1
        self.requested, self._start, self._command = (
            np.zeros(len(spec.actuated), dtype=np.float32) for _ in range(3)
        )
        self.flags = self.draw = 0
        self.bad = Run(spec.safety.bad_policy_ticks_to_hold)
        self._asked = self._since = 0
        self._trouble = ""

    @property
    def asked(self) -> bool:
        """Whether the policy itself was asked in this tick."""
        return self._since == 0

    def begin(self) -> None:
        """A new episode: the next tick asks, and there is no last command."""
        self._asked = 0
        self._command[:] = 0.0
        self.bad.reset()
        self._trouble = ""

    def ask(self, obs: FloatArray) -> FloatArray | None:
        """Unit actions (A,) of this tick for ``obs`` (O,); good until the next call.

        An answer that is not finite becomes zeros for this tick. Too many in a row roll the policy
        back; None means that no policy is left.
        """
        self.draw = 0
        slot = self._swap.active
        if slot is None:
            self.flags = 0
            return None
        if slot.version == self._asked and self._since + 1 < self._divisor:
            self._since += 1
            self.flags &= EXPLORING
            return self._between()
        return self._answer(slot, obs)

    def _answer(self, slot: Slot, obs: FloatArray) -> FloatArray | None:
        """What the policy says now."""
        self._explore(slot)
        self._infer(slot, obs)
        usable = all(map(math.isfinite, self.requested.tolist()))
        self._asked, self._since = (slot.version if usable else 0), 0
        if not usable:
            self.flags |= BAD_POLICY
        if self.bad.count(not usable) and not self._give_up(slot.version):
            return None
        if not usable:
            self._command[:] = 0.0
            return self._command
        self._start[:] = self._command
        return self._between()

    def _infer(self, slot: Slot, obs: FloatArray) -> None:
        """Its answer; one that raises, whatever the backend raises, has none that can be used."""
        try:
            self.requested[:] = slot.infer(obs)
        except Exception as error:  # a policy came from outside; the loop goes on without it
            self.requested[:] = math.nan
            self._trouble = f": {type(error).__name__}: {error}"[:TROUBLE_CHARS]

    def _explore(self, slot: Slot) -> None:
        self.flags = ASKED
        if slot.exploration_scale > 0.0:
            self._noise.draw(slot.noise)
            slot.noise *= slot.exploration_scale
            self.draw = self._noise.number
            self.flags |= EXPLORING

    def _between(self) -> FloatArray:
        """The command ``_since`` ticks after the answer."""
        if self._held:
            return self.requested
        reached = self._since + 1
        if reached == self._divisor:
            self._command[:] = self.requested
            return self._command
        np.subtract(self.requested, self._start, out=self._command)
        self._command *= reached / self._divisor
        self._command += self._start
        return self._command

    def _give_up(self, version: int) -> bool:
        """Roll back; False if no policy is left."""
        reason = f"policy {version} gave {self.bad.length} unusable answers in a row{self._trouble}"
        self.bad.reset()
        self._trouble = ""
        self.flags |= SWAPPED
        return self._swap.roll_back(reason)
