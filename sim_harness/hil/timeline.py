"""From a scenario to moments: what begins and ends when. Equal seeds, equal moments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from sim_harness.hil.faults import AnyFault
from sim_harness.hil.scenario import Scenario


class Moment(NamedTuple):
    """Something changes, ``at_s`` after the scenario's start."""

    at_s: float
    begins: bool
    fault: AnyFault


def faults_of(scenario: Scenario) -> list[AnyFault]:
    """The written faults and the drawn ones, by the time they begin."""
    drawn = _draws(scenario, np.random.default_rng(scenario.seed))
    return sorted([*scenario.faults, *drawn], key=lambda fault: fault.at_s)


def timeline(scenario: Scenario) -> list[Moment]:
    """Every moment in order; what has no end of its own ends with the scenario."""
    moments = []
    for fault in faults_of(scenario):
        ends_s = fault.at_s + fault.for_s if fault.for_s else scenario.lasts_s
        moments += [Moment(fault.at_s, True, fault), Moment(ends_s, False, fault)]
    return sorted(moments, key=lambda moment: (moment.at_s, not moment.begins))


def _draws(scenario: Scenario, rng: np.random.Generator) -> Iterator[AnyFault]:
    for _ in range(scenario.draws):
        item = scenario.menu[int(rng.integers(len(scenario.menu)))]
        at_s = float(rng.uniform(0.0, item.at_s))
        for_s = float(rng.uniform(0.2, 1.0)) * item.for_s
        yield replace(item, at_s=at_s, for_s=min(for_s, max(scenario.lasts_s - at_s, 0.0)))
