"""Is a step judged alike whichever way, and judged at all whatever it holds?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from array_api_compat import array_namespace

from onboard.step_judge import StepJudge
from protocol.observation import Layout
from protocol.outcome import Outcome
from protocol.robot_spec import RobotSpec
from protocol.tasks import judge_for


def test_the_rigs_task_is_judged_by_plain_floats(furuta: RobotSpec) -> None:
    layout = Layout(furuta)
    judge = judge_for(furuta, furuta.task("swing_up"))
    quick = StepJudge(judge, layout.size, layout.action_size)
    assert quick.plain
    rng = np.random.default_rng(0)
    obs, following = rng.standard_normal((2, layout.size)).astype(np.float32)
    applied = np.float32([0.25])
    found, wanted = (
        quick(obs.tolist(), applied.tolist(), following.tolist()),
        judge(obs, applied, following),
    )
    assert isinstance(found.reward, float)
    assert found == pytest.approx(tuple(map(float, wanted)), abs=1e-5)


def sorting(obs: Any, applied: Any, following: Any) -> Outcome:
    """Asks for what plain floats do not have."""
    xp = array_namespace(following)
    return Outcome(xp.sort(following)[0], following[0] > 9.0)


def dividing(obs: Any, applied: Any, following: Any) -> Outcome:
    """May divide by zero."""
    return Outcome(1.0 / following[..., 0], following[..., 0] < 0.0)


def test_a_task_that_asks_for_more_is_judged_with_arrays() -> None:
    judge = StepJudge(sorting, O=3, A=1)
    assert not judge.plain
    assert judge([0.0] * 3, [0.0], [3.0, 1.0, 2.0]) == (1.0, False)


def test_arrays_are_those_of_the_step_in_single_precision() -> None:
    seen: list[Any] = []

    def noting(*step: Any) -> Outcome:
        seen[:] = step
        return sorting(*step)

    judge = StepJudge(noting, O=2, A=1)
    judge([1.0, 2.0], [3.0], [4.0, 5.0])
    assert [each.tolist() for each in seen] == [[1.0, 2.0], [3.0], [4.0, 5.0]]
    assert {each.dtype.name for each in seen} == {"float32"}


def test_where_floats_raise_arrays_go_on() -> None:
    judge = StepJudge(dividing, O=1, A=1)
    assert judge.plain
    assert judge([0.0], [0.0], [4.0]) == (0.25, False)
    assert math.isinf(judge([0.0], [0.0], [0.0]).reward)


def test_a_judge_that_fails_with_arrays_too_is_a_defect() -> None:
    def broken(obs: Any, applied: Any, following: Any) -> Outcome:
        raise TypeError("no such thing")

    with pytest.raises(TypeError, match="no such thing"):
        StepJudge(broken, O=1, A=1)
