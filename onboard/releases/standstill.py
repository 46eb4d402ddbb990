"""When control may be stopped: while its motors have torque, a robot would fall."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from onboard.releases.evidence import Pulse
from onboard.releases.pulse import UNPOWERED
from onboard.releases.services import Services
from onboard.releases.unit_paths import CONTROL

_POLL_S = 0.5
_WITHOUT_A_LOOP = ("inactive", "failed", "activating")


@dataclass(frozen=True)
class Standstill:
    """Waits for it.

    Attributes:
        services: systemd.
        pulse: asks control, None if it does not answer.
        clock_s: monotonic time.
        sleep: waits.
    """

    services: Services
    pulse: Callable[[], Pulse | None]
    clock_s: Callable[[], float]
    sleep: Callable[[float], None]

    def within(self, wait_s: float, deaf_s: float = math.inf) -> bool:
        """Wait until no motor has torque: control says so, or has not begun to tick.

        Args:
            wait_s: how long at most; it is asked once at least, last right before the answer.
            deaf_s: a control that runs but has not answered for so long counts as well: nothing
                but its end stops the motion of a robot that hears nobody.
        """
        began_s = heard_s = self.clock_s()
        while True:
            pulse = self.pulse()
            if pulse is None and (self._without_a_loop() or self.clock_s() - heard_s > deaf_s):
                return True
            if pulse is not None:
                if pulse.mode in UNPOWERED:
                    return True
                heard_s = self.clock_s()
            if self.clock_s() - began_s >= wait_s:
                return False
            self.sleep(_POLL_S)

    def _without_a_loop(self) -> bool:
        return self.services.state(CONTROL).active in _WITHOUT_A_LOOP
