"""Are the measured costs of ingest what they are said to be?"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from sizing import measure
from sizing.__main__ import MEASURED
from sizing.costs import Measured

from protocol.messages import Ack, Batch, Hello, Refused, decode_to_server, encode

ROOT = Path(__file__).parents[2]
ACK = encode(Ack(epoch="a" * 32, last=1, policy_version=0))


def test_a_batch_is_a_second_of_records_and_follows_the_one_before() -> None:
    first, second = map(decode_to_server, measure.batches(2))
    assert isinstance(first, Batch)
    assert isinstance(second, Batch)
    assert (first.seq, first.count, second.seq) == (1, 50, 2)
    assert second.first_record == first.first_record + 50


def test_the_cost_is_divided_by_the_batches_that_were_timed() -> None:
    """Neither the greeting nor each robot's first batch, which finds everything cold."""
    given: list[bytes] = []
    cost = measure.us_per_batch(given.append, lambda: 7_000 * len(given), robots=2, total=10)
    kinds = [type(decode_to_server(each)) for each in given]
    assert kinds == [Hello, *6 * [Batch]]
    assert cost == pytest.approx(7.0 / 2)


@pytest.mark.parametrize(
    "replies",
    [
        [ACK],
        [ACK, encode(Refused(reason="no hello came first"))],
        [ACK, encode(Ack(epoch="a" * 32, last=1, policy_version=0, resend=True))],
    ],
)
def test_what_was_not_taken_is_not_measured(replies: list[bytes]) -> None:
    measure.check([ACK, ACK], robots=2)
    with pytest.raises(RuntimeError, match="robots"):
        measure.check(replies, robots=2)


def test_processor_time_grows_with_work_and_not_with_waiting() -> None:
    before = measure.processor_ns(os.getpid())
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    worked = measure.processor_ns(os.getpid())
    time.sleep(0.3)
    waited = measure.processor_ns(os.getpid())
    assert worked - before > 0.15e9
    assert waited - worked < 0.15e9


def test_what_it_writes_is_what_sizing_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [ROOT / "tests" / "benchmarks", ROOT / "tests" / "support"]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))
    monkeypatch.setattr(measure, "AT_ONCE", {"10": 1, "1000": 3})
    out = tmp_path / "out" / "measured.json"
    monkeypatch.setattr(
        sys, "argv", ["measure", "--out", str(out), "--batches", "12", "--rounds", "1"]
    )
    measure.main()
    base, found = (
        msgspec.json.decode(path.read_bytes(), type=Measured) for path in (MEASURED, out)
    )
    costs = [*found.ingest_us_per_batch.values(), *found.take_us_per_batch.values()]
    assert len(costs) == 4
    assert min(costs) > 1.0
    assert (found.wire_b, found.sources["wire_b"]) == (base.wire_b, base.sources["wire_b"])
    assert "median of 1 rounds of 12 batches" in found.sources["ingest_us_per_batch"]
    assert [each.name for each in out.parent.iterdir()] == [out.name]
    command = [sys.executable, "-m", "sizing", "--measured", str(out)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "a fleet of" in said
