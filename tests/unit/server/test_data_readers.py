"""Do other people's own readers make of our exports what the robot did?

They are heavy and warn a lot, so each runs in a process of its own; ``make test-exports`` installs
them. What they need no network for, they are kept from asking.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from made_data import LAYOUT, made_log

from offboard.data.lerobot_writer import write_lerobot
from offboard.data.recording import read_recording
from offboard.mcap_archive import TOPIC

pytestmark = pytest.mark.timeout(900)

LEROBOT = """
import sys
import numpy, torch
try:
    import torchvision
except RuntimeError:  # made for another torch, it lacks its image operators; no image is read here
    operators = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        operators.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from lerobot.datasets.lerobot_dataset import LeRobotDataset

place, out = sys.argv[1:]
window = {"observation.state": [-0.02, 0.0]}
data = LeRobotDataset("local/data", root=place, delta_timestamps=window)
frames = [data[index] for index in range(len(data))]
one = LeRobotDataset("local/data", root=place, episodes=[1])
numpy.savez(
    out,
    obs=numpy.stack([frame["observation.state"][1] for frame in frames]),
    before=numpy.stack([frame["observation.state"][0] for frame in frames]),
    action=numpy.stack([frame["action"] for frame in frames]),
    reward=numpy.stack([frame["next.reward"] for frame in frames]),
    sense_ns=numpy.stack([frame["sense_ns"] for frame in frames]),
    episode=numpy.stack([frame["episode_index"] for frame in frames]),
    task=[frame["task"] for frame in frames],
    names=data.meta.names["observation.state"],
    mean=data.meta.stats["observation.state"]["mean"],
    counts=[data.num_episodes, data.num_frames, data.fps, len(one)],
)
"""

RERUN_MCAP = """
import json, sys
import numpy
from rerun.experimental import RrdReader

chunks = [chunk.to_record_batch() for chunk in RrdReader(sys.argv[1]).stream()]
data, when = "McapMessage:data", "message_log_time"
steps = [chunk for chunk in chunks if data in chunk.schema.names]
said = [json.loads(bytes(cell[0])) for chunk in steps for cell in chunk.column(data).to_pylist()]
numpy.savez(
    sys.argv[2],
    shown_ns=[ns for chunk in steps for ns in chunk.column(when).cast("int64").to_pylist()],
    obs=[[*step["observation"].values()] for step in said],
    columns=[*said[0]["observation"]],
    requested=[[*step["requested"].values()] for step in said],
    applied=[[*step["applied"].values()] for step in said],
    **{name: [step[name] for step in said] for name in sys.argv[3:]},
)
"""

RERUN_LEROBOT = """
import sys
import numpy
from rerun.experimental import LeRobotReader

reader = LeRobotReader(sys.argv[1])
episodes = reader.episodes()
found = {"version": reader.version, "episodes": len(episodes)}
for number, episode in enumerate(episodes):
    for chunk in reader.stream(episode):
        table = chunk.to_record_batch()
        for what in ("Scalars:scalars", "SeriesLines:names"):
            if what in table.schema.names:
                cells = table.column(what).to_pylist()
                found[f"{number}{chunk.entity_path}:{what}"] = cells
numpy.savez(sys.argv[2], **found)
"""

FOXGLOVE = """
const { McapIndexedReader } = require("@mcap/core");
const { FileHandleReadable } = require("@mcap/nodejs");
const { loadDecompressHandlers } = require("@mcap/support");

async function read(path) {
  const file = await require("fs/promises").open(path);
  const readable = new FileHandleReadable(file);
  const decompressHandlers = await loadDecompressHandlers();
  const reader = await McapIndexedReader.Initialize({ readable, decompressHandlers });
  const text = (bytes) => JSON.parse(new TextDecoder().decode(bytes));
  const [channel] = reader.channelsById.values();
  const found = { topic: channel.topic, encoding: channel.messageEncoding, steps: [] };
  const schema = reader.schemasById.get(channel.schemaId);
  Object.assign(found, { schemaEncoding: schema.encoding, schema: text(schema.data) });
  for await (const step of reader.readMessages()) {
    const times = { log: String(step.logTime), publish: String(step.publishTime) };
    found.steps.push({ ...times, ...text(step.data) });
  }
  console.log(JSON.stringify(found));
}

