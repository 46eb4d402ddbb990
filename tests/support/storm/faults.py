"""The faults of a storm, by name. Each leaves the site with everybody running."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from storm.crew import Member
from storm.damage import cut_anywhere, flip_any_bit
from storm.disk import SmallDisk
from storm.proxy import Proxy, Weather
from storm.site import Site

Damage = Callable[[Path, random.Random], bool]


class Faults:
    """Chooses and commits them.

    Attributes:
        counts: how often each kind struck.
    """

    def __init__(
        self, site: Site, proxy: Proxy, disks: dict[str, SmallDisk], chance: random.Random
    ) -> None:
        self._site, self._proxy, self._disks, self._chance = site, proxy, disks, chance
        self.counts: Counter[str] = Counter()
        self._weights: dict[Callable[[], None], int] = {
            self._kill_agent: 24,
            self._kill_server: 16,
            self._kill_source: 4,
            self._change_weather: 16,
            self._damage_spool: 5,
            self._damage_catalogue: 4,
            self._back_up_server: 4,
            self._restore_server: 2,
        }
        if disks:
            self._weights[self._change_disks] = 8

    def strike(self) -> None:
        """One fault; then whoever is dead is started."""
        (fault,) = self._chance.choices([*self._weights], [*self._weights.values()])
        fault()
        for member in self._site.crew:
            member.start()

    def end(self) -> None:
        """Fair weather, and room on every disk."""
        self._proxy.set(Weather.CLEAR)
        for disk in self._disks.values():
            disk.free()

    def _kill_agent(self) -> None:
        self._kill("robot killed", self._site.agent)

    def _kill_server(self) -> None:
        self._kill("server killed", self._site.server)

    def _kill_source(self) -> None:
        self._kill("control killed", self._site.source)

    def _kill(self, name: str, member: Member) -> None:
        member.kill()
        self.counts[name] += 1

    def _change_weather(self) -> None:
        weather = self._chance.choice([*Weather])
        self._proxy.set(weather)
        self.counts[weather.value] += weather is not Weather.CLEAR

    def _change_disks(self) -> None:
        owner = self._chance.choice([*self._disks])
        if self._chance.random() < 0.4:
            self._disks[owner].fill()
            self.counts[f"{owner}'s disk full"] += 1
        else:
            self._disks[owner].free()

    def _damage_spool(self) -> None:
        self._kill_agent()
        name = self._chance.choice(["", "-wal"])
        self._hurt(self._site.spool.with_name(self._site.spool.name + name), "spool" + name)

    def _damage_catalogue(self) -> None:
        """The operator looks, and restores the backup where nothing else helps."""
        self._kill_server()
        catalogue = self._site.catalogue
        name = self._chance.choice(["", "-wal"])
        self._hurt(catalogue.with_name(catalogue.name + name), "catalogue" + name)
        if not self._site.catalogue_is_usable():
            self._lose_catalogue()

    def _hurt(self, path: Path, name: str) -> None:
        kinds: dict[str, Damage] = {"flipped": flip_any_bit, "cut": cut_anywhere}
        kind = self._chance.choice([*kinds])
        self.counts[f"{name} {kind}"] += kinds[kind](path, self._chance)

    def _back_up_server(self) -> None:
        self._kill_server()
        self._site.back_up()

    def _restore_server(self) -> None:
        self._kill_server()
        self.counts["server restored from an old backup"] += self._site.restore()

    def _lose_catalogue(self) -> None:
        if self._site.restore():
            self.counts["server restored from an old backup"] += 1
        else:
            self._site.discard()
            self.counts["server's catalogue lost"] += 1
