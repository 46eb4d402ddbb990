"""What to do with the entries a robot has sent: take, take again, ask again, or refuse. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import zstandard

from offboard.plausibility import check_plausible
from protocol.errors import WireError
from protocol.messages import BATCH_MAX_RECORDS, Batch, Gap, batch_crc32
from protocol.step_record import Rows, decode_rows

Entry = Batch | Gap


@dataclass
class Intake:
    """The verdict on a run of entries.

    Attributes:
        last: highest number once ``entries`` are committed.
        entries: to be committed, numbered ``last + 1`` on without holes.
        rows: the records in them.
        duplicates: entries that came although the server has them.
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
    intake = Intake(last)
    for entry in arrived:
        if entry.seq == intake.last + 1 and _intact(entry):
            intake.entries.append(entry)
            intake.last = entry.seq
    _judge(intake, dtype)
    known = sum(entry.seq <= intake.last for entry in arrived)
    intake.duplicates = known - len(intake.entries)
    intake.resend = known < len(arrived)
    return intake


def _judge(intake: Intake, dtype: np.dtype[np.void]) -> None:
    """Fill in the rows; a batch whose content is refused is not taken, nor is what follows it."""
    batches = [entry for entry in intake.entries if isinstance(entry, Batch)]
    try:
        intake.rows = [rows for run in _runs(batches) for rows in decode_run(run, dtype)]
    except WireError:
        _judge_each(intake, dtype)


def _judge_each(intake: Intake, dtype: np.dtype[np.void]) -> None:
    for number, entry in enumerate(intake.entries):
        try:
            if isinstance(entry, Batch):
                intake.rows.append(decode_batch(entry, dtype))
        except WireError as error:
            intake.refused = (entry.seq, str(error))
            intake.last = entry.seq - 1
            del intake.entries[number:]
            return


def _runs(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """Batches whose records claim to follow one another, no more at once than one may hold."""
    run: list[Batch] = []
    for batch in batches:
        follows = run and batch.first_record == run[-1].first_record + run[-1].count
        if run and not (follows and sum(b.count for b in run) + batch.count <= BATCH_MAX_RECORDS):
            yield run
            run = []
        run.append(batch)
    if run:
        yield run


def decode_run(run: Sequence[Batch], dtype: np.dtype[np.void]) -> list[Rows]:
    """The records of each batch, all checked at once: many rows cost little more than few.

    Raises:
        WireError: some claim does not hold, or the records do not follow one another; whether a
            batch alone is sound is :func:`decode_batch`'s to say.
    """
    counts = [batch.count for batch in run]
    tool = zstandard.ZstdDecompressor()
    data = b"".join(unpack(batch.data, batch.count * dtype.itemsize, tool) for batch in run)
    rows = decode_rows(data, dtype, sum(counts))
    check_plausible(rows)
    parts = np.split(rows, np.cumsum(counts[:-1]))
    for batch, part in zip(run, parts, strict=True):
        _check_begin(batch, part)
    return parts


def decode_batch(batch: Batch, dtype: np.dtype[np.void]) -> Rows:
    """The records of a batch, every claim checked.

    Raises:
        WireError: naming the first claim that does not hold.
    """
    rows = decode_rows(unpack(batch.data, batch.count * dtype.itemsize), dtype, batch.count)
    _check_begin(batch, rows)
    check_plausible(rows)
    return rows


def _check_begin(batch: Batch, rows: Rows) -> None:
    if int(rows["seq"][0]) != batch.first_record:
        raise WireError(f"batch {batch.seq} does not begin with record {batch.first_record}")


def unpack(data: bytes, size: int, tool: zstandard.ZstdDecompressor | None = None) -> bytes:
    """Decompress to exactly ``size`` bytes; the announced size is checked before memory is taken.

    ``tool`` saves making one, which takes as long as a batch; it serves one thread.

    Raises:
        WireError: the data is no zstd frame of that size.
    """
    try:
        if zstandard.frame_content_size(data) != size:
            raise WireError(f"compressed records do not hold {size} bytes")
        tool = tool or zstandard.ZstdDecompressor()
        return tool.decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise WireError(f"compressed records are damaged: {error}") from error


def _intact(entry: Entry) -> bool:
    """Damaged on the way is sent again; what the robot meant is judged only when it is whole."""
    if isinstance(entry, Gap):
        return True
    return batch_crc32(entry.first_record, entry.count, entry.data) == entry.crc32
