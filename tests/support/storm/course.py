"""What a storm is made of: how often which fault strikes, and how quiet it is between them.

The one place to change the mix. ``--course`` names one of :data:`COURSES`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Course:
    """Strikes of each kind, relative to the others; times are multiples of an agent's start.

    Attributes:
        full_share: of the changes to a disk, so many fill it; the others free it.
        pause_starts: the longest pause between two strikes; the shortest is none.
        calm_starts: how long a calm lasts, in which nothing fails.
    """

    kill_agent: int = 24
    kill_server: int = 16
    kill_source: int = 4
    change_weather: int = 16
    change_disks: int = 8
    damage_spool: int = 5
    damage_catalogue: int = 4
    back_up_server: int = 4
    restore_server: int = 2
    calm: int = 0
    full_share: float = 0.4
    pause_starts: float = 1.5
    calm_starts: float = 4.0


COURSES = {
    "harsh": Course(),
    "steady": Course(
        change_disks=6,
        damage_spool=3,
        damage_catalogue=2,
        back_up_server=14,
        restore_server=1,
        calm=14,
        full_share=0.3,
        pause_starts=2.0,
    ),
}
"""``steady``: somebody makes backups, and there are times in which records get through."""
