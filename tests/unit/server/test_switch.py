"""Does the learner take the course its evidence calls for?"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from offboard.mismatch import Mismatch
from offboard.switch import Course, SwitchConfig, decide

NEAR = Mismatch(
    source_nmse=0.1, adapted_nmse=0.1, source_reward_nmse=0.1, adapted_reward_nmse=0.1,
    support=0.5, column_support=0.9, overlap=0.5,
)  # fmt: skip
CONFIG = SwitchConfig()


@pytest.mark.parametrize(
    ("mismatch", "target_reward", "course"),
    [
        (NEAR, 0.5, Course.RELABEL),
        (replace(NEAR, support=CONFIG.support_min), 0.5, Course.RELABEL),
        (replace(NEAR, support=0.99 * CONFIG.support_min), 0.5, Course.FINETUNE),
        (replace(NEAR, source_nmse=CONFIG.source_nmse_max), 0.5, Course.FINETUNE),
        (NEAR, 0.1, Course.RELABEL),
        (NEAR, 0.099, Course.SCRATCH),
        (replace(NEAR, support=0.0), 0.0, Course.SCRATCH),
        (replace(NEAR, adapted_reward_nmse=math.nan), 0.5, Course.FINETUNE),
        (replace(NEAR, source_nmse=math.inf), 0.5, Course.FINETUNE),
        (NEAR, math.nan, Course.FINETUNE),
    ],
)
def test_the_course_follows_from_the_evidence(
    mismatch: Mismatch, target_reward: float, course: Course
) -> None:
    assert decide(mismatch, target_reward, 0.1, CONFIG) is course
