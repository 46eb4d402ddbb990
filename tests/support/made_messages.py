"""One of every message, with every field set."""

from __future__ import annotations

from msgspec.structs import replace

from protocol.messages import (
    Ack,
    Batch,
    Chunk,
    Fetch,
    Gap,
    Halt,
    Hello,
    PolicyEvent,
    Refused,
    Release,
    Report,
    ToRobot,
    ToServer,
    batch_crc32,
)

EPOCH = "00112233445566778899aabbccddeeff"
DIGEST = "ab" * 32
DATA = bytes(range(16))

TO_SERVER: dict[str, ToServer] = {
    "hello": Hello(epoch=EPOCH, robot_digest=DIGEST, task="swing_up", first_held=7),
    "batch": Batch(
        epoch=EPOCH,
        seq=8,
        first_record=(1 << 40) + 500,
        count=2,
        crc32=batch_crc32((1 << 40) + 500, 2, DATA),
        data=DATA,
    ),
    "gap": Gap(epoch=EPOCH, seq=9, first_record=502, count=3, reason="disk full"),
    "report": Report(
        epoch=EPOCH,
        mode=4,
        active_version=3,
        ticks=1000,
        missed_ticks=1,
        produced=900,
        spooled=850,
        dropped=0,
        events=[PolicyEvent(number=1, version=3, outcome="rolled_back", reason="return fell")],
    ),
    "fetch": Fetch(path="metadata/timestamp.json", offset=262_144),
}
TO_ROBOT: dict[str, ToRobot] = {
    "ack": Ack(epoch=EPOCH, last=8, policy_version=3, resend=True),
    "chunk": Chunk(path="targets/policy/manifest.json", offset=0, total=16, found=True, data=DATA),
    "refused": Refused(reason="batch 9 is damaged", epoch=EPOCH, seq=9),
    "halt": Halt(reason="someone is in the cell"),
}
REPORT = TO_SERVER["report"]
assert isinstance(REPORT, Report)
SAID = Release(
    running="0123456789abcdef",
    tried="fedcba9876543210",
    verdict="taken back",
    reason="control ended",
    at_s=1_800_000_000,
)
LATER: dict[str, ToServer] = {"report of a unit": replace(REPORT, release=SAID)}
"""Messages with fields that came later; the golden bytes of those above stay."""
MESSAGES: dict[str, ToServer | ToRobot] = {**TO_SERVER, **TO_ROBOT}
