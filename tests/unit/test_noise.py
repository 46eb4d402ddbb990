"""Does a number bring back the noise it stands for?"""

from __future__ import annotations

import numpy as np
import pytest

from onboard.noise import Noise


def drawn(noise: Noise, size: int) -> np.ndarray:
    out = np.zeros(size, dtype=np.float32)
    noise.draw(out)
    return out


def test_any_draw_can_be_recalled_whatever_came_between() -> None:
    noise = Noise(5)
    first, second = drawn(noise, 300), drawn(noise, 3)
    assert noise.number == 2
    again = np.zeros(300, dtype=np.float32)
    Noise(5).recall(1, again)
    np.testing.assert_array_equal(again, first)
    noise.recall(2, again[:3])
    np.testing.assert_array_equal(again[:3], second)
    assert noise.number == 2


@pytest.mark.parametrize(("key", "number"), [(6, 1), (5, 2)])
def test_another_key_or_number_gives_other_noise(key: int, number: int) -> None:
    one, other = np.zeros(50, dtype=np.float32), np.zeros(50, dtype=np.float32)
    Noise(5).recall(1, one)
    Noise(key).recall(number, other)
    assert not np.isin(one, other).any()


def test_it_is_standard_normal_across_draws() -> None:
    noise = Noise(0)
    values = np.concatenate([drawn(noise, 1) for _ in range(20_000)])
    assert abs(values.mean()) < 0.03
    assert values.std() == pytest.approx(1.0, abs=0.02)
    assert abs(np.corrcoef(values[1:], values[:-1])[0, 1]) < 0.03


def test_the_numbers_are_those_of_every_other_machine() -> None:
    """Recorded noise is a number: what it stands for must never change."""
    values = np.zeros(3, dtype=np.float32)
    Noise(1).recall(7, values)
    assert values.tolist() == pytest.approx(GOLDEN, abs=1e-7)


GOLDEN = [1.3789286613464355, -1.0941778421401978, -0.38239213824272156]
