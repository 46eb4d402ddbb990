"""Does a task judge plain floats as it judges arrays?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from array_api_compat import array_namespace

from protocol.float_row import FloatRow
from protocol.robot_spec import RobotSpec, load_robot_spec
from protocol.tasks import Judge, judge_for
from protocol.walk import walk

ROOT = Path(__file__).parents[2]
STEPS = 500


def steps(O: int, A: int) -> list[tuple[Any, Any, Any]]:
    """Observations, actions and what followed; some far outside of what a robot sees."""
    rng = np.random.default_rng(0)
    scale = rng.choice([0.3, 1.0, 5.0], (STEPS, 1))
    obs, following = (
        (scale * rng.standard_normal((STEPS, O))).astype(np.float32) for _ in range(2)
    )
    applied = rng.uniform(-1.0, 1.0, (STEPS, A)).astype(np.float32)
    return list(zip(obs, applied, following, strict=True))


def judges(furuta: RobotSpec) -> list[tuple[Judge, int, int]]:
    arm5 = load_robot_spec(ROOT / "hw_configs" / "arm5.toml")
    found = [(walk, 48, 12)]
    for spec in (furuta, arm5):
        judge = judge_for(spec, spec.task(next(iter(spec.tasks))))
        found.append((judge, len(spec.observation), len(spec.actuated)))
    return found


@pytest.mark.parametrize("index", [0, 1, 2])
def test_judged_alike(furuta: RobotSpec, index: int) -> None:
    judge, O, A = judges(furuta)[index]
    ends = set()
    for step in steps(O, A):
        wanted = judge(*step)
        found = judge(*(FloatRow(each.tolist()) for each in step))
        assert found.reward == pytest.approx(float(wanted.reward), abs=1e-5)
        assert found.terminated == wanted.terminated
        ends.add(found.terminated)
    assert ends == {0.0, 1.0}


def test_rows_calculate_as_arrays_do() -> None:
    a, b = [0.5, -2.0, 3.0], [2.0, 4.0, -0.25]
    x, y, xp = FloatRow(a), FloatRow(b), array_namespace(FloatRow(a))
    u, v = np.array(a), np.array(b)
    for found, wanted in [
        (x + y, u + v),
        (x - 1.0, u - 1.0),
        (x * y, u * v),
        (x / y, u / v),
        (-x, -u),
        (x**2, u**2),
        (xp.abs(x), np.abs(u)),
        (xp.clip(x, -1.0, 1.0), np.clip(u, -1.0, 1.0)),
        (x[..., 1:], u[..., 1:]),
    ]:
        assert [found[..., i] for i in range(len(found))] == wanted.tolist()
    assert (xp.sum(x), xp.mean(x)) == (1.5, 0.5)


def test_what_is_no_single_number_has_no_truth() -> None:
    row = FloatRow([1.0])
    with pytest.raises(TypeError, match="no truth"):
        bool(row == FloatRow([1.0]))
    with pytest.raises(TypeError):
        row < 2.0  # type: ignore[operator]  # noqa: B015
    with pytest.raises(ValueError, match="zip"):
        row + FloatRow([1.0, 2.0])
