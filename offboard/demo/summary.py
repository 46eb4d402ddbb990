"""The numbers of a demo run, and whether the loop held. Pure: from results to a document."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

REALTIME_MIN = 0.98
"""A run in which the simulated world lagged says nothing about the runtime."""

_SOURCE = ("env_steps", "wall_s", "expert_return", "model_nmse", "uncertainty_error_spearman")
_GENERATE = (
    *("trajectories", "kept", "return_mean_all", "return_mean_kept"),
    *("uncertainty_mean_all", "uncertainty_mean_kept"),
)
_RUNTIME = (
    *("ticks", "missed_ticks", "period_error_us", "work_us", "swaps"),
    *("missed_ticks_near_swaps", "interventions", "scheduling"),
)


def summarise(
    source: Json,
    generated: Json,
    expert: Json,
    served: Json,
    control: Json,
    plant: Json,
    control_hz: int,
) -> Json:
    """``summary.json``.

    Args:
        source: result of the source stage.
        generated: result of the generate stage.
        expert: result of the expert stage.
        served: result of ``serve``.
        control: last status of the control process.
        plant: what the harness measured of itself.
        control_hz: from the robot file.
    """
    returns = [episode["total"] for episode in served["episodes"]]
    greedy_first = [e["total"] for e in served["episodes"] if e["versions"].keys() == {"1"}]
    account = served["account"]
    return {
        "source": {key: source[key] for key in _SOURCE},
        "generate": {key: generated[key] for key in _GENERATE},
        "target": {
            "zero_shot_return": _mean(greedy_first),
            "first5_return": _mean(returns[:5]),
            "final5_return": _mean(returns[-5:]),
            "robot_steps": sum(episode["steps"] for episode in served["episodes"]),
            "episodes": len(returns),
            "expert_return": expert["expert_return"],
        },
        "runtime": {"control_hz": control_hz, **{key: control[key] for key in _RUNTIME}},
        "plant": {key: plant[key] for key in ("realtime_factor", "lost_ms")},
        "stream": {
            "produced": control["produced"],
            "committed": account["committed"],
            "lost": control["produced"] - account["committed"],
            "duplicated": account["duplicates"],
        },
        "policy": {
            "published": served["published"],
            **{key: control[key] for key in ("activated", "rejected", "rolled_back")},
        },
    }


def broken(summary: Json, episodes_wanted: int) -> list[str]:
    """Why the loop did not hold; empty if it did. Poor learning is not a reason."""
    stream, reasons = summary["stream"], []
    if stream["lost"]:
        reasons.append(f"{stream['lost']} of {stream['produced']} records were lost")
    if stream["duplicated"]:
        reasons.append(f"{stream['duplicated']} records were stored twice")
    if summary["plant"]["realtime_factor"] < REALTIME_MIN:
        reasons.append(
            f"the plant ran at {summary['plant']['realtime_factor']:.3f} of real time: invalid"
        )
    if summary["runtime"]["swaps"] < 1:
        reasons.append("no fine-tuned weights were swapped in")
    if summary["target"]["episodes"] < episodes_wanted:
        reasons.append(f"{summary['target']['episodes']} of {episodes_wanted} episodes finished")
    return reasons


def swap_positions(episodes: list[Json]) -> list[float]:
    """Where on the episode axis (first episode = 1) the policy changed, from steps per version."""
    positions, previous = [], None
    for index, episode in enumerate(episodes):
        done = 0
        for version in sorted(episode["versions"], key=int):
            if previous is not None and version != previous:
                positions.append(index + 0.5 + done / max(1, episode["steps"]))
            previous = version
            done += episode["versions"][version]
    return positions


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