read(process.argv[1]);
"""
FOXGLOVE_MODULES = Path(sys.prefix) / "foxglove" / "node_modules"


def ran(folder: Path, *command: object) -> str:
    """Output of a reader that has a home of its own and no network."""
    (folder / "home").mkdir(exist_ok=True)
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "HOME": str(folder / "home")}
    offline["NODE_PATH"] = str(FOXGLOVE_MODULES)
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **offline},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(folder: Path, program: str, *words: object) -> None:
    """Run one of the programs above, which leaves what it read in a file."""
    ran(folder, sys.executable, "-W", "ignore", "-c", program, *words)


def rerun(folder: Path, *words: object) -> str:
    program = Path(sys.executable).with_name("rerun")
    ran(folder, program, "analytics", "disable")
    return ran(folder, program, *words)


@pytest.mark.skipif(find_spec("lerobot") is None, reason="lerobot's reader: make test-exports")
def test_lerobot_reads_what_the_robot_did(tmp_path):
    log = made_log(tmp_path / "archive")
    write_lerobot(log, tmp_path / "data")
    python(tmp_path, LEROBOT, tmp_path / "data", tmp_path / "read")
    read = np.load(tmp_path / "read.npz")
    obs = np.concatenate([part.obs for part in log.trajectories])
    np.testing.assert_array_equal(read["obs"], obs)
    np.testing.assert_array_equal(read["before"][1:21], obs[:20])
    np.testing.assert_array_equal(read["before"][21], obs[21])  # never from another episode
    np.testing.assert_array_equal(read["action"][:20], log.trajectories[0].applied[:, 0])
    np.testing.assert_array_equal(read["reward"][:20], log.trajectories[0].reward)
    times = np.concatenate([part.sense_ns for part in log.trajectories])
    np.testing.assert_array_equal(read["sense_ns"], times)
    np.testing.assert_array_equal(read["episode"], np.repeat([0, 1, 2], 21))
    np.testing.assert_allclose(read["mean"], obs.mean(0), rtol=1e-4, atol=1e-6)
    assert {*read["task"]} == {"swing_up"}
    assert tuple(read["names"]) == log.columns
    assert read["counts"].tolist() == [3, 63, 50, 21]


@pytest.mark.skipif(find_spec("rerun") is None, reason="Rerun's reader: make test-exports")
def test_rerun_opens_the_archive_as_it_is(tmp_path):
    made_log(tmp_path / "archive", count=1)
    path = tmp_path / "archive/r/g001-e000000.mcap"
    assert "ok" in rerun(tmp_path, "mcap", "check", path)
    rerun(tmp_path, "mcap", "convert", path, "-o", tmp_path / "r.rrd")
    rerun(tmp_path, "rrd", "verify", tmp_path / "r.rrd")
    rows = read_recording(path).rows
    numbers = ("seq", "tick", "sense_ns", "act_ns", "episode", "step", "policy_version", "flags")
    python(tmp_path, RERUN_MCAP, tmp_path / "r.rrd", tmp_path / "read", *numbers)
    read = np.load(tmp_path / "read.npz")
    np.testing.assert_array_equal(read["shown_ns"], rows["sense_ns"])
    for name in (*numbers, "obs", "requested", "applied"):
        np.testing.assert_array_equal(read[name].astype(rows[name].dtype), rows[name], name)
    assert [*read["columns"]] == LAYOUT.labels


@pytest.mark.skipif(find_spec("rerun") is None, reason="Rerun's reader: make test-exports")
def test_rerun_plots_the_lerobot_export(tmp_path):
    log = made_log(tmp_path / "archive")
    write_lerobot(log, tmp_path / "data")
    python(tmp_path, RERUN_LEROBOT, tmp_path / "data", tmp_path / "read")
    read = np.load(tmp_path / "read.npz")
    assert (str(read["version"]), int(read["episodes"])) == ("v3", 3)
    for number, part in enumerate(log.trajectories):
        state, action, reward = (
            read[f"{number}/{column}:Scalars:scalars"]
            for column in ("observation.state", "action", "next.reward")
        )
        np.testing.assert_array_equal(state.astype(np.float32), part.obs)
        np.testing.assert_array_equal(action[:-1].astype(np.float32), part.applied)
        np.testing.assert_array_equal(reward[:-1, 0].astype(np.float32), part.reward)
        assert tuple(read[f"{number}/observation.state:SeriesLines:names"][0]) == log.columns


@pytest.mark.skipif(not FOXGLOVE_MODULES.is_dir(), reason="Foxglove's reader: make test-exports")
def test_foxglove_reads_the_archive_as_it_is(tmp_path):
    """By the library that its app reads MCAP with; the app itself needs a screen and an account."""
    made_log(tmp_path / "archive", count=1)
    path = tmp_path / "archive/r/g001-e000000.mcap"
    read = json.loads(ran(tmp_path, "node", "-e", FOXGLOVE, path))
    rows = read_recording(path).rows
    said = [read[name] for name in ("topic", "encoding", "schemaEncoding")]
    assert said == [TOPIC, "json", "jsonschema"]
    for column, name in (("log", "sense_ns"), ("publish", "act_ns")):
        assert [int(step[column]) for step in read["steps"]] == rows[name].tolist()
    for name in ("seq", "tick", "policy_version", "flags"):
        assert [step[name] for step in read["steps"]] == rows[name].tolist()
    for group, columns in (("obs", LAYOUT.labels), ("applied", ["arm"])):
        shown = "observation" if group == "obs" else group
        values = np.array([[*step[shown].values()] for step in read["steps"]])
        np.testing.assert_array_equal(values.astype(np.float32), rows[group])
        properties = read["schema"]["properties"][shown]["properties"]
        assert [*properties] == [*columns]
        assert all(about["description"] for about in properties.values()), "each has its unit"
