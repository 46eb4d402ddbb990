"""Consistent Overhead Byte Stuffing: bytes without zeros, so that a zero can end a frame. Pure.

Only for data of up to 253 bytes, where each run between two zeros fits one block: the code byte
0xFF, a block without a zero behind it, does not occur and is refused.

Source: Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on
Networking 7(2), 1999.
"""

from __future__ import annotations

from protocol.errors import WireError

MAX_BYTES = 253
DELIMITER = b"\0"

_LARGEST_CODE = 0xFE


def stuff(data: bytes) -> bytes:
    """``data`` without zeros and one byte longer. Raises WireError beyond ``MAX_BYTES``."""
    if len(data) > MAX_BYTES:
        raise WireError(f"{len(data)} bytes exceed the {MAX_BYTES} that one frame holds")
    return b"".join(bytes((len(run) + 1,)) + run for run in data.split(DELIMITER))


def unstuff(stuffed: bytes) -> bytes:
    """What was stuffed. Raises WireError for bytes that :func:`stuff` never makes."""
    runs = []
    at = 0
    while at < len(stuffed):
        code = stuffed[at]
        run = stuffed[at + 1 : at + code]
        if not 0 < code <= _LARGEST_CODE or len(run) != code - 1 or DELIMITER in run:
            raise WireError(f"byte {at} of {len(stuffed)} begins no block")
        runs.append(run)
        at += code
    if not runs or len(stuffed) > MAX_BYTES + 1:
        raise WireError(f"{len(stuffed)} bytes are no frame")
    return DELIMITER.join(runs)
