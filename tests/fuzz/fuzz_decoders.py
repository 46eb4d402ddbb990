"""Every decoder of foreign bytes: how it is fed, what it may raise, and sound examples.

A decoder takes whatever bytes come, and returns or raises its own family of errors. To add one,
write a function from bytes to nothing and an entry in ``DECODERS``.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import safetensors.numpy
import zstandard
from made_bundle import make_bundle, make_weights
from made_messages import MESSAGES, TO_SERVER
from made_records import DTYPE, ROBOT_FILE, SPEC, make_records
from made_unit import archive_of, release_files, release_id
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadError
from tuf.api.metadata import TargetFile, Targets

from offboard.gate import DOMAIN, answer
from offboard.intake import decode_batch, decode_run
from offboard.roles import (
    OFFLINE,
    ONLINE,
    ROOT_HOLDERS,
    first_root,
    first_targets,
    next_root,
    sign,
    utc_now,
)
from onboard.bundle_fetcher import ServerFetcher
from onboard.control_api import Clear, GetStatus, Offer, Start, decode_reply, decode_request
from onboard.graph_check import check_graph
from onboard.releases.archive import unpack
from onboard.releases.assignment import assignment_for, decode_assignments
from onboard.releases.journal import Entry, Journal, decode_journal, encode_journal
from onboard.signatures import TARGETS_LIST, WEIGHTS_LIST, verify_files
from onboard.version_floor import Floor, decode_floor, encode_floor
from onboard.weights_check import check_weights
from protocol import dynamixel, feetech, mcu_link
from protocol.bundle import check_manifest, decode_manifest, encode_manifest
from protocol.errors import BundleError, ConfigError, StoreError, WireError
from protocol.messages import Batch, Chunk, decode_to_robot, decode_to_server, encode
from protocol.observation import Layout
from protocol.robot_spec import parse_robot_spec
from protocol.step_record import Rows, decode_rows

LAYOUT = Layout(SPEC)
BUNDLE = make_bundle(1)
SHAPES = check_graph(BUNDLE.graph, LAYOUT)
NOTHING: tuple[type[Exception], ...] = ()


@dataclass(frozen=True)
class Decoder:
    """One way in.

    Attributes:
        feed: takes any bytes.
        may_raise: what refusing them looks like; anything else is a crash.
        examples: what it accepts, to start from.
    """

    feed: Callable[[bytes], object]
    may_raise: type[Exception] | tuple[type[Exception], ...]
    examples: list[bytes]


def _batch(data: bytes) -> None:
    """Two batches, in a run and each alone, which must give the same records.

    A byte each says how many records are claimed, the second 0 for a run of one; two more where the
    second one's data begins. The rest is compressed records.
    """
    first, second, low, high = data[:4].ljust(4, b"\0")
    rest = data[4:]
    cut = (low | high << 8) % (len(rest) + 1) if second else len(rest)
    run = [_claimed(1, ROWS_SEQ, max(1, first), rest[:cut])]
    if second:
        run.append(_claimed(2, ROWS_SEQ + run[0].count, second, rest[cut:]))
    parts = decode_run(run, DTYPE)
    alone = [decode_batch(batch, DTYPE) for batch in run]
    assert [part.tobytes() for part in parts] == [rows.tobytes() for rows in alone]


def _claimed(seq: int, first_record: int, count: int, data: bytes) -> Batch:
    return Batch(
        epoch="0" * 32, seq=seq, first_record=first_record, count=count, crc32=0, data=data
    )


def _records(data: bytes) -> None:
    decode_rows(data, DTYPE, len(data) // DTYPE.itemsize)


def _manifest(data: bytes) -> None:
    check_manifest(decode_manifest(data), SPEC, "swing_up", floor=0)


def _robot_file(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return  # the loader's to refuse
    parse_robot_spec(text, "robot.toml").digest()


def _dynamixel(data: bytes) -> None:
    """In two parts, as a port delivers; every reading of every packet."""
    parser = dynamixel.Parser()
    half = len(data) // 2
    for frame in (*parser.feed(data[:half]), *parser.feed(data[half:])):
        for parse in (
            dynamixel.parse_status,
            dynamixel.parse_read,
            dynamixel.parse_write,
            dynamixel.parse_sync_read,
            dynamixel.parse_sync_write,
            lambda frame: dynamixel.parse_fast_status(frame, 10),
        ):
            _refusing(parse, frame)


def _feetech(data: bytes) -> None:
    parser = feetech.Parser()
    half = len(data) // 2
    for frame in (*parser.feed(data[:half]), *parser.feed(data[half:])):
        for parse in (
            feetech.parse_status,
            feetech.parse_read,
            feetech.parse_write,
            feetech.parse_sync_read,
            feetech.parse_sync_write,
        ):
            _refusing(parse, frame)


def _mcu(data: bytes) -> None:
    """Then the payload alone, as every kind: past the CRC, which nothing damaged gets through."""
    parser = mcu_link.Parser()
    half = len(data) // 2
    frames = (*parser.feed(data[:half]), *parser.feed(data[half:]))
    alone = (mcu_link.Frame(kind, 0, data) for kind in mcu_link.Kind)
    for frame in (*frames, *alone):
        for parse in (
            mcu_link.parse_command,
            mcu_link.parse_power,
            mcu_link.parse_identity,
            mcu_link.parse_state,
        ):
            _refusing(parse, frame)


def _refusing(parse: Callable[[Any], object], frame: object) -> None:
    """One reading may refuse a packet that the next one takes."""
    with suppress(WireError):
        parse(frame)


class _Mouth:
    """A socket over which every answer is the same bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def poll(self, timeout_ms: int, flags: int) -> int:
        return 1

    def send(self, data: bytes) -> None:
        pass

    def recv_multipart(self) -> list[bytes]:
        return [self._data]

    def close(self) -> None:
        pass


