"""What a robot's episodes in the real-time loop say. Pure: from episodes to a cell's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

from offboard.assembler import Episode
from offboard.demo.summary import REALTIME_MIN

Json = dict[str, Any]

_CONTROL = (
    *("ticks", "missed_ticks", "missed_ticks_near_swaps", "late_ticks", "interventions"),
    *("swaps", "activated", "rejected", "rolled_back", "produced", "scheduling"),
    *("period_error_us", "work_us"),
)
_PLANT = ("realtime_factor", "lost_ms")


def zero_shot(episodes: Sequence[Episode]) -> float:
    """Mean return before the first exploring episode; raises StatisticsError without any."""
    first = next((i for i, e in enumerate(episodes) if e.explored), len(episodes))
    return mean(episode.total for episode in episodes[:first])


def finals(episodes: Sequence[Episode]) -> list[float]:
    """Returns of what came after the last exploring episode, whatever became of it.

    An episode that was cut short counts with what it earned.
    """
    explored = [i for i, episode in enumerate(episodes) if episode.explored]
    return [episode.total for episode in episodes[explored[-1] + 1 :]] if explored else []


def learned_steps(events: Sequence[Json]) -> int:
    """Target transitions that the final policy may have learned from.

    Args:
        events: of the server's ``metrics.jsonl``; the last bundle published is the final one.
    """
    published = [event for event in events if event.get("event") == "published"]
    return round(published[-1]["online_steps"]) if published else 0


def account(control: Json, plant: Json, served: Json) -> Json:
    """How the loop held while it learned.

    Args:
        control: last status of the control process.
        plant: what the harness measured of itself.
        served: result of ``serve``.
    """
    stored = served["account"]
    return {
        **{key: control[key] for key in _CONTROL},
        **{key: plant[key] for key in _PLANT},
        "committed": stored["committed"],
        "lost": control["produced"] - stored["committed"],
        "duplicated": stored["duplicates"],
        **{key: served[key] for key in ("published", "held_back", "unfit")},
    }


def reasons_against(live: Json, returns: Sequence[float], wanted: int, budget: int) -> list[str]:
    """Why the figures of this run may not be quoted; empty if they may.

    Args:
        live: :func:`account` and ``learned_steps``.
        returns: of the final episodes.
        wanted: how many final episodes there should be.
        budget: target steps that may be learned from.
    """
    reasons = []
    if live["realtime_factor"] < REALTIME_MIN:
        reasons.append(f"the plant ran at {live['realtime_factor']:.3f} of real time")
    if live["learned_steps"] > budget:
        reasons.append(f"{live['learned_steps']} target steps were learned from, not {budget}")
    if len(returns) < wanted:
        reasons.append(f"{len(returns)} of {wanted} final episodes finished")
    return reasons
