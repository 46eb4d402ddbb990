"""What to do with the entries a robot has sent: take, take again, ask again, or refuse. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import zstandard

from offboard.plausibility import check_plausible
from protocol.errors import WireError
from protocol.messages import Batch, Gap, batch_crc32
from protocol.step_record import Rows, decode_rows

Entry = Batch | Gap


@dataclass
class Intake:
    """The verdict on a run of entries.

    Attributes:
        last: highest number once ``entries`` are committed.
        entries: to be committed, numbered ``last + 1`` on without holes.
        rows: the records in them.
        duplicates: entries the server has already.
        resend: something after ``last`` came and was not taken; the robot goes back.
        refused: number and fault of an entry whose content can never be accepted.
    """

    last: int = 0
    entries: list[Entry] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    duplicates: int = 0
    resend: bool = False
    refused: tuple[int, str] | None = None


def admit(last: int, arrived: Sequence[Entry], dtype: np.dtype[np.void]) -> Intake:
    """Accept only ``last + 1``, then the next, and so on.

    Args:
        last: highest number committed for this robot and epoch.
        arrived: entries of that epoch in order of arrival.
        dtype: row layout of the robot.
    """
    intake = Intake()
    for entry in arrived:
        if entry.seq <= last:
            intake.duplicates += 1
        elif entry.seq == last + 1 and _intact(entry):
            try:
                if isinstance(entry, Batch):
                    intake.rows.append(decode_batch(entry, dtype))
            except WireError as error:
                intake.refused = (entry.seq, str(error))
                break
            intake.entries.append(entry)
            last = entry.seq
    intake.last = last
    intake.resend = any(entry.seq > last for entry in arrived)
    return intake


def decode_batch(batch: Batch, dtype: np.dtype[np.void]) -> Rows:
    """The records of a batch, every claim checked.

    Raises:
        WireError: naming the first claim that does not hold.
    """
    rows = decode_rows(unpack(batch.data, batch.count * dtype.itemsize), dtype, batch.count)
    if int(rows["seq"][0]) != batch.first_record:
        raise WireError(f"batch {batch.seq} does not begin with record {batch.first_record}")
    check_plausible(rows)
    return rows


def unpack(data: bytes, size: int) -> bytes:
    """Decompress to exactly ``size`` bytes; the announced size is checked before memory is taken.

    Raises:
        WireError: the data is no zstd frame of that size.
    """
    try:
        if zstandard.frame_content_size(data) != size:
            raise WireError(f"compressed records do not hold {size} bytes")
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise WireError(f"compressed records are damaged: {error}") from error


def _intact(entry: Entry) -> bool:
    """Damaged on the way is sent again; what the robot meant is judged only when it is whole."""
    if isinstance(entry, Gap):
        return True
    return batch_crc32(entry.first_record, entry.count, entry.data) == entry.crc32
