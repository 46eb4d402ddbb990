"""The agent as a real process: killed at any instant, and given bundles over the wire."""

from __future__ import annotations

import json
import random
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_agent import AgentProcess, Control, ring, write
from made_bundle import make_bundle
from made_records import DTYPE, SPEC, make_records
from made_server import Site, until

from offboard.keys import enrol_robot, load_server_keys
from offboard.publish import Repository, open_repository
from onboard.control_api import RING_FILE
from onboard.hotswap import HotSwap
from onboard.ring import RingReader

KILLS = 6


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "server")


@pytest.fixture
def state(site: Site, tmp_path: Path) -> Path:
    enrol_robot(site.keys, "r", tmp_path / "robot")
    return tmp_path / "robot"


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    return runtime


@pytest.fixture
def agent(site: Site, state: Path, runtime: Path) -> Iterator[AgentProcess]:
    with site.running():
        pass  # learns its port
    agent = AgentProcess(state, runtime, site.endpoint)
    yield agent
    agent.kill()


def repository(site: Site) -> Repository:
    keys = load_server_keys(site.keys)
    return open_repository(site.repository, keys.trust)


def test_an_agent_killed_at_random_delivers_every_record_once(site, agent, state, runtime):
    chance = random.Random(1)
    produced = []
    with site.running() as ingest, ring(runtime) as writer:
        for _ in range(KILLS):
            agent.start()
            kill_at_s = time.monotonic() + chance.uniform(0.4, 1.6)
            while time.monotonic() < kill_at_s:
                rows = make_records(sum(map(len, produced)), 20, episode_steps=50)
                produced.append(write(writer, rows))
                time.sleep(0.02)
            agent.kill()
        rows = make_records(sum(map(len, produced)), 20)
        produced.append(write(writer, rows))
        total = sum(map(len, produced))
        agent.start()
        until(lambda: ingest.committed == total)
        assert agent.end() == 0
    with site.store() as store:
        account = store.account("r")
    assert (account.committed, account.holes, account.duplicates) == (total, 0, 0)
    assert site.records("r").tobytes() == np.concatenate(produced).tobytes()


def test_sigterm_delivers_what_control_wrote_last(site, agent, runtime):
    with site.running() as ingest, ring(runtime) as writer:
        write(writer, make_records(0, 10))
        agent.start()
        until(lambda: ingest.committed == 10)
        write(writer, make_records(10, 7))
        assert agent.end() == 0
        assert ingest.committed == 17


def test_a_published_bundle_reaches_control_and_control_accepts_it(site, agent, state, runtime):
    publisher = repository(site)
    control = Control(runtime)
    with site.running() as ingest, control.running():
        agent.start()
        until(lambda: "r" in ingest.reports)
        ingest.policy_version = publisher.publish(*make_bundle(1))
        until(lambda: control.active == 1)
        until(lambda: ingest.reports["r"].active_version == 1)
        control.restarted()
        until(lambda: len(control.offers) == 2)
        ingest.policy_version = publisher.publish(*make_bundle(2))
        until(lambda: control.active == 2)
    assert [offer.version for offer in control.offers] == [1, 1, 2]
    swap = HotSwap(SPEC, "swing_up")
    swap.offer(control.offers[-1])
    swap.stage(control.offers[-1])
    assert swap.flip(), swap.events


def test_a_pinned_robot_holds_newer_bundles_and_reports_why_they_wait(site, agent, runtime):
    publisher = repository(site)
    control = Control(runtime)
    control.pinned = 1
    with site.running() as ingest, control.running():
        agent.start()
        until(lambda: "r" in ingest.reports)
        ingest.policy_version = publisher.publish(*make_bundle(1))
        until(lambda: control.active == 1)
        assert ingest.reports["r"].held_back is msgspec.UNSET
        ingest.policy_version = publisher.publish(*make_bundle(2))
        text = "policy 2 is held back: this robot is pinned to policy 1"
        until(lambda: ingest.reports["r"].held_back == text)
        assert [offer.version for offer in control.offers] == [1]
        control.pinned = 0
        until(lambda: control.active == 2)
        until(lambda: ingest.reports["r"].held_back is msgspec.UNSET)
    assert text in agent.log


def test_a_bundle_altered_on_the_server_never_reaches_control(site, agent, state, runtime):
    publisher = repository(site)
    control = Control(runtime)
    with site.running() as ingest, control.running():
        agent.start()
        until(lambda: "r" in ingest.reports)
        publisher.publish(*make_bundle(1))
        (weights,) = (site.repository / "targets" / "policy").glob("*.safetensors")
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
        ingest.policy_version = 1
        until(lambda: "LengthOrHashMismatch" in agent.log)
        assert control.offers == []
        ingest.policy_version = publisher.publish(*make_bundle(2))
        until(lambda: control.active == 2)
    assert [offer.version for offer in control.offers] == [2]


def test_an_agent_without_a_server_or_control_spools_on_quietly(agent, state, runtime):
    with ring(runtime) as writer:
        write(writer, make_records(0, 10))
        agent.start()
        until(lambda: '"control","state":"away"' in agent.log)
        write(writer, make_records(10, 10))
        reader = RingReader(runtime / RING_FILE, DTYPE)
        with closing(reader):
            until(lambda: len(reader.peek(1)) == 0)
        assert agent.end() == 0
    events = [json.loads(line)["event"] for line in agent.log.splitlines()]
    assert [event for event in events if event != "not_streaming"] == ["control"]


def test_a_server_that_does_not_answer_is_named_once_and_told_when_it_does(site, agent, runtime):
    agent.start()
    until(lambda: f"not streaming to {site.endpoint}: check address, keys" in agent.log)
    with site.running():
        until(lambda: '"streaming","state":true' in agent.log)
        assert agent.end() == 0
    assert agent.log.count("not_streaming") == 1


def test_nobody_else_can_read_what_an_agent_leaves(site, agent, state, runtime):
    with site.running() as ingest, ring(runtime) as writer:
        write(writer, make_records(0, 10))
        agent.start()
        until(lambda: ingest.committed == 10)
        assert stat.S_IMODE(state.stat().st_mode) == 0o700
        spool = [path for path in state.iterdir() if path.name.startswith("spool")]
        assert spool
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in spool)
        assert agent.end() == 0


def test_secrets_never_appear_in_the_log(site, agent, state, runtime):
    control = Control(runtime)
    with site.running() as ingest, control.running():
        agent.start()
        until(lambda: "r" in ingest.reports)
        assert agent.end() == 0
    secret = (state / "keys" / "robot.secret").read_text().strip()
    assert secret not in agent.log
