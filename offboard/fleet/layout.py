"""Our data partition in NVIDIA's partition layout.

It is the last of the drive, so that it grows to the drive's end (bit 0x800 of its attribute), and
apart from both root file systems, so that a change of slot keeps spool, policies and keys.
NVIDIA reserves UDA. Everything else of the layout stays byte for byte.

Source: flash layouts of Jetson Linux R36 and R39, "Partition Configuration" of its developer guide.
"""

from __future__ import annotations

import re

from protocol.errors import ConfigError

DATA_LABEL = "wombet_data"
DATA_BYTES = 4 * 1024**3
"""What it has at least; the rest of the drive is added when it is flashed."""

_LAST = re.compile(r'^[ \t]*<partition name="secondary_gpt"', re.MULTILINE)
_PARTITION = """\
        <partition name="{label}" type="data">
            <allocation_policy> sequential </allocation_policy>
            <filesystem_type> basic </filesystem_type>
            <size> {size} </size>
            <file_system_attribute> 0 </file_system_attribute>
            <allocation_attribute> 0x808 </allocation_attribute>
            <percent_reserved> 0 </percent_reserved>
            <align_boundary> 16384 </align_boundary>
        </partition>
"""


def with_data_partition(layout: str, origin: str) -> str:
    """NVIDIA's ``layout`` (XML) with our partition before the second partition table.

    Raises:
        ConfigError: it is no layout with two root file systems, another partition already grows
            to the drive's end, or ours is in it.
    """
    ends = list(_LAST.finditer(layout))
    if len(ends) != 1 or '"APP_b"' not in layout:
        raise ConfigError(f"{origin}: no layout of one drive with two root file systems (APP_b)")
    if DATA_LABEL in layout or re.search(r"<allocation_attribute>\s*0x8[0-9a-f]8\s*<", layout):
        raise ConfigError(
            f"{origin}: has a partition that grows already; use NVIDIA's own layout, unedited"
        )
    cut = ends[0].start()
    return layout[:cut] + _PARTITION.format(label=DATA_LABEL, size=DATA_BYTES) + layout[cut:]
