"""What the processes of a live cell leave behind after a session of a few episodes."""

from __future__ import annotations

from offboard.assembler import Episode
from protocol.step_record import End


def episode(total: float, explored: bool = False, end: End = End.TRUNCATED) -> Episode:
    return Episode(1, 250, 250, total, end, explored, {1: 250})


SESSION = [
    episode(90.0),
    episode(100.0, explored=True),
    episode(30.0, explored=True),
    episode(180.0, explored=True),  # began before the final policy had arrived
    episode(190.0),
    episode(191.0),
]

CONTROL = {
    "ticks": 5_000, "missed_ticks": 1, "missed_ticks_near_swaps": 0, "late_ticks": 2,
    "interventions": 3, "swaps": 8, "activated": 9, "rejected": 0, "rolled_back": 0,
    "produced": 4_000, "scheduling": "soft", "period_error_us": {"p50": 1.0},
    "work_us": {"p50": 2.0}, "mode": "IDLE",
}  # fmt: skip
PLANT = {"realtime_factor": 0.99, "lost_ms": 0.0, "frames": 9}
SERVED = {
    "account": {"committed": 3_998, "duplicates": 0, "holes": 0},
    "published": 10, "held_back": 0, "unfit": [], "episodes": [],
}  # fmt: skip
