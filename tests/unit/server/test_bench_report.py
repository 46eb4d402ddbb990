"""Does the benchmark's report stand alone and show every cell, bar and note?"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from made_cells import write_cell, write_method

from offboard.bench.figures import colours
from offboard.bench.html import drawings, overview, page, write_report
from offboard.bench.outcome import gather, read_outcomes
from offboard.bench.transfer import write_transfer
from offboard.report import svg

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """A gap sweep with a gate, one pair more, and speed."""
    out = tmp_path_factory.mktemp("bench")
    for pair, level in (("furuta", 60.0), ("furuta_gap_2", 40.0), ("ant_hips", 20.0)):
        for method, gain in (("ours", 30.0), ("ft", 20.0), ("scratch", 0.0), ("ours_always", 9.0)):
            measured = {"source_nmse": level / 100, "support": 0.1} if method == "ours" else None
            curve = [level, *(level + gain for _ in range(4))]
            write_method(out, pair, method, curve, mismatch=measured, switch="relabel")
    (out / "speed.json").write_text('{"ratio_64": 4.2345, "ratio_256": 1.1}')
    write_report(out)
    return out


@pytest.fixture(scope="module")
def document(out: Path) -> str:
    return (out / "report.html").read_text()


def test_the_document_needs_nothing_from_outside(document: str) -> None:
    for tag in ("<script", "<link", "@import", "<img"):
        assert tag not in document
    links = re.findall(r'(?:href|src)="([^"]*)"', document) + re.findall(
        r"url\(([^)]*)\)", document
    )
    assert links
    assert all(link.startswith("#") for link in links)


def test_every_pair_has_its_curves_and_its_table(document: str) -> None:
    for pair in ("furuta", "furuta_gap_2", "ant_hips"):
        assert f"<h2>{pair}</h2>" in document
        assert f"<figcaption>{pair}: interquartile mean" in document


def test_sweep_comparison_and_gate_are_drawn(document: str) -> None:
    for caption in (
        "Return against gap: zero-shot, and at the end of the budget",
        "Ours against fine-tuning",
        "Benefit of old data against measured source_nmse",
        "Benefit of old data against measured support",
    ):
        assert f"<figcaption>{caption}</figcaption>" in document
    assert document.count("<svg") == 3 + 4


def test_each_figure_is_well_formed(out: Path) -> None:
    grid = gather(read_outcomes(out))
    for draw in drawings(write_transfer(out), grid).values():
        assert ET.fromstring(svg(draw)).tag.endswith("svg")


def test_a_cell_reads_as_numbers_with_their_interval(document: str) -> None:
    row = re.search(r"<tr><td>ours</td>.*?</tr>", document[document.index("<h2>furuta</h2>") :])
    assert row is not None
    assert re.findall(r"<td>(.*?)</td>", row.group())[:5] == [
        "ours", "5", "4000", "60", "92 [90.67, 93.67]",
    ]  # fmt: skip


def test_bars_say_met_missed_or_not_decided(document: str) -> None:
    for bar, verdict in (("speed_64", "met"), ("speed_256", "missed"), ("flagship", "not decided")):
        row = re.search(rf"<tr><td>{bar}</td>.*?</tr>", document)
        assert row is not None
        assert row.group().endswith(f"<td>{verdict}</td></tr>")


def test_the_sheet_is_one_png(out: Path) -> None:
    png = (out / "report.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(png[i : i + 4], "big") for i in (16, 20))
    assert width > 1_000
    assert height > 700  # seven figures are three rows of three


def test_one_cell_of_one_seed_is_a_report(tmp_path: Path) -> None:
    write_cell(tmp_path, "p", "ft", 0, [0.0, 1.0, 2.0, 3.0, 4.0])
    scores, grid = write_transfer(tmp_path), gather(read_outcomes(tmp_path))
    document = page(scores, grid)
    assert document.count("<svg") == 1
    assert "1 seeds, a quoted number needs 5" in document
    assert overview(scores, grid).startswith(b"\x89PNG")


def test_text_is_never_markup(tmp_path: Path) -> None:
    cell = write_cell(tmp_path, "p", "ours", 0, [0.0] * 5)
    result = json.loads((cell / "result.json").read_text())
    (cell / "result.json").write_text(json.dumps({**result, "pair": EVIL, "method": EVIL}))
    write_report(tmp_path)
    assert "<script" not in (tmp_path / "report.html").read_text()


def test_methods_keep_apart_by_colour() -> None:
    names = ["ours", "ft", "scratch", "rlpd", "wsrl", "iql", "cal_ql", "mopo", "sb3_sac", "sb3_td3"]
    assert len(set(colours(names).values())) == len(names)


def test_an_unreachable_target_is_drawn_without_a_threshold(tmp_path: Path) -> None:
    nothing = {"threshold": None, "expert_return": 1.0, "source_gain": 100.0}
    for method in ("ours", "ft"):
        write_method(tmp_path, "furuta_gap_4", method, [5.0] * 5, **nothing)
    write_report(tmp_path)
    assert "Threshold –, expert 1" in (tmp_path / "report.html").read_text()