def _fetch_reply(data: bytes) -> None:
    mouth: Any = _Mouth(data)
    fetcher = ServerFetcher(lambda: mouth, attempts=1, attempt_s=0.2)
    for _ in fetcher._fetch("metadata/timestamp.json"):
        return


def _weights(data: bytes) -> None:
    check_weights(data, SHAPES)


def _graph(data: bytes) -> None:
    check_graph(data, LAYOUT)


def _authenticate(data: bytes) -> None:
    """Frames are what lies between null bytes."""
    answer(data.split(b"\x00\x00"), lambda key: None)


def _floor(data: bytes) -> None:
    decode_floor(data.decode("ascii", "replace"))


def _assignments(data: bytes) -> None:
    assignment_for(decode_assignments(data), "duck", "cp311-x86_64")


def _journal(data: bytes) -> None:
    decode_journal(data.decode("ascii", "replace"))


class _Releases:
    """A folder to unpack to, in memory where there is such."""

    def __init__(self) -> None:
        shared = Path("/dev/shm")
        self._place = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
        atexit.register(shutil.rmtree, self._place, ignore_errors=True)
        self.archive = archive_of(release_files("new"))
        self.tar = zstandard.decompress(self.archive).rstrip(b"\0") + bytes(1024)

    def unpack(self, data: bytes) -> None:
        archive, folder = self._place / "archive", self._place / release_id("new")
        archive.write_bytes(data)
        unpack(archive, folder, 0, lambda: None)
        shutil.rmtree(folder)

    def unpack_tar(self, data: bytes) -> None:
        """Past the compression, which little that is damaged gets through."""
        self.unpack(zstandard.compress(data))


class _Chain:
    """A chain of signed lists in which one link is foreign."""

    def __init__(self) -> None:
        signers = {name: CryptoSigner.generate_ed25519() for name in (*OFFLINE, *ONLINE)}
        keys, now = {name: signer.public_key for name, signer in signers.items()}, utc_now()
        holders = [signers[name] for name in ROOT_HOLDERS]
        root = first_root(keys, now)
        self._root = sign(root, holders)
        self._files = {"policy/manifest.json": b"{}"}
        listed = {path: TargetFile.from_data(path, data) for path, data in self._files.items()}
        self._next_root = {"2.root.json": sign(next_root(root, now), holders)}
        self._lists = {
            TARGETS_LIST: sign(first_targets(keys["weights"], now), [signers["targets"]]),
            WEIGHTS_LIST: sign(Targets(targets=listed), [signers["weights"]]),
        }
        links = {**self._lists, **self._next_root}
        self._names = [*links]
        self.examples = [bytes((n,)) + data for n, data in enumerate(links.values())]

    def feed(self, data: bytes) -> None:
        """The first byte says which link."""
        name = self._names[data[0] % len(self._names) if data else 0]
        verify_files(self._root, {**self._lists, name: data[1:]}, self._files)


_RELEASES = _Releases()
_ASSIGNED = msgspec.json.encode(
    {
        "schema": 1,
        "counter": 3,
        "units": {"duck": {"release": "0" * 16, "target": "cp311-x86_64", "golden": False}},
    }
)
_KEPT = Journal("a", "b", "c", counter=3, failed={"d": 2}, log=(Entry(1.0, "trial", "a", "why"),))
ROWS = make_records(1, 3)
ROWS_SEQ = int(ROWS["seq"][0])


def _run(first: Rows, second: Rows | None = None) -> bytes:
    """Batches as :func:`_batch` takes them."""
    one = zstandard.compress(first.tobytes())
    if second is None:
        return bytes((len(first), 0, 0, 0)) + one
    head = bytes((len(first), len(second))) + len(one).to_bytes(2, "little")
    return head + one + zstandard.compress(second.tobytes())


