"""Which cells make up the benchmark: a default subset for an hour of two cores, and everything."""

from __future__ import annotations

from dataclasses import dataclass

from offboard.bench.cell import Cell
from offboard.bench.methods import METHODS
from offboard.bench.pairs import LIVE, PAIRS, pair_named

QUOTABLE = 5
"""Seeds below which no number is quoted."""
FLAGSHIP = 10
CORE = ("ours", "ft", "scratch", "ours_always")
"""Ours, what it may fall back to, and the course it may refuse: what judges the switch."""
PEERS = ("rlpd", "wombet", "ft_kept", "ours_generated")
"""Peers, fine-tuning with our choice of snapshots, and ours with generated data beside the old."""
IN_REAL_TIME = ("ours", "ours_actor", "ft", "raw")
ONE_BUDGET = tuple(name for name, method in METHODS.items() if method.budgets == 1)
"""A longer run is made where it decides something, by name."""


@dataclass(frozen=True)
class Share:
    """Some methods on one pair, for seeds from 0 on."""

    pair: str
    methods: tuple[str, ...]
    seeds: int = QUOTABLE

    def cells(self, methods: tuple[str, ...], seeds: int | None) -> list[Cell]:
        """Its cells; ``methods`` and ``seeds``, where given, instead of its own."""
        pair = pair_named(self.pair)
        return [
            Cell(pair, method, seed)
            for method in methods or self.methods
            for seed in range(seeds or self.seeds)
        ]


DEFAULT = (
    Share("cheetah_front_thigh", (*CORE, "ft_kept")),
    Share("cheetah_inverted", CORE[:3]),
    Share("furuta", CORE, FLAGSHIP),
    Share("furuta", PEERS),
    Share("furuta_gap_4", CORE),
    Share("furuta_gap_2", CORE),
    Share("furuta_gap_0.5", CORE),
    Share("furuta_gap_0", CORE),
)
"""Those that last longest first: see :meth:`Selection.cells`."""

FULL = tuple(
    Share(pair.name, ONE_BUDGET, FLAGSHIP if pair.name == "furuta" else QUOTABLE) for pair in PAIRS
)


ASKED_FOR = (Share(LIVE.name, IN_REAL_TIME, FLAGSHIP),)
"""Only if named: it wants a machine left alone."""


@dataclass(frozen=True)
class Selection:
    """A subset of the benchmark; empty means the default.

    Attributes:
        pairs: names; by default as planned.
        methods: names; by default all.
        seeds: how many; by default as planned.
        full: every pair in lock-step.
    """

    pairs: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int | None = None
    full: bool = False

    def cells(self) -> list[Cell]:
        """Seed by seed, so that an interrupted run has some of everything.

        Within a seed those that last longest come first, and the last seeds are the flagship's
        short cells: no process ends long before the others.

        Raises:
            ConfigError: no such pair.
        """
        found = {
            (cell.pair.name, cell.method, cell.seed): cell
            for share in self._shares()
            for cell in share.cells(self.methods, self.seeds)
        }
        return sorted(found.values(), key=lambda cell: cell.seed)

    def _shares(self) -> tuple[Share, ...]:
        plan = FULL if self.full else DEFAULT
        if not self.pairs:
            return plan
        plan = (*plan, *ASKED_FOR)
        planned = {share.pair for share in plan}
        return (
            *(share for share in plan if share.pair in self.pairs),
            *(Share(name, CORE) for name in self.pairs if name not in planned),
        )
