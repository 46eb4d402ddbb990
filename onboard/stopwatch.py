"""Where the time of a tick goes: read, observe, infer, limit, write.

Two clocks run side by side. *Span* is elapsed time; *work* is processor time of the loop's own
thread. Slow code shows in both; waiting for the bus, and being descheduled, in span only. So
``span - work`` of ``read`` is the bus, and of any other section the operating system.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from onboard.timing import Histogram


class Section(IntEnum):
    """A part of the tick; what belongs to none is in the tick's own figures only."""

    READ = 0
    OBSERVE = 1
    INFER = 2
    LIMIT = 3
    WRITE = 4


_SECTIONS = len(Section)


class Timed:
    """Span and work of one thing, as histograms."""

    def __init__(self) -> None:
        self.span, self.work = Histogram(), Histogram()


class Stopwatch:
    """Divides each tick into laps. Everything it fills exists from the start.

    Attributes:
        sections: histograms, one per :class:`Section`.
        tick: histograms of the whole tick.
        section_span_us: laps of the last tick, one per :class:`Section`; 0 for those it lacked.
        section_work_us: likewise.
        span_us: elapsed time of the last tick, from its start to :meth:`stop`.
        work_us: processor time of the last tick.
    """

    def __init__(self, clock_ns: Callable[[], int], work_ns: Callable[[], int]) -> None:
        """``clock_ns`` is monotonic; ``work_ns`` counts the processor time of the thread."""
        self._clock_ns, self._work_ns = clock_ns, work_ns
        self.sections = [Timed() for _ in Section]
        self.tick = Timed()
        self.section_span_us = [0.0] * _SECTIONS
        self.section_work_us = [0.0] * _SECTIONS
        self.span_us = self.work_us = 0.0
        self._span_ns = [0] * _SECTIONS
        self._busy_ns = [0] * _SECTIONS
        self._started_ns = self._began_ns = 0
        self._mark_ns = self._mark_work_ns = 0

    def start(self, started_ns: int) -> None:
        """A tick begins that woke at ``started_ns``."""
        self._started_ns = started_ns
        self._began_ns = self._mark_work_ns = self._work_ns()
        self._mark_ns = self._clock_ns()

    def skip(self) -> None:
        """What passed since the last lap belongs to no section."""
        self._mark_ns, self._mark_work_ns = self._clock_ns(), self._work_ns()

    def lap(self, section: Section) -> None:
        """What passed since the last lap or skip belongs to ``section``."""
        now_ns, work_ns = self._clock_ns(), self._work_ns()
        self._span_ns[section] += now_ns - self._mark_ns
        self._busy_ns[section] += work_ns - self._mark_work_ns
        self._mark_ns, self._mark_work_ns = now_ns, work_ns

    def stop(self) -> int:
        """The tick is over: count it and the sections it passed; the time now, in ns."""
        now_ns = self._clock_ns()
        self.span_us = (now_ns - self._started_ns) * 1e-3
        self.work_us = (self._work_ns() - self._began_ns) * 1e-3
        self.tick.span.add(self.span_us)
        self.tick.work.add(self.work_us)
        for section, timed in enumerate(self.sections):
            span_us, work_us = self._span_ns[section] * 1e-3, self._busy_ns[section] * 1e-3
            self.section_span_us[section], self.section_work_us[section] = span_us, work_us
            if work_us > 0.0 or span_us > 0.0:
                timed.span.add(span_us)
                timed.work.add(work_us)
                self._span_ns[section] = self._busy_ns[section] = 0
        return now_ns