_CHAIN = _Chain()
_SENT = {name: encode(message) for name, message in MESSAGES.items()}
_ASKED = [GetStatus(), Start(), Clear(deadline_ns=1), Offer(version=1, directory="/bundles/1")]
_MCU_STATE = mcu_link.State(
    mcu_link.Flag.POWERED, 40, 3, 5000, (mcu_link.Channel(-9, 9, 800, 800, 30, 0),) * 2
)
_CHUNK = Chunk(path="metadata/timestamp.json", offset=0, total=3, found=True, data=b"abc")

DECODERS: dict[str, Decoder] = {
    "message_to_server": Decoder(
        decode_to_server, WireError, [data for name, data in _SENT.items() if name in TO_SERVER]
    ),
    "message_to_robot": Decoder(
        decode_to_robot, WireError, [data for name, data in _SENT.items() if name not in TO_SERVER]
    ),
    "step_batch": Decoder(
        _batch,
        WireError,
        [_run(ROWS), _run(ROWS[:1], ROWS[1:])],
    ),
    "step_records": Decoder(_records, WireError, [ROWS.tobytes()]),
    "manifest": Decoder(_manifest, BundleError, [encode_manifest(BUNDLE.manifest)]),
    "graph": Decoder(_graph, BundleError, [BUNDLE.graph]),
    "weights": Decoder(
        _weights, BundleError, [BUNDLE.weights, safetensors.numpy.save(make_weights(2))]
    ),
    "signatures": Decoder(_CHAIN.feed, BundleError, _CHAIN.examples),
    "robot_file": Decoder(_robot_file, ConfigError, [ROBOT_FILE.read_bytes()]),
    "dynamixel_frames": Decoder(
        _dynamixel,
        NOTHING,
        [
            dynamixel.make_status(1, b"\x01\x02\xff\xff\xfd"),
            dynamixel.make_sync_write(100, 2, [(1, b"ab"), (2, b"cd")]),
            dynamixel.make_fast_status([dynamixel.Status(n, 0, False, bytes(10)) for n in (1, 2)]),
            dynamixel.make_read(1, 132, 4) + dynamixel.make_ping(2),
        ],
    ),
    "feetech_frames": Decoder(
        _feetech,
        NOTHING,
        [
            feetech.make_status(1, b"\x01\xff\xff"),
            feetech.make_sync_write(42, 2, [(1, b"ab"), (2, b"cd")]),
            feetech.make_read(1, 56, 4) + feetech.make_ping(2),
        ],
    ),
    "mcu_frames": Decoder(
        _mcu,
        NOTHING,
        [
            mcu_link.make_hello(1) + mcu_link.make_read(2),
            mcu_link.make_command(3, mcu_link.Command(40, (800, -1))),
            mcu_link.make_power(4, mcu_link.Power(1, 40, 800)),
            mcu_link.make_identity(5, mcu_link.Identity(7, 102, 1, 2)),
            mcu_link.make_state(6, _MCU_STATE),
            mcu_link.make_state(6, _MCU_STATE)[7:-6],
        ],
    ),
    "fetch_reply": Decoder(_fetch_reply, DownloadError, [encode(_CHUNK)]),
    "handshake": Decoder(
        _authenticate,
        NOTHING,
        [b"\x00\x00".join((b"r", b"", b"1.0", b"7", DOMAIN, b"::1", b"", b"CURVE", b"k" * 32))],
    ),
    "control_request": Decoder(
        decode_request, WireError, [msgspec.msgpack.encode(asked) for asked in _ASKED]
    ),
    "control_reply": Decoder(
        decode_reply, WireError, [msgspec.msgpack.encode({"kind": "done", "v": 1, "ok": True})]
    ),
    "version_floor": Decoder(
        _floor, StoreError, [encode_floor(Floor(1, {"timestamp": 2}, "a", 3, 4)).encode()]
    ),
    "assignments": Decoder(_assignments, BundleError, [_ASSIGNED]),
    "release_tar": Decoder(_RELEASES.unpack_tar, BundleError, [_RELEASES.tar]),
    "release_archive": Decoder(_RELEASES.unpack, BundleError, [_RELEASES.archive]),
    "release_journal": Decoder(_journal, StoreError, [encode_journal(_KEPT).encode()]),
}


def is_crash(decoder: Decoder, data: bytes) -> Exception | None:
    """What a decoder raised that it may not; None if it behaved."""
    try:
        decoder.feed(data)
    except decoder.may_raise:
        return None
    except Exception as error:  # finding these is what all this is for
        return error
    return None
