"""Addresses of the machine that the runtime lives on."""

from __future__ import annotations

import pytest

from protocol.errors import ConfigError
from sim_harness.hil.host import host_of


@pytest.mark.parametrize(
    ("address", "target", "port"),
    [
        ("ssh://user@jetson:2222", "user@jetson", "2222"),
        ("ssh://Jetson:22/", "Jetson", "22"),
        ("ssh://user@jetson:", "user@jetson", None),
        ("ssh://user@jetson", "user@jetson", None),
        ("ssh://user@[fd00::7]:2222", "user@fd00::7", "2222"),
        ("ssh://[fd00::7]", "fd00::7", None),
    ],
)
def test_a_port_is_an_option_of_ssh_and_no_part_of_the_name(address, target, port):
    argv = host_of(address).argv(["true"], "-tt")
    assert argv[-3:] == [target, "--", "true"]
    assert (argv[argv.index("-p") + 1] if "-p" in argv else None) == port


@pytest.mark.parametrize(
    "address",
    [
        "ssh://jetson:ssh",
        "ssh://jetson:70000",
        "ssh://jetson:0",
        "ssh://user:secret@jetson",
        "ssh://:22",
    ],
)
def test_what_ssh_would_misunderstand_is_refused(address):
    with pytest.raises(ConfigError, match=r"ssh://USER@HOST\[:PORT\]"):
        host_of(address)


def test_what_lies_there_is_fetched(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_text("b")
    (tmp_path / "here").mkdir()
    host_of("local").get(str(tmp_path / "there"), tmp_path / "here")
    assert (tmp_path / "here" / "a").read_text() == "b"
    with pytest.raises(ConfigError, match="cannot be copied"):
        host_of("local").get(str(tmp_path / "nowhere"), tmp_path / "here")
