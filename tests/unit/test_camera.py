"""Pictures without a screen: the robot is in them, and moves."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec
from sim_harness import camera as camera_module
from sim_harness.camera import Camera
from sim_harness.model import REST_KEY, compile_model
from sim_harness.png import png

CONFIGS = Path(__file__).parents[2] / "hw_configs"
ROBOTS = ("furuta", "arm5")
LEAST_SHARE = 0.002
"""Of the pixels; a thin pendulum is no more."""


def made_model(robot: str):
    spec = load_robot_spec(CONFIGS / f"{robot}.toml")
    return compile_model(spec, spec.body("nominal"), CONFIGS)


def no_pictures() -> str:
    """Why this machine cannot take any; empty if it can."""
    try:
        with Camera(made_model("furuta")):
            return ""
    except ConfigError as error:
        return str(error)


REASON = no_pictures()
needs_gl = pytest.mark.skipif(bool(REASON), reason=REASON)


@needs_gl
@pytest.mark.parametrize("robot", ROBOTS)
def test_the_robot_is_in_the_picture_and_a_pose_shows(robot: str) -> None:
    model = made_model(robot)
    rest = np.array(model.key(REST_KEY).qpos)
    with Camera(model, 320, 240) as camera:
        at_rest, again = camera.take(rest), camera.take(rest)
        turned = camera.take(rest + 0.8)
    assert at_rest.shape == (240, 320, 3)
    assert np.array_equal(at_rest, again)
    assert len(np.unique(at_rest.reshape(-1, 3), axis=0)) > 20
    assert np.mean(np.any(at_rest != turned, axis=2)) > LEAST_SHARE


@needs_gl
def test_a_screenshot_is_a_picture_file(tmp_path: Path) -> None:
    path = tmp_path / "furuta.png"
    argv = [sys.executable, "-m", "sim_harness.main", "screenshot", "--out", str(path)]
    argv += ["--robot", str(CONFIGS / "furuta.toml"), "--width", "64", "--height", "48"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert decoded(path.read_bytes()).shape == (48, 64, 3)


def test_where_nothing_renders_one_is_told_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(camera_module, "BACKENDS", ("mujoco.nothing", "mujoco.less"))
    with pytest.raises(ConfigError, match=r"libegl1 .*nothing.*less"), Camera(made_model("furuta")):
        pass


def test_a_png_holds_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert np.array_equal(decoded(png(pixels)), pixels)


def decoded(data: bytes) -> np.ndarray:
    """Pixels of a PNG whose lines are not filtered; its checksums hold."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert int.from_bytes(data[at + 8 + length : at + 12 + length], "big") == zlib.crc32(
            kind + body
        )
        chunks[kind] = body
        at += 12 + length
    assert [*chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height = (int.from_bytes(chunks[b"IHDR"][at : at + 4], "big") for at in (0, 4))
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, 3)
