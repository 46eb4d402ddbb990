"""One entry of a bus node's control table, as data."""

from __future__ import annotations

from typing import Literal, NamedTuple

from protocol.errors import WireError


class Register(NamedTuple):
    """A register and how its bytes mean a number; little-endian.

    Attributes:
        name: as in the manual, lower case.
        address: first byte.
        size: in bytes.
        access: ``R`` or ``RW``. The lower addresses are EEPROM: writable only with torque off.
        unit: SI value of one count (A, rad, rad/s, V, °C, s), or 1.
        initial: value after power-up, where the manual gives one.
        minimum: smallest value a write may have; below 0 only where negative values exist.
        maximum: largest value a write may have.
        sign_bit: of negative values, beside their magnitude; 0 for two's complement.
    """

    name: str
    address: int
    size: int
    access: Literal["R", "RW"]
    unit: float = 1.0
    initial: int = 0
    minimum: int = 0
    maximum: int = 0
    sign_bit: int = 0

    @property
    def signed(self) -> bool:
        """Whether there are negative values."""
        return self.minimum < 0

    def pack(self, value: int) -> bytes:
        """Bytes of ``value``. Raises WireError if it does not fit the register."""
        try:
            if self.sign_bit:
                return self._signed_magnitude(value).to_bytes(self.size, "little")
            return value.to_bytes(self.size, "little", signed=self.signed)
        except OverflowError as error:
            raise WireError(
                f"{value} does not fit register {self.name} ({self.address})"
            ) from error

    def unpack(self, data: bytes) -> int:
        """Value of the first ``size`` bytes."""
        if not self.sign_bit:
            return int.from_bytes(data[: self.size], "little", signed=self.signed)
        raw, sign = int.from_bytes(data[: self.size], "little"), 1 << self.sign_bit
        return -(raw - sign) if raw & sign else raw

    def _signed_magnitude(self, value: int) -> int:
        sign = 1 << self.sign_bit
        if abs(value) >= sign:
            raise OverflowError(value)
        return sign - value if value < 0 else value
