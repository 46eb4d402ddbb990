"""The agent's talk with control: its state goes to the server, good bundles come to it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec

from onboard.bundle_store import BundleStore
from onboard.control_api import BUSY, HELD_BACK, Estop, Status
from onboard.control_log import ControlLog
from onboard.control_socket import ControlClient
from onboard.courier import Courier
from onboard.event_log import EventLog
from onboard.offers import Offers
from onboard.releases.last_word import Word, unspoken
from onboard.spool import Spool
from onboard.uplink import Uplink
from onboard.version_floor import (
    Floor,
    decode_floor,
    encode_floor,
    highest,
    read_floor,
    write_floor,
)
from protocol.errors import StoreError, WireError
from protocol.messages import Report
from protocol.modes import Mode

REPORT_PERIOD_S = 1.0
_FLOOR, _ROLLED_BACK = "floor", "rolled_back"


class Liaison:
    """Once a second: ask control, report, offer; meanwhile have announced bundles fetched.

    What must survive a restart (version floor, versions that were rolled back) is kept in the
    spool's database before it is acted upon; the floor also in ``floor_file``.
    """

    def __init__(
        self,
        control: ControlClient,
        store: BundleStore,
        courier: Courier,
        uplink: Uplink,
        spool: Spool,
        log: EventLog,
        floor_file: Path,
        release: Word = unspoken,
    ) -> None:
        self._control = control
        self._store = store
        self._courier = courier
        self._uplink = uplink
        self._spool = spool
        self._log, self._control_log = log, ControlLog(log)
        self._floor_file = floor_file
        self._release = release
        self._floor = Floor()
        self._offers = Offers()
        self._held_back = ""
        self._due_s = float("-inf")

    def recall(self) -> None:
        """Read what was kept, and drop bundles that a power cut has damaged. Raises StoreError."""
        try:
            bad = msgspec.json.decode(self._spool.fact(_ROLLED_BACK) or "[]", type=list[int])
            self._offers = Offers(bad)
        except msgspec.DecodeError as error:
            self._log.note("notes_unreadable", reason=str(error))
        for version in self._store.discard_damaged():
            self._log.note("bundle_damaged", version=version)
        self._floor = self._highest_floor()

    def _highest_floor(self) -> Floor:
        """From both copies, and from what is held: either copy may be lost or damaged."""
        floors = [Floor(bundle=max(self._store.held(), default=0))]
        kept = self._spool.fact(_FLOOR) or ""
        for read in (partial(decode_floor, kept), partial(read_floor, self._floor_file)):
            try:
                floors.append(read())
            except StoreError as error:
                self._log.note("notes_unreadable", reason=str(error))
        return highest(*floors)

    def step(self, now_s: float) -> None:
        """Do what is due. Raises StoreError if something could not be kept."""
        self._obey_server()
        self._take_delivery(now_s)
        if now_s < self._due_s:
            return
        self._due_s = now_s + REPORT_PERIOD_S
        try:
            status = self._control.status()
            self._control_log.heard(status)
            self._heard(status)
            self._offer(status)
            self._uplink.report(self._report(status, now_s))
            self._log.state("control", "present")
        except WireError:
            self._offers.forget()
            self._log.state("control", "away")

    def take_leave(self) -> None:
        """Note what control did since it was last asked, where it still answers."""
        try:
            self._control_log.heard(self._control.status())
        except WireError:
            self._log.state("control", "away")

    def _obey_server(self) -> None:
        """The server may stop the robot; it says so again every second while it wants to."""
        reason = self._uplink.take_halt()
        if not reason:
            return
        try:
            done = self._control.command(Estop(source=f"the server: {reason}"[:1024]))
            self._log.state("halted", f"{reason} ({done.detail})")
        except WireError as error:
            self._log.state("halted", f"{reason} (not obeyed: {error})")

    def _take_delivery(self, now_s: float) -> None:
        update = self._courier.step(now_s, self._uplink.policy_version, self._floor)
        self._log.state("update_trouble", self._courier.trouble)
        if update is None:
            return
        write_floor(self._floor_file, update.floor)
        self._spool.remember(_FLOOR, encode_floor(update.floor))
        self._floor = update.floor
        if update.version:
            self._log.note("bundle_held", version=update.version)
            self._due_s = now_s  # offer it now, not at the next round

    def _heard(self, status: Status) -> None:
        known = len(self._offers.rolled_back)
        self._offers.heard(status.ticks, status.events)
        if len(self._offers.rolled_back) > known:
            bad = sorted(self._offers.rolled_back)
            self._spool.remember(_ROLLED_BACK, msgspec.json.encode(bad).decode())

    def _offer(self, status: Status) -> None:
        held, pinned = self._store.held(), status.pinned_version
        self._held_back = self._offers.held_back(held, pinned)
        self._log.state("held_back", self._held_back)
        version = self._offers.best(held, status.active_version, pinned)
        if version is None:
            return
        done = self._control.offer(version, self._store.directory(version).resolve())
        if done.ok or not done.detail.startswith((BUSY, HELD_BACK)):
            self._offers.taken(version)
            self._store.prune({status.active_version, pinned, *status.committed_versions})
            self._log.note("offered", version=version, taken=done.ok, detail=done.detail)

    def _report(self, status: Status, now_s: float) -> Report:
        return Report(
            epoch=self._spool.epoch,
            mode=Mode[status.mode],
            active_version=status.active_version,
            ticks=status.ticks,
            missed_ticks=status.missed_ticks,
            produced=status.produced,
            spooled=self._spool.spooled,
            dropped=status.dropped + self._spool.rejected,
            events=status.events[-64:],
            held_back=self._held_back or msgspec.UNSET,
            waiting=max(0, self._spool.newest + 1 - self._spool.first_held),
            interventions=status.interventions,
            release=self._release(now_s),
        )
