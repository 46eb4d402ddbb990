"""What an encoder adds to the truth: noise, and steps coarser than its register's."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from protocol.plant_spec import ENCODER_BITS, Body


class EncoderError:
    """Of J encoders; the same at every look within one step, so that looking changes nothing."""

    def __init__(self, body: Body, joints: int) -> None:
        self._sigma_counts = body.encoder_noise_counts
        self._step_counts = 1 << (ENCODER_BITS - body.encoder_bits)
        self._joints = joints
        self.restart(0)

    def restart(self, seed: int) -> None:
        """Other noise from now on."""
        self._seed = seed
        self._drawn: tuple[int, list[float]] = (-1, [])

    def spoilt(self, counts: Iterable[float], step: int) -> list[int]:
        """What the registers show for these true counts (J,) in physics step ``step``."""
        width = self._step_counts
        off = self._noise(step)
        return [
            width * round((count + each) / width) for count, each in zip(counts, off, strict=True)
        ]

    def _noise(self, step: int) -> list[float]:
        if self._sigma_counts == 0.0:
            return [0.0] * self._joints
        if self._drawn[0] != step:
            rng = np.random.default_rng((self._seed, step))
            self._drawn = (step, rng.normal(0.0, self._sigma_counts, self._joints).tolist())
        return self._drawn[1]


def encoder_error_of(body: Body, joints: int) -> EncoderError | None:
    """The body's; None if its encoders show the truth, rounded."""
    perfect = body.encoder_noise_counts == 0.0 and body.encoder_bits == ENCODER_BITS
    return None if perfect else EncoderError(body, joints)
