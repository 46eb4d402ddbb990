"""Asks the active policy what to do and decides whether its answer can be used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onboard.hotswap import HotSwap
from onboard.safety import Run
from protocol.robot_spec import RobotSpec
from protocol.step_record import Flag

FloatArray = NDArray[np.float32]


class Pilot:
    """Drives RUN.

    Attributes:
        requested: (A,) the policy's last answer as it came, NaN included.
        flags: what was special about it.
        bad: unusable answers in a row and in total.
    """

    def __init__(self, spec: RobotSpec, swap: HotSwap, rng: np.random.Generator) -> None:
        self._swap, self._rng = swap, rng
        self._safe: FloatArray = np.zeros(len(spec.actuated), dtype=np.float32)
        self.requested: FloatArray = np.zeros(len(spec.actuated), dtype=np.float32)
        self.flags = 0
        self.bad = Run(spec.safety.bad_policy_ticks_to_hold)

    def ask(self, obs: FloatArray) -> FloatArray | None:
        """Unit actions (A,) for ``obs`` (O,).

        An answer that is not finite becomes zeros for this tick. Too many in a row roll the policy
        back; None means that no policy is left.
        """
        self.flags = 0
        slot = self._swap.active
        if slot is None:
            return None
        if slot.exploration_scale > 0.0:
            self._rng.standard_normal(dtype=np.float32, out=slot.noise)
            slot.noise *= slot.exploration_scale
            self.flags |= Flag.EXPLORING
        self.requested[:] = slot.infer(obs)
        usable = bool(np.isfinite(self.requested).all())
        if not usable:
            self.flags |= Flag.BAD_POLICY
        if self.bad.count(not usable) and not self._give_up(slot.version):
            return None
        return self.requested if usable else self._safe

    def _give_up(self, version: int) -> bool:
        """Roll back; False if no policy is left."""
        reason = f"policy {version} gave {self.bad.length} unusable answers in a row"
        self.bad.reset()
        self.flags |= Flag.SWAPPED
        return self._swap.roll_back(reason)
