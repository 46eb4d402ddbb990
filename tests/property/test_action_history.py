"""Is the history that training computes the one the robot will really observe?"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import SPEC

from protocol.observation import Layout, Observer
from protocol.robot_spec import Policy, RobotSpec, Term


def two_armed(order: list[int]) -> RobotSpec:
    """Two driven joints with histories of three and two ticks, scaled, in any order of columns."""
    elbow = msgspec.structs.replace(SPEC.joints[0], name="elbow", id=3)
    history = [
        ("arm", 1, 1.0),
        ("arm", 2, 0.5),
        ("arm", 3, 2.0),
        ("elbow", 1, 0.25),
        ("elbow", 2, 4.0),
    ]
    terms = [
        *(Term(kind="applied", joint=j, age_ticks=a, scale=s) for j, a, s in history),
        Term(kind="position", joint="elbow", scale=0.5),
        Term(kind="velocity", joint="pendulum", scale=0.1),
    ]
    return msgspec.structs.replace(
        SPEC, joints=[*SPEC.joints, elbow], observation=[terms[i] for i in order]
    )


UNIT = st.floats(-1.0, 1.0, width=32)
POLICIES = [
    Policy(),
    *(Policy(divisor=d, between=b) for d in (2, 3, 5) for b in ("hold", "interpolate")),
]


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations(range(7)),
    actions=st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=8),
)
def test_shifted_history_is_what_the_robot_observes_next(
    policy: Policy, order: list[int], actions: list[tuple[float, float]]
) -> None:
    spec = msgspec.structs.replace(two_armed(order), policy=policy)
    layout, observer = Layout(spec), Observer(spec)
    history = {column for column, _, _ in layout.history}
    rng = np.random.default_rng(0)
    obs = observer.observe([0.0, 0.0, 0.0], 0.0).copy()
    applied = np.zeros(2, dtype=np.float32)
    for number, action in enumerate(actions):
        before, applied = applied, np.array(action, dtype=np.float32)
        for tick in range(1, policy.divisor + 1):
            share = policy.share(tick)
            observer.applied(share * applied + (1.0 - share) * before)
            time_s = 0.02 * (number * policy.divisor + tick)
            real = observer.observe([*rng.uniform(-1.0, 1.0, 3)], time_s).copy()
        guess = np.where([c in history for c in range(layout.size)], 99.0, real).astype(np.float32)
        shifted = layout.shift_history(obs, applied, guess)
        np.testing.assert_allclose(shifted, real, rtol=1e-5, atol=1e-6)
        obs = real


def test_shifting_leaves_its_arguments_alone() -> None:
    layout = Layout(SPEC)
    arrays = [np.ones((2, layout.size)), np.zeros((2, 1)), np.ones((2, layout.size))]
    before = [array.copy() for array in arrays]
    layout.shift_history(*arrays)
    for array, kept in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_numpy_and_torch_shift_alike() -> None:
    torch = pytest.importorskip("torch")
    layout, rng = Layout(two_armed([6, 2, 0, 4, 1, 5, 3])), np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 3, width)).astype(np.float32) for width in (7, 2, 7)]
    by_torch = layout.shift_history(*map(torch.from_numpy, arrays))
    np.testing.assert_array_equal(by_torch.numpy(), layout.shift_history(*arrays))
