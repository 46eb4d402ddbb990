"""Does the summary say what issue 2 asks for, and does only a broken loop count as broken?"""

from __future__ import annotations

import copy

import pytest

from offboard.demo.summary import broken, summarise, swap_positions

KEYS = {
    "source": {"env_steps", "wall_s", "expert_return", "model_nmse", "uncertainty_error_spearman"},
    "generate": {
        "trajectories", "kept", "return_mean_all", "return_mean_kept", "uncertainty_mean_all",
        "uncertainty_mean_kept",
    },
    "target": {
        "zero_shot_return", "first5_return", "final5_return", "robot_steps", "episodes",
        "expert_return",
    },
    "runtime": {
        "control_hz", "ticks", "missed_ticks", "period_error_us", "work_us", "swaps",
        "missed_ticks_near_swaps", "interventions", "scheduling",
    },
    "plant": {"realtime_factor", "lost_ms"},
    "stream": {"produced", "committed", "lost", "duplicated"},
    "policy": {"published", "activated", "rejected", "rolled_back"},
}  # fmt: skip
PERCENTILES = {"p50": 1.0, "p99": 2.0, "p999": 3.0, "max": 4.0}


def episode(total: float, **versions: int) -> dict:
    by_version = {name.removeprefix("v"): steps for name, steps in versions.items()}
    return {"total": total, "steps": sum(versions.values()), "versions": by_version}


EPISODES = [
    episode(80.0, v1=250),
    episode(100.0, v1=250),
    episode(120.0, v1=100, v2=150),
    episode(150.0, v2=250),
    episode(160.0, v2=250),
    episode(180.0, v3=250),
    episode(190.0, v3=200),
]


def summary(
    control: dict | None = None, account: dict | None = None, episodes=EPISODES, realtime=0.999
) -> dict:
    return summarise(
        source=dict.fromkeys(KEYS["source"], 1.0) | {"commit": "x"},
        generated=dict.fromkeys(KEYS["generate"], 2.0),
        expert={"expert_return": 205.0, "zero_shot_return": 96.0},
        served={
            "published": 9,
            "held_back": 1,
            "episodes": episodes,
            "account": {"committed": 5000, "duplicates": 0, "holes": 0, **(account or {})},
        },
        control={
            "ticks": 6000, "missed_ticks": 1, "period_error_us": PERCENTILES,
            "work_us": PERCENTILES, "swaps": 3, "missed_ticks_near_swaps": 0, "interventions": 4,
            "scheduling": "soft", "produced": 5000, "activated": 3, "rejected": 0,
            "rolled_back": 1, "mode": "IDLE", **(control or {}),
        },
        plant={"realtime_factor": realtime, "lost_ms": 0.0, "frames": 9},
        control_hz=50,
    )  # fmt: skip


def test_its_keys_are_those_of_the_issue() -> None:
    made = summary()
    assert {part: set(numbers) for part, numbers in made.items()} == KEYS
    for timing in ("period_error_us", "work_us"):
        assert made["runtime"][timing].keys() == {"p50", "p99", "p999", "max"}


def test_the_target_part_is_worked_out_from_the_episodes() -> None:
    assert summary()["target"] == {
        "zero_shot_return": 90.0,
        "first5_return": 122.0,
        "final5_return": 160.0,
        "robot_steps": 1700,
        "episodes": 7,
        "expert_return": 205.0,
    }


def test_lost_is_what_the_robot_produced_and_the_server_does_not_have() -> None:
    made = summary(control={"produced": 5003}, account={"duplicates": 2})
    assert made["stream"] == {"produced": 5003, "committed": 5000, "lost": 3, "duplicated": 2}


def test_what_was_not_measured_is_none() -> None:
    target = summary(episodes=[])["target"]
    assert target["zero_shot_return"] is target["first5_return"] is target["final5_return"] is None
    assert (target["robot_steps"], target["episodes"]) == (0, 0)


def test_a_loop_that_held_is_not_broken_however_badly_it_learned() -> None:
    hopeless = [episode(0.0, v1=250), *(episode(0.0, v2=250) for _ in range(6))]
    assert broken(summary(episodes=hopeless), episodes_wanted=7) == []


@pytest.mark.parametrize(
    ("control", "account", "reason"),
    [
        ({"produced": 5001}, {}, "1 of 5001 records were lost"),
        ({}, {"duplicates": 2}, "2 records were stored twice"),
        ({"swaps": 0}, {}, "no fine-tuned weights"),
    ],
)
def test_each_break_is_told_and_nothing_else(control, account, reason: str) -> None:
    (told,) = broken(summary(control, account), episodes_wanted=7)
    assert reason in told


def test_a_world_slower_than_real_time_makes_the_run_invalid() -> None:
    (told,) = broken(summary(realtime=0.97), episodes_wanted=7)
    assert "0.970 of real time: invalid" in told
    assert broken(summary(realtime=0.98), episodes_wanted=7) == []


def test_episodes_that_never_finished_are_a_break() -> None:
    assert broken(summary(), episodes_wanted=8) == ["7 of 8 episodes finished"]


def test_swaps_are_placed_where_the_version_changed() -> None:
    assert swap_positions(EPISODES) == pytest.approx([2.5 + 100 / 250, 5.5])


def test_versions_are_ordered_as_numbers() -> None:
    assert swap_positions([episode(1.0, v9=50, v10=150)]) == pytest.approx([0.5 + 0.25])


def test_summarising_changes_nothing_it_was_given() -> None:
    before = copy.deepcopy(EPISODES)
    summary()
    assert before == EPISODES
