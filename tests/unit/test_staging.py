"""Is a bundle read, built and timed as its rules say, to the byte and to the millisecond?"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import ModelProto

from onboard.backends import onnx_runtime
from onboard.control_api import Offer
from onboard.policy import Slot
from onboard.staging import Stager, _read
from protocol.bundle import decode_manifest, golden_of
from protocol.errors import BundleError
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

Make = Callable[..., Path]


def stager(spec: RobotSpec, took_ns: int = 0, build: Any = onnx_runtime.build) -> Stager:
    """On a clock on which every answer takes ``took_ns``."""
    ticking = itertools.count(step=took_ns)
    return Stager(spec, "swing_up", lambda: next(ticking), build)


@pytest.mark.parametrize(("size", "fits"), [(0, True), (9, True), (10, True), (11, False)])
def test_a_file_of_exactly_the_cap_is_read(tmp_path: Path, size: int, fits: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    if fits:
        assert _read(path, 10) == bytes(size)
    else:
        with pytest.raises(BundleError, match="exceeds the cap of 10 bytes"):
            _read(path, 10)


def test_no_more_is_read_than_a_file_says_it_holds_and_one_byte(tmp_path: Path) -> None:
    """A pipe says that it holds nothing, whatever comes out of it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"xyz",))
    writer.start()
    assert _read(path, 10) == b"x"
    writer.join(10)


@pytest.mark.parametrize(("took_ms", "fits"), [(10, True), (10.001, False)])
def test_an_answer_may_take_exactly_half_a_tick(
    furuta: RobotSpec, make_bundle: Make, took_ms: float, fits: bool
) -> None:
    offer = Offer(version=1, directory=str(make_bundle(1)))
    if fits:
        assert stager(furuta, round(1e6 * took_ms)).load(offer, 0).version == 1
    else:
        with pytest.raises(BundleError, match=r"takes 10\.0 ms"):
            stager(furuta, round(1e6 * took_ms)).load(offer, 0)


def test_a_slow_policy_is_told_the_times(furuta: RobotSpec, make_bundle: Make) -> None:
    slow = msgspec.structs.replace(furuta, control_hz=1)
    folder = make_bundle(1, robot_digest=slow.digest(), control_hz=1)
    with pytest.raises(BundleError) as caught:
        stager(slow, 5_000_000_000).load(Offer(version=1, directory=str(folder)), 0)
    assert str(caught.value) == (
        "bundle 1 takes 5000.0 ms to answer; a tick of 1000.0 ms leaves it 500.0 ms"
    )


def test_it_is_timed_on_an_observation_of_the_trainer(
    furuta: RobotSpec, make_bundle: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = make_bundle(1), []

    def timed(slot: Slot, obs: Any, clock_ns: Any) -> float:
        asked.append(np.array(obs))
        return 0.0

    monkeypatch.setattr(Slot, "time", timed)
    stager(furuta).load(Offer(version=1, directory=str(folder)), 0)
    manifest = decode_manifest((folder / "manifest.json").read_bytes())
    np.testing.assert_array_equal(asked, golden_of(manifest, Layout(furuta)).obs[:1])


def test_every_graph_gets_an_engine_of_its_own_and_only_one(
    furuta: RobotSpec, make_bundle: Make
) -> None:
    built: list[bytes] = []

    def build(graph: bytes) -> Any:
        built.append(graph)
        return onnx_runtime.build(graph)

    staging = stager(furuta, build=build)
    first = make_bundle(1)
    model = ModelProto.FromString((first / "graph.onnx").read_bytes())
    model.graph.name = "another"
    for version, folder in (
        (1, first),
        (2, make_bundle(2, graph=model.SerializeToString())),
        (3, make_bundle(3)),
    ):
        staging.load(Offer(version=version, directory=str(folder)), 0)
    assert built == [(first / "graph.onnx").read_bytes(), model.SerializeToString()]
