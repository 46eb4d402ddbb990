"""``wombet-offboard keys`` as a person uses it, and what the ceremony tells."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from offboard.keys import list_robots, load_server_keys
from offboard.main import main
from offboard.roles import LIFETIMES, OFFLINE, utc_now
from offboard.stages.keys import RENEWAL_DAYS, expiry_text
from onboard.identity import load_identity


@pytest.fixture
def keys(monkeypatch, capsys, tmp_path):
    """Runs ``wombet-offboard keys`` with these arguments; what it said."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["wombet-offboard", "keys", *map(str, arguments)])
        main()
        return capsys.readouterr().err

    return run


@pytest.fixture
def server(keys, tmp_path: Path) -> Path:
    keys("init", tmp_path / "server")
    return tmp_path / "server"


def test_the_ceremony_says_what_to_do_with_each_key_and_shows_none(keys, tmp_path):
    said = keys("init", tmp_path / "server")
    for path in (tmp_path / "server").rglob("*.pem"):
        assert path.stem in said
        assert path.read_text().splitlines()[1] not in said
    for holder in OFFLINE:
        assert f"{holder}.pem" in said
    secret = load_server_keys(tmp_path / "server").curve_secret.decode()
    assert secret not in said


def test_a_robot_is_added_replaced_and_shut_out(keys, server, tmp_path):
    keys("add", server, "r", tmp_path / "state")
    first = load_identity(tmp_path / "state" / "keys").public.decode()
    assert f"r  active  {first}" in keys("list", server)
    said = keys("rotate", server, "r", tmp_path / "carrier", "--overlap-h", "0")
    assert str(tmp_path / "carrier" / "keys") in said
    assert f"r  replaced  {first}" in keys("list", server)
    keys("revoke", server, "r")
    assert keys("list", server).count("revoked") == 2
    assert not any(key.active for key in list_robots(server))


def test_a_key_is_printed_as_it_stands_whatever_brackets_it_holds(
    keys, server, tmp_path, monkeypatch
):
    bracketed = b"M1C?=R=t$wwecoy6c9IzbPJFrBL%sP[l?@])kf#N"
    monkeypatch.setattr("zmq.curve_keypair", lambda: (bracketed, bracketed))
    keys("add", server, "r", tmp_path / "state")
    assert bracketed.decode() in keys("list", server)


def test_a_role_key_is_replaced_with_keys_from_several_media(keys, server, tmp_path):
    media = [tmp_path / "one", tmp_path / "two"]
    for medium, holder in zip(media, ("root-1", "root-3"), strict=True):
        medium.mkdir()
        (server / "offline" / f"{holder}.pem").rename(medium / f"{holder}.pem")
    before = load_server_keys(server)
    said = keys("rotate-role", server, "timestamp", "--media", *media)
    assert "start the server again" in said
    after = load_server_keys(server)
    assert len(after.trust.roots) == 2
    role = "timestamp"
    assert after.trust.signers[role].public_key != before.trust.signers[role].public_key


def test_a_new_offline_key_is_to_be_carried_away(keys, server):
    said = keys("rotate-role", server, "root-2")
    assert "carry" in said
    assert str(server / "offline" / "root-2.pem") in said


@pytest.mark.parametrize("what", ["root", "targets"])
def test_what_is_about_to_expire_is_named_until_it_is_renewed(keys, server, what):
    late = utc_now() + LIFETIMES[what]
    due = [line for line in expiry_text(server, late) if line.startswith(what)]
    assert due[0].endswith("(due now)")
    keys("renew", server, what)
    now = utc_now()
    assert not any("due" in line for line in expiry_text(server, now))
    assert LIFETIMES[what].days > RENEWAL_DAYS


def test_an_error_says_what_is_wrong_and_ends_with_2(keys, server, capsys):
    with pytest.raises(SystemExit) as ended:
        keys("rotate-role", server, "root-9")
    assert ended.value.code == 2
    assert "root-1" in capsys.readouterr().err
