"""``python -m runtime --out DIR``: measure everything, write ``DIR/runtime.json``.

A plain run takes about seven minutes. ``--cells 50-loaded --seconds 600`` is the ten-minute bar.

What the names in the document do not say: of a cell, ``missed`` are slots of the schedule that
passed without a tick; ``late``, ticks that began more than half a period late or after such a slot;
``work_us``, processor time of the loop's thread; ``sense_to_act_us``, elapsed time from asking the
joints to the command having left; ``tick_without_wait_us``, elapsed time of the same ticks less
what the read waited for the bus. ``tick_without_serial_us`` is the loop over a bus in memory, its
caches warm. ``port_over_bare`` compares with constant weights, ``port_over_bare_same_graph`` with
weights as inputs. The loop's own percentiles are known to 10 %, a bucket of its histograms; all
others are exact.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from protocol.errors import WombetError
from runtime import cells, inference, loop, planner, swaps
from runtime.bars import bars
from runtime.cells import Cell
from runtime.crew import Crew, share_out
from runtime.machine import ROOT, commit, machine
from runtime.percentiles import Json
from runtime.robot import Bed
from runtime.robot_file import at_rate

ROBOT = ROOT / "hw_configs" / "furuta.toml"
MEMORY = Path("/dev/shm")
VERDICTS = {True: "ok  ", False: "OVER", None: "?   "}


class Bench:
    """One run: everything in turn, nothing at the same time.

    Attributes:
        cores: of this machine.
    """

    def __init__(self, robot: Path, out: Path) -> None:
        self._out, self._text = out, robot.read_text(encoding="utf-8")
        self._base = at_rate(self._text, 50).spec
        self._mjcf = robot.parent / self._base.plant.mjcf
        self.cores = share_out(self._base.timing.cpu, os.sched_getaffinity(0))

    def run(self, wanted: list[Cell], seconds: float, swap_count: int) -> Json:
        """The whole document."""
        document = {"machine": machine(), "commit": commit()}
        document["cells"] = [self._cell(cell, seconds) for cell in wanted]
        document |= self._inference() | self._loop()
        document["swap"] = self._swaps(swap_count) if swap_count else None
        document["bars"] = [{**bar._asdict(), "met": bar.met} for bar in bars(document)]
        return document

    def _cell(self, cell: Cell, seconds: float) -> Json:
        """What was measured, or why nothing was: the other cells are worth having."""
        tell(f"{cell.name}: {seconds:g} s")
        try:
            with self._bed(cell.name, cell.rate_hz) as bed:
                return cells.measure(cell, bed, self._mjcf, seconds)
        except (RuntimeError, TimeoutError, WombetError) as error:
            tell(f"{cell.name} failed: {error}")
            return {**cell._asdict(), "failed": str(error)}

    def _inference(self) -> Json:
        tell("inference")
        found = inference.measure()
        return found | planner.measure() if find_spec("torch") else found

    def _loop(self) -> Json:
        tell("the loop over a bus in memory")
        with self._bed("loop", 50) as bed:
            return loop.measure(bed.file.spec, bed.folder)

    def _swaps(self, count: int) -> Json:
        tell(f"{count} swaps at {swaps.RATE_HZ} Hz")
        with self._bed("swaps", swaps.RATE_HZ) as bed:
            return swaps.measure(bed, self._mjcf, count)

    @contextmanager
    def _bed(self, name: str, rate_hz: int) -> Iterator[Bed]:
        """Directories and processes that are gone afterwards; only logs stay."""
        file = at_rate(self._text, rate_hz)
        with (
            tempfile.TemporaryDirectory(prefix=".robot-", dir=self._out) as folder,
            tempfile.TemporaryDirectory(prefix="wombet-bench-", dir=MEMORY) as memory,
            Crew(self._out / "logs" / name) as crew,
        ):
            yield Bed(file, Path(folder), Path(memory), self.cores, crew)


def tell(what: str) -> None:
    """What is going on, for whoever waits."""
    print(f"bench-runtime: {what}", file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are stopped
    options = _options()
    out: Path = options.out
    shutil.rmtree(out / "logs", ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    wanted = [cell for cell in cells.CELLS if cell.name in options.cells]
    bench = Bench(ROBOT, out)
    os.sched_setaffinity(0, bench.cores.others)  # children inherit it
    document = bench.run(wanted, options.seconds, options.swaps)
    (out / "runtime.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for bar in document["bars"]:
        print(f"{VERDICTS[bar['met']]} {bar['name']}: {bar['value']}, at most {bar['limit']:g}")
    print(out / "runtime.json")
    raise SystemExit(any("failed" in cell for cell in document["cells"]))


def _options() -> argparse.Namespace:
    names = [cell.name for cell in cells.CELLS]
    parser = argparse.ArgumentParser(prog="python -m runtime", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench-runtime")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each cell")
    parser.add_argument("--swaps", type=int, default=1000, help="0 for none")
    parser.add_argument("--cells", nargs="*", choices=names, default=names)
    return parser.parse_args()


if __name__ == "__main__":
    main()
