"""Arithmetic from unit costs to robot-hours and fleets. Pure."""

from __future__ import annotations

import msgspec

HOUR_S = 3600.0
MONTH_H = 730.0


class Measured(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Unit costs of one robot; docs/sizing.md says how each was measured.

    Attributes:
        record_hz: records while motors are powered.
        batch_hz: messages.
        wire_b: of a record on the wire; ``store_b`` in the store, ``mcap_b`` in the archive.
        ingest_us_per_batch: processor time by size of the fleet: a commit takes what is waiting.
            ``take_us_per_batch`` is the part of it without sockets; it is only for the reader.
        updates_per_record: that a record earns a learner.
        updates_per_core_s: that a core makes.
        hours_per_day: that a robot runs.
        sources: where, when and by what each was measured, by name.
    """

    record_hz: float
    batch_hz: float
    wire_b: float
    store_b: float
    mcap_b: float
    ingest_us_per_batch: dict[str, float]
    updates_per_record: float
    updates_per_core_s: float
    hours_per_day: float
    take_us_per_batch: dict[str, float] = {}
    sources: dict[str, str] = {}

    @property
    def learner_cores(self) -> float:
        """Cores that one robot's learner needs while it adapts."""
        return self.record_hz * self.updates_per_record / self.updates_per_core_s


class Prices(msgspec.Struct, frozen=True):
    """Of a core for an hour and a gigabyte for a month, in any currency."""

    core_h: float
    gb_month: float


class RobotHour(msgspec.Struct, frozen=True):
    """What one hour of one robot in a fleet takes."""

    wire_mb: float
    disk_mb: float
    ingest_core_s: float
    learner_core_s: float

    def price(self, prices: Prices, adapting: float, kept_h: float) -> float:
        """``adapting`` is the share of hours that are learned from, ``kept_h`` how long data is."""
        cores_h = (self.ingest_core_s + adapting * self.learner_core_s) / HOUR_S
        gb_months = self.disk_mb / 1e3 * kept_h / MONTH_H
        return cores_h * prices.core_h + gb_months * prices.gb_month


class Fleet(msgspec.Struct, frozen=True):
    """What robots that all run at once ask of the server, each second; disk by the day."""

    robots: int
    records_hz: float
    batches_hz: float
    wire_mb_s: float
    ingest_cores: float
    store_gb_day: float
    mcap_gb_day: float
    updates_hz: float
    learner_cores: float


def robot_hour(measured: Measured, robots: int) -> RobotHour:
    """Of a robot among ``robots``. Raises KeyError where ingest was not measured for so many."""
    records = measured.record_hz * HOUR_S
    return RobotHour(
        wire_mb=measured.wire_b * records / 1e6,
        disk_mb=(measured.store_b + measured.mcap_b) * records / 1e6,
        ingest_core_s=measured.ingest_us_per_batch[str(robots)]
        * (measured.batch_hz * HOUR_S / 1e6),
        learner_core_s=measured.learner_cores * HOUR_S,
    )


def fleet(measured: Measured, robots: int) -> Fleet:
    """Of ``robots``. Raises KeyError where ingest was not measured for so many."""
    records_hz, batches_hz = robots * measured.record_hz, robots * measured.batch_hz
    day_s = measured.hours_per_day * HOUR_S
    return Fleet(
        robots=robots,
        records_hz=records_hz,
        batches_hz=batches_hz,
        wire_mb_s=records_hz * measured.wire_b / 1e6,
        ingest_cores=batches_hz * measured.ingest_us_per_batch[str(robots)] / 1e6,
        store_gb_day=records_hz * day_s * measured.store_b / 1e9,
        mcap_gb_day=records_hz * day_s * measured.mcap_b / 1e9,
        updates_hz=records_hz * measured.updates_per_record,
        learner_cores=robots * measured.learner_cores,
    )
