"""What speaks for and against a release on trial. Pure; only what software causes counts.

============================================  ==================================================
what is seen                                  what it means
============================================  ==================================================
control or agent ended, hung, was restarted   the release is to blame
control or agent are not up in time           the release is to blame
control answers no more                       the release is to blame
the loop is slower than it should be          the release is to blame
control ended by exit status 3, or FAULT      the bus is in question: the previous release's
                                              self-test decides (same motors, same battery)
ESTOP                                         nothing; a self-test passed before it still counts
all well for as long as was asked             proven
============================================  ==================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from onboard.exit_status import Exit
from onboard.releases.services import ServiceState
from protocol.modes import Mode

READY_S = 90.0
"""From the start to the first answer. Source: DefaultTimeoutStartSec= of systemd."""
ANSWER_S = 10.0
"""Without an answer after the first one."""
RATE_MIN = 0.9
"""Of the nominal rate, over the whole time that was asked for."""
_TESTING = (Mode.BOOT.name, Mode.SELFTEST.name)


@dataclass(frozen=True)
class Pulse:
    """What control says of itself.

    Attributes:
        mode: what it is doing; a newer release may know others than we do.
        reason: why.
        ticks: since its process started.
        at_ns: when it said so, on the monotonic clock.
        control_hz: nominal rate of the loop.
        passed: its self-test has passed since its process started.
    """

    mode: str
    reason: str
    ticks: int
    at_ns: int
    control_hz: int
    passed: bool


@dataclass(frozen=True)
class Look:
    """One look at a unit. ``pulse`` is None if control does not answer."""

    at_s: float
    control: ServiceState
    agent: ServiceState
    pulse: Pulse | None


class Weight(Enum):
    """Where the evidence points."""

    OPEN = auto()
    PROVEN = auto()
    GUILTY = auto()
    BUS = auto()


@dataclass(frozen=True)
class Finding:
    """Where it points, and why."""

    weight: Weight
    reason: str = ""


OPEN = Finding(Weight.OPEN)


class Evidence:
    """Weighs one look after the other, from a start of the services on."""

    def __init__(self, health_s: float, began_s: float) -> None:
        """``health_s`` is how long all has to be well; monotonic time is ``began_s`` now."""
        self._health_s, self._began_s = health_s, began_s
        self._heard_s = began_s
        self._first: Pulse | None = None
        self._last: Pulse | None = None
        self._ticked = False
        self._well: tuple[float, Pulse] | None = None

    @property
    def ticked(self) -> bool:
        """Has the loop been seen running after the self-test, however that ended?"""
        return self._ticked

    def weigh(self, look: Look) -> Finding:
        """Where this look, after all before it, points."""
        if (finding := _service_finding(look)) is not None:
            return finding
        if look.pulse is None:
            return self._silent(look.at_s)
        self._heard_s, self._first = look.at_s, self._first or look.pulse
        self._count(look.pulse)
        if look.pulse.mode == Mode.FAULT.name:
            self._well = None
            return Finding(Weight.BUS, f"FAULT: {look.pulse.reason}")
        if look.agent.active != "active":
            return self._without_agent(look.at_s)
        if look.pulse.mode in _TESTING or not look.pulse.passed:
            return OPEN
        return self._well_for(look.at_s, look.pulse)

    def _count(self, pulse: Pulse) -> None:
        """A process that ended in between has counted from none again, and so does not count."""
        if pulse.mode in _TESTING:
            return
        self._ticked |= self._last is not None and pulse.ticks > self._last.ticks
        self._last = pulse

    def _silent(self, at_s: float) -> Finding:
        limit_s = READY_S if self._first is None else ANSWER_S
        if at_s - self._heard_s <= limit_s:
            return OPEN
        return Finding(Weight.GUILTY, f"control has not answered for {limit_s:.0f} s")

    def _without_agent(self, at_s: float) -> Finding:
        self._well = None
        if at_s - self._began_s <= READY_S:
            return OPEN
        return Finding(Weight.GUILTY, f"the agent was not ready within {READY_S:.0f} s")

    def _well_for(self, at_s: float, pulse: Pulse) -> Finding:
        if self._well is None:
            self._well = at_s, pulse
        since_s, first = self._well
        if at_s - since_s < self._health_s or pulse.at_ns <= first.at_ns:
            return OPEN
        rate_hz = (pulse.ticks - first.ticks) * 1e9 / (pulse.at_ns - first.at_ns)
        if rate_hz < RATE_MIN * pulse.control_hz:
            return Finding(
                Weight.GUILTY, f"the loop ran at {rate_hz:.1f} Hz instead of {pulse.control_hz}"
            )
        return Finding(Weight.PROVEN)


def _service_finding(look: Look) -> Finding | None:
    for name, state in (("control", look.control), ("agent", look.agent)):
        if state.restarts > 0 or state.result not in ("success", ""):
            reason = f"{name} ended: {state.result}, exit status {state.exit_status}"
            bus = name == "control" and state.exit_status == Exit.BUS
            return Finding(Weight.BUS if bus else Weight.GUILTY, reason)
    return None
