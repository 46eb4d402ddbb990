"""The tick in progress: what it found, what it decided, and what became of that.

One object lasts as long as the loop, so that a tick makes none. Each step of the tick reads what
the steps before it left here and adds its own; the recorder writes it down at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from onboard.schedule import Wake
from protocol.modes import Mode
from protocol.step_record import End, Flag

FloatArray = NDArray[np.float32]

# Plain numbers for the steps of a tick: "or" of two IntFlags makes an object and takes 0.6 µs.
BAD_POLICY, STALE_SENSOR = int(Flag.BAD_POLICY), int(Flag.STALE_SENSOR)
LATE, GAP = int(Flag.LATE), int(Flag.GAP)
EXPLORING, SWAPPED, ASKED = int(Flag.EXPLORING), int(Flag.SWAPPED), int(Flag.ASKED)
SOFT = int(Flag.SOFT)


class Driver(IntEnum):
    """Who decided the command of a tick."""

    NOBODY = 0
    """The motors had no power."""
    COAST = 1
    """Zero current, past the envelope: the joints were not known."""
    ZERO = 2
    """Zero through the envelope: HOLD, or an episode that is over."""
    HOMING = 3
    POLICY = 4


class Tick:
    """One tick of a robot with J joints, A of them actuated. Times in ns of the monotonic clock.

    Attributes:
        wake: its slot of the schedule, and when it really began.
        sense_ns: when the joints were asked.
        act_ns: when everything was done.
        bus_ns: when the bus last worked; outlasts the tick.
        mode: after what came from outside, and what failed, had been considered.
        policy_version: of the policy that was to drive; 0 for none.
        episode: number of the episode.
        step: actions taken in it.
        end: how it stands.
        flags: bits of :class:`Flag` and :class:`protocol.envelope.Limited`.
        standing: those of them that every tick has from the beginning.
        missed: which access to the bus failed; empty for none.
        driver: who decided.
        sensed: every joint answered.
        sent: the command went out.
        latched: an emergency stop, past which nothing but zero is sent.
        asked: the policy itself was asked; between, its last answer is held or approached.
        draw: number of the exploration noise; 0 for none.
        period_error_us: how late it began.
        work_us: processor time of the loop's thread.
        span_us: elapsed time, from waking to done.
        position_count: (J,) last reading as it came; also velocity_count, current_count.
        imu_count: (6,) likewise, of the IMU.
        obs: (O,) observation.
        requested: (A,) what the policy or the homing controller asked for.
        commanded: (A,) what the envelope was given.
        previous: (A,) what was in force when the envelope was asked.
        applied: (A,) what is in force now.
        section_span_us: one per :class:`onboard.stopwatch.Section`; also section_work_us.
        zeros: (A,) the command that does nothing.
    """

    position_count: Sequence[int]
    velocity_count: Sequence[int]
    current_count: Sequence[int]
    imu_count: Sequence[int]
    section_span_us: Sequence[float]
    section_work_us: Sequence[float]
    obs: FloatArray
    applied: FloatArray

    def __init__(self, A: int) -> None:
        """What another part of the loop owns and refills is attached once, by the loop."""
        self.zeros: FloatArray = np.zeros(A, dtype=np.float32)
        self.previous: FloatArray = np.zeros(A, dtype=np.float32)
        self.bus_ns = self.act_ns = 0
        self.mode = Mode.BOOT
        self.policy_version = self.episode = self.step = 0
        self.standing = 0
        self.latched = False
        self.period_error_us = self.work_us = self.span_us = 0.0
        self.begin(Wake(0, 0, 0, 0))

    def begin(self, wake: Wake) -> None:
        """Another one."""
        self.wake = wake
        self.sense_ns = 0
        self.end = End.RUNNING
        self.flags, self.draw = self.standing, 0
        self.missed = ""
        self.driver = Driver.NOBODY
        self.sensed = self.sent = self.asked = False
        self.requested = self.commanded = self.zeros
