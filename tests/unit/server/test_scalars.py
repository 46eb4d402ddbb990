"""Do rows of a log become the curves that readers of TensorBoard look for?"""

from __future__ import annotations

import math
from typing import Any

import pytest

from offboard.scalars import Scalar, scalars


def tagged(*rows: dict[str, Any]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for tag, step, value, _ in scalars(rows):
        found.setdefault(tag, []).append((step, value))
    return found


def test_a_judged_snapshot_is_an_evaluation() -> None:
    row = {"stage": "source", "step": 1000, "episode_return": 7.5, "critic_loss": 0.25}
    assert list(scalars([row])) == [
        Scalar("eval/episode_return", 1000, 7.5),
        Scalar("train/critic_loss", 1000, 0.25),
    ]


@pytest.mark.parametrize(("explored", "group"), [(True, "train"), (False, "eval")])
def test_a_robots_episode_is_an_evaluation_if_nothing_was_tried(explored: bool, group: str) -> None:
    row = {"event": "episode", "online": 500, "total": 90.0, "explored": explored, "nmse": None}
    assert tagged(row) == {f"{group}/episode_return": [(500, 90.0)]}


def test_a_row_without_a_step_belongs_to_the_last_one() -> None:
    assert tagged({"step": 300}, {"stage": "model", "steps": 9_000, "nmse_train": 0.5}) == {
        "train/model_nmse_fit": [(300, 0.5)]
    }


def test_speed_is_steps_over_time_between_rows() -> None:
    rows = ({"step": 100, "wall_s": 1.0}, {"step": 300, "wall_s": 3.0}, {"step": 400})
    assert tagged(*rows)["time/steps_per_s"] == [(300, 100.0)]


def test_a_resumed_clock_that_went_back_gives_no_speed() -> None:
    assert "time/steps_per_s" not in tagged({"step": 9, "wall_s": 5.0}, {"step": 9, "wall_s": 4.0})


@pytest.mark.parametrize("value", [None, True, "0.5", math.nan, math.inf, [1.0]])
def test_what_is_no_finite_number_is_no_point(value: object) -> None:
    assert tagged({"step": 1, "q": value}) == {}


def test_an_unknown_name_is_no_curve() -> None:
    assert tagged({"event": "retention", "files": 3, "bytes": 10}) == {}
