"""Is the data partition where it may grow and nothing else of NVIDIA's layout touched?"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from made_fleet import LAYOUT

from offboard.fleet.layout import with_data_partition
from protocol.errors import ConfigError


def test_it_comes_last_before_the_second_partition_table() -> None:
    layout = ET.fromstring(with_data_partition(LAYOUT, "layout"))
    names = [partition.get("name") for partition in layout.iter("partition")]
    assert names == ["APP", "APP_b", "wombet_data", "secondary_gpt"]


def test_nothing_else_changes() -> None:
    made = with_data_partition(LAYOUT, "layout")
    start, end = (
        made.index('        <partition name="wombet'),
        made.index('        <partition name="sec'),
    )
    assert made[:start] + made[end:] == LAYOUT


@pytest.mark.parametrize(
    "layout",
    [
        LAYOUT.replace("APP_b", "UDA"),
        LAYOUT.replace("secondary_gpt", "gpt"),
        LAYOUT.replace("> 0x8 <", "> 0x808 <", 1),
        with_data_partition(LAYOUT, "layout"),
    ],
    ids=["one root", "no end", "something grows", "ours already"],
)
def test_a_layout_of_another_kind_is_refused(layout: str) -> None:
    with pytest.raises(ConfigError, match="layout"):
        with_data_partition(layout, "layout")
