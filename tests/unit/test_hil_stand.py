"""A rig behind a serial port, with cues; and the operator's side of a runtime."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from made_rig import ROBOT

from protocol import dynamixel as dxl
from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec
from sim_harness.hil.console import SOCKET_FILE, Done, Pinned, RemoteConsole, SocketConsole
from sim_harness.hil.faults import Drop, Unplug
from sim_harness.hil.host import Host, host_of
from sim_harness.hil.session import Session
from sim_harness.hil.stage import Stage
from sim_harness.hil.stand import Cue, Stand
from sim_harness.hil.trouble import Listener
from sim_harness.hil.watch import Total
from sim_harness.terminal import PseudoTerminal

SPEC = load_robot_spec(ROBOT)
WITHIN_S = 20.0
STATUS = {
    "kind": "status_reply",
    "mode": "IDLE",
    "reason": "",
    "pid": 7,
    "at_ns": 5,
    "active_version": 1,
    "produced": 3,
    "dropped": 0,
    "changes": [{"number": 1, "at_ns": 4, "old": "BOOT", "new": "IDLE", "reason": "x"}],
    "notes": ["unknown to the harness"],
}


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[tuple[Stand, Path]]:
    path = tmp_path / "tty"
    stand = Stand(
        Stage(SPEC, ROBOT.parent, "nominal", 0),
        SPEC.bus.baud,
        PseudoTerminal(path),
        time.monotonic_ns,
    )
    stand.link.open()
    thread = threading.Thread(target=stand.link.serve)
    thread.start()
    yield stand, path
    stand.link.stop()
    thread.join()
    stand.link.close()


def answers(path: Path) -> bool:
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(line, dxl.make_ping(1))
        return bool(select.select([line], [], [], WITHIN_S)[0] and os.read(line, 64))
    finally:
        os.close(line)


def test_an_adapter_that_is_pulled_hangs_up_and_comes_back_under_its_name(stand):
    there, path = stand
    assert answers(path)
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    there.cues.append(Cue(True, Unplug(at_s=0.0)))
    until(lambda: not path.is_symlink())
    with pytest.raises(OSError, match="Input/output"):
        os.write(line, b"x")
    os.close(line)
    there.cues.append(Cue(False, Unplug(at_s=0.0)))
    until(path.exists)
    assert answers(path)


def test_time_goes_on_without_an_adapter(stand):
    there, path = stand
    there.cues.append(Cue(True, Unplug(at_s=0.0)))
    until(lambda: not path.is_symlink())
    before_s = there.link.statistics().simulated_s
    until(lambda: there.link.statistics().simulated_s > before_s + 0.05)


def test_cues_survive_the_way_to_another_process():
    cue = Cue(False, Unplug(at_s=1.0, for_s=2.0), "mark")
    assert msgspec.json.decode(msgspec.json.encode(cue), type=Cue) == cue


@pytest.fixture
def control(tmp_path: Path) -> Iterator[list[dict[str, object]]]:
    """Something that answers like a control process; the requests it got."""
    asked: list[dict[str, object]] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / SOCKET_FILE))
        listener.listen(4)
        listener.settimeout(0.05)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                with client:
                    asked.append(msgspec.msgpack.decode(client.recv(4096)))
                    status = asked[-1]["kind"] == "status"
                    reply = STATUS if status else {"kind": "done", "ok": False, "detail": "no"}
                    client.send(msgspec.msgpack.encode(reply))

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        done.set()
        thread.join()


def test_on_this_machine_the_console_speaks_the_control_socket(control, tmp_path):
    console = SocketConsole(tmp_path)
    status = console.status()
    assert (status.mode, status.pid, status.changes[0].new) == ("IDLE", 7, "IDLE")
    assert console.order("start").detail == "no"
    assert not console.pin(Pinned(1, "/there")).ok
    assert [request["kind"] for request in control] == ["status", "start", "pin"]


def test_without_control_there_is_no_status_and_no_order_is_taken(tmp_path):
    console = SocketConsole(tmp_path)
    assert console.status() is None
    assert not console.order("stop").ok


ANSWERING = """
import json, sys
if sys.argv[1] != "console":
    print(sys.argv[1:])
    sys.exit("stop" in sys.argv)
