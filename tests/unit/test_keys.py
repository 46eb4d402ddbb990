"""Keys: private, never overwritten, never shown."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from offboard.key_table import KeyTable
from offboard.keys import (
    TABLE_FILE,
    enrol_robot,
    init_server,
    list_robots,
    load_server_keys,
    revoke_robot,
    rotate_robot,
)
from onboard.identity import load_identity
from protocol.errors import ConfigError


@pytest.fixture
def server(tmp_path: Path) -> Path:
    init_server(tmp_path / "server")
    return tmp_path / "server"


@pytest.fixture
def robot(tmp_path: Path, server: Path) -> Path:
    (tmp_path / "robot").mkdir(mode=0o755)
    enrol_robot(server, "furuta-01", tmp_path / "robot")
    return tmp_path / "robot"


def test_keys_made_are_the_keys_loaded(tmp_path):
    made = init_server(tmp_path / "server")
    loaded = load_server_keys(tmp_path / "server")
    assert (loaded.curve_public, loaded.curve_secret, loaded.root) == (
        made.curve_public,
        made.curve_secret,
        made.root,
    )
    for role, signer in made.trust.signers.items():
        assert loaded.trust.signers[role].public_key == signer.public_key


def test_a_server_runs_without_the_offline_keys(server):
    shutil.rmtree(server / "offline")
    assert set(load_server_keys(server).trust.signers) == {"snapshot", "timestamp", "weights"}


def test_nobody_else_can_read_anything(server, robot):
    for directory in (server, robot, robot / "keys", robot / "tuf"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for path in directory.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_an_enrolled_robot_knows_itself_and_its_server(server, robot):
    identity = load_identity(robot / "keys")
    assert identity.server == load_server_keys(server).curve_public
    assert (robot / "tuf" / "root.json").read_bytes() == load_server_keys(server).root
    (key,) = list_robots(server)
    assert (key.public.encode(), key.robot, key.active) == (identity.public, "furuta-01", True)


def test_secrets_do_not_show_in_print(server, robot):
    keys, identity = load_server_keys(server), load_identity(robot / "keys")
    assert keys.curve_secret.decode() not in repr(keys)
    assert identity.secret.decode() not in repr(identity)


def test_keys_are_never_overwritten(server, robot):
    before = {
        path: path.read_bytes()
        for path in (*server.rglob("*"), *robot.rglob("*"))
        if path.is_file()
    }
    with pytest.raises(ConfigError, match="never overwritten"):
        init_server(server)
    with pytest.raises(ConfigError, match="never overwritten"):
        enrol_robot(server, "furuta-02", robot)
    assert all(path.read_bytes() == data for path, data in before.items())


def test_a_name_is_given_once_until_it_is_revoked(server, robot, tmp_path):
    with pytest.raises(ConfigError, match="revoke"):
        enrol_robot(server, "furuta-01", tmp_path / "again")
    revoke_robot(server, "furuta-01")
    enrol_robot(server, "furuta-01", tmp_path / "again")
    assert [key.active for key in list_robots(server)] == [False, True]


def test_a_replaced_key_is_good_until_its_time_and_the_new_one_at_once(server, robot, tmp_path):
    former = load_identity(robot / "keys").public.decode()
    rotate_robot(server, "furuta-01", tmp_path / "carrier", until_s=100.0)
    new = load_identity(tmp_path / "carrier" / "keys").public.decode()
    now_s = [99.0]
    table = KeyTable(server / TABLE_FILE, lambda: now_s[0])
    table.refresh()
    assert [table.robot_of(key) for key in (former, new)] == ["furuta-01", "furuta-01"]
    now_s[0] = 100.0
    assert [table.robot_of(key) for key in (former, new)] == [None, "furuta-01"]


def test_revoking_a_robot_shuts_out_its_replaced_key_too(server, robot, tmp_path):
    rotate_robot(server, "furuta-01", tmp_path / "carrier", until_s=float(2**40))
    revoke_robot(server, "furuta-01")
    assert not any(key.good(0.0) for key in list_robots(server))


def test_a_second_change_does_not_lengthen_the_life_of_the_first_key(server, robot, tmp_path):
    rotate_robot(server, "furuta-01", tmp_path / "one", until_s=100.0)
    rotate_robot(server, "furuta-01", tmp_path / "two", until_s=200.0)
    assert [key.until_s for key in list_robots(server)] == [100.0, 200.0, None]


def test_only_an_enrolled_robot_can_change_its_key(server, tmp_path):
    with pytest.raises(ConfigError, match="no active key"):
        rotate_robot(server, "nobody", tmp_path / "carrier", until_s=0.0)


@pytest.mark.parametrize("name", ["", "Furuta", "../escape", "a/b", "a" * 40, "a b", "a\n"])
def test_names_that_could_be_paths_are_refused(server, tmp_path, name):
    with pytest.raises(ConfigError, match="robot name"):
        enrol_robot(server, name, tmp_path / "other")


def test_revoking_a_stranger_is_an_error(server):
    with pytest.raises(ConfigError, match="no active key"):
        revoke_robot(server, "nobody")


@pytest.mark.parametrize("secret", ["keys/robot.secret"])
def test_a_robot_refuses_a_secret_others_can_read(robot, secret):
    (robot / secret).chmod(0o640)
    with pytest.raises(ConfigError, match="mode 640"):
        load_identity(robot / "keys")


@pytest.mark.parametrize("secret", ["server.secret", "tuf/weights.pem"])
def test_a_server_refuses_a_secret_others_can_read(server, secret):
    (server / secret).chmod(0o604)
    with pytest.raises(ConfigError, match="mode 604"):
        load_server_keys(server)


@pytest.mark.parametrize("text", [b"", b"short", b"x" * 41, b"\xff" * 40])
def test_a_malformed_key_is_refused(robot, text):
    (robot / "keys" / "robot.public").write_bytes(text)
    with pytest.raises(ConfigError, match=r"robot\.public"):
        load_identity(robot / "keys")


def test_a_pair_that_does_not_match_is_refused(robot, server, tmp_path):
    enrol_robot(server, "other", tmp_path / "other")
    stranger = (tmp_path / "other" / "keys" / "robot.public").read_bytes()
    (robot / "keys" / "robot.public").write_bytes(stranger)
    with pytest.raises(ConfigError, match="does not belong"):
        load_identity(robot / "keys")


def test_a_missing_key_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="wombet-offboard keys"):
        load_identity(tmp_path)
    with pytest.raises(ConfigError, match="wombet-offboard keys"):
        load_server_keys(tmp_path)


def test_the_running_table_follows_the_file_and_survives_its_damage(server, robot):
    table = KeyTable(server / TABLE_FILE)
    (key,) = list_robots(server)
    assert table.robot_of(key.public) is None
    table.refresh()
    assert table.robot_of(key.public) == "furuta-01"
    (server / TABLE_FILE).write_text("[{")
    table.refresh()
    assert (table.robot_of(key.public), table.failures) == ("furuta-01", 1)
