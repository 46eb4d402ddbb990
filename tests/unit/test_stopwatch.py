"""Does every microsecond of a tick end where it belongs, on both clocks?"""

from __future__ import annotations

import pytest
from made_rig import Clock

from onboard.control_api import Summary
from onboard.stopwatch import Section, Stopwatch
from onboard.timing import Histogram, summary_of
from onboard.wire import TimedWire
from protocol.errors import BusError

MS = 1e-3


class Times:
    """Elapsed and processor time that a test moves."""

    def __init__(self) -> None:
        self.clock, self.work = Clock(), Clock()
        self.watch = Stopwatch(self.clock.now_ns, self.work.now_ns)

    def compute(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.work.sleep(seconds)

    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)


@pytest.fixture
def times() -> Times:
    return Times()


def test_laps_sum_up_and_what_is_skipped_belongs_to_nobody(times: Times) -> None:
    watch, woke = times.watch, times.clock.ns
    times.wait(0.5 * MS)  # late between waking and starting
    watch.start(woke)
    times.compute(1 * MS)
    watch.skip()
    times.wait(2 * MS)
    times.compute(0.1 * MS)
    watch.lap(Section.READ)
    times.compute(0.3 * MS)
    watch.lap(Section.OBSERVE)
    times.compute(0.4 * MS)
    watch.lap(Section.OBSERVE)
    assert watch.stop() == times.clock.ns
    assert watch.section_span_us == pytest.approx([2100.0, 700.0, 0.0, 0.0, 0.0])
    assert watch.section_work_us == pytest.approx([100.0, 700.0, 0.0, 0.0, 0.0])
    assert (watch.span_us, watch.work_us) == pytest.approx((4300.0, 1800.0))


def test_a_section_that_was_not_passed_is_not_counted(times: Times) -> None:
    for passes in (False, True):
        times.watch.start(times.clock.ns)
        times.compute(1 * MS)
        if passes:
            times.watch.lap(Section.INFER)
        times.watch.stop()
    infer, read = (times.watch.sections[section] for section in (Section.INFER, Section.READ))
    assert (sum(infer.span.counts), sum(infer.work.counts), sum(read.span.counts)) == (1, 1, 0)
    assert sum(times.watch.tick.span.counts) == 2
    assert infer.span.max_us == pytest.approx(1000.0)


def test_a_tick_starts_with_empty_laps(times: Times) -> None:
    times.watch.start(times.clock.ns)
    times.compute(1 * MS)
    times.watch.lap(Section.LIMIT)
    times.watch.stop()
    times.watch.start(times.clock.ns)
    times.watch.stop()
    assert sum(times.watch.section_span_us) == 0.0
    assert sum(times.watch.sections[Section.LIMIT].span.counts) == 1


class SlowWire:
    def __init__(self, times: Times) -> None:
        self.times, self.calls = times, [""]
        self.broken = False

    def write(self, current_a: object) -> None:
        self.times.compute(3 * MS)
        if self.broken:
            raise BusError("no cable")

    def power_on(self, may: object) -> None:
        self.calls.append("on")

    def power_off(self) -> list[str]:
        return ["arm"]

    def power_off_step(self, anew: bool) -> list[str]:
        return ["arm", str(anew)]

    def cut(self) -> None:
        self.calls.append("cut")


@pytest.mark.parametrize("broken", [False, True])
def test_limiting_ends_where_writing_begins(times: Times, broken: bool) -> None:
    slow = SlowWire(times)
    slow.broken = broken
    wire = TimedWire(slow, times.watch)
    times.watch.start(times.clock.ns)
    times.compute(1 * MS)
    if broken:
        with pytest.raises(BusError):
            wire.write([0.0])
    else:
        wire.write([0.0])
    times.watch.stop()
    assert times.watch.section_span_us[Section.LIMIT] == pytest.approx(1000.0)
    assert times.watch.section_span_us[Section.WRITE] == pytest.approx(3000.0)
    wire.power_on(lambda: True)
    wire.cut()
    assert (wire.power_off(), slow.calls) == (["arm"], ["", "on", "cut"])
    assert wire.power_off_step(True) == ["arm", "True"]


def test_sums_and_percentiles_of_differences() -> None:
    histogram = Histogram()
    for value in (10.0, 20.0, 30.0):
        histogram.add(value)
    assert histogram.sum_us == 60.0
    before = list(histogram.counts)
    histogram.add(5000.0)
    counts = [now - then for now, then in zip(histogram.counts, before, strict=True)]
    assert summary_of(counts, 5000.0) == Summary(p50=5000.0, p99=5000.0, p999=5000.0, max=5000.0)