for number, line in enumerate(sys.stdin):
    if line.strip() == "stop":
        break
    told = {told!r} if line.strip() == "status" else {{"ok": True, "detail": str(number)}}
    print(json.dumps(told), flush=True)
"""


def test_elsewhere_the_console_is_a_session_that_stays_open(tmp_path):
    script = tmp_path / "onboard.py"
    script.write_text(ANSWERING.format(told=STATUS))
    console = RemoteConsole(Host(), (sys.executable, str(script)), ("--robot", "r"))
    assert console.status().produced == 3
    assert console.order("start") == Done(ok=True, detail="1")
    assert console.order("estop") == Done(ok=True, detail="2")
    assert not console.order("stop").ok  # the session ended: by a command of its own
    assert console.order("clear") == Done(ok=True, detail="0")  # and a new one
    assert "'policy', 'pin', '2'" in console.pin(Pinned(2, "")).detail
    console.close()


def test_a_session_that_says_nothing_in_time_is_not_asked_again(tmp_path):
    script = tmp_path / "mute.py"
    script.write_text(
        "import sys\nprint(sys.stdin.readline().upper(), flush=True)\nsys.stdin.read()"
    )
    session = Session([sys.executable, str(script)])
    assert session.ask("first", WITHIN_S) == b"FIRST\n"
    assert session.ask("second", WITHIN_S) == b"\n"
    assert session.ask("third", 0.05) == b""
    assert session.ask("fourth", WITHIN_S) == b"FOURTH\n"
    session.end()
    assert Session([str(tmp_path / "nothing")]).ask("x", 0.1) == b""


def test_another_machine_is_reached_by_ssh_with_every_word_quoted():
    host = host_of("ssh://user@jetson")
    argv = host.argv(["echo", "a b; rm"], "-tt")
    assert (argv[0], argv[-4:]) == ("ssh", ["-tt", "user@jetson", "--", "echo 'a b; rm'"])
    assert (host.local, host_of("local").local) == (False, True)
    assert host_of("local").argv(["echo", "a b"]) == ["echo", "a b"]


@pytest.mark.parametrize("address", ["jetson", "http://jetson", "ssh://", "ssh://jetson/path"])
def test_any_other_address_is_refused(address):
    with pytest.raises(ConfigError, match="ssh://USER@HOST"):
        host_of(address)


def test_a_directory_is_copied_with_its_modes(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.mkdir()
    target.mkdir()
    (source / "secret").write_text("x")
    (source / "secret").chmod(0o600)
    Host().put(source, str(target))
    assert (target / "secret").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="cannot be copied"):
        Host().put(source, str(tmp_path / "missing"))


def test_a_counter_goes_on_over_a_restart_and_adds_up_over_a_new_ring():
    total = Total()
    for count in (3, 10, 10, 12, 2, 5):
        total.see(count)
    assert total.value == 17


def test_a_server_that_comes_back_has_its_old_address():
    listener = Listener()
    address = listener.open()
    listener.close()
    assert listener.open() == address
    listener.close()


def test_the_rig_shows_what_is_wrong_with_it_now(tmp_path: Path):
    class Shown:
        def __init__(self) -> None:
            self.faults: list[str] = []

        def show(self, now_ns: int, faults: str) -> None:
            self.faults.append(faults)

    shown, drop, pull = Shown(), Drop(at_s=0.0, share=0.5), Unplug(at_s=0.0)
    stage, terminal = Stage(SPEC, ROBOT.parent, "nominal", 0), PseudoTerminal(tmp_path / "tty")
    stand = Stand(stage, SPEC.bus.baud, terminal, time.monotonic_ns, shown)
    for cue in (Cue(True, drop), Cue(mark="zero"), Cue(True, pull), Cue(False, drop)):
        stand.cues.append(cue)
        stand._obey()
    assert shown.faults == ["drop", "drop", "drop, unplug", "unplug"]
