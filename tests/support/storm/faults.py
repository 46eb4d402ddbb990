"""The faults of a storm, by name. Each leaves the site with everybody running."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from storm.course import Course
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
        self,
        site: Site,
        proxy: Proxy,
        disks: dict[str, SmallDisk],
        chance: random.Random,
        course: Course,
        calm_s: float,
    ) -> None:
        """``calm_s`` is how long a calm lasts here."""
        self._site, self._proxy, self._disks, self._chance = site, proxy, disks, chance
        self._course, self._calm_s = course, calm_s
        self.counts: Counter[str] = Counter()
        self._struck: set[Callable[[], None]] = set()
        self._weights: dict[Callable[[], None], int] = {
            self._kill_agent: course.kill_agent,
            self._kill_server: course.kill_server,
            self._kill_source: course.kill_source,
            self._change_weather: course.change_weather,
            self._change_disks: course.change_disks if disks else 0,
            self._damage_spool: course.damage_spool,
            self._damage_catalogue: course.damage_catalogue,
            self._back_up_server: course.back_up_server,
            self._restore_server: course.restore_server,
            self._calm: course.calm,
        }

    def strike(self) -> None:
        """One fault; then whoever is dead is started."""
        (fault,) = self._chance.choices([*self._weights], [*self._weights.values()])
        self._commit(fault)

    def owed(self) -> Iterator[str]:
        """Strike with each kind that a short storm had no turn for; the name of each that did."""
        for owner in self._disks:
            if not self.counts[_full(owner)]:
                self._fill(owner)
                yield _full(owner)
        for fault, weight in self._weights.items():
            if weight and fault not in self._struck:
                self._commit(fault)
                yield fault.__name__

    def _commit(self, fault: Callable[[], None]) -> None:
        self._struck.add(fault)
        fault()
        self._site.start()

    def end(self) -> None:
        """Fair weather, and room on every disk."""
        self._proxy.set(Weather.CLEAR)
        for disk in self._disks.values():
            disk.free()

    def _calm(self) -> None:
        """Everybody is up, every way is open, for as long as records need to get through."""
        self.end()
        self._site.start()
        time.sleep(self._calm_s)
        self.counts["calm"] += 1

    def _kill_agent(self) -> None:
        self._kill("robot's agent killed", self._site.agent)

    def _kill_server(self) -> None:
        self._kill("server killed", self._site.server)

    def _kill_source(self) -> None:
        self._kill("source of records killed", self._site.source)

    def _kill(self, name: str, member: Member) -> None:
        member.kill()
        self.counts[name] += 1

    def _change_weather(self) -> None:
        weather = self._chance.choice([*Weather])
        self._proxy.set(weather)
        self.counts[weather.value] += weather is not Weather.CLEAR

    def _change_disks(self) -> None:
        owner = self._chance.choice([*self._disks])
        if self._chance.random() < self._course.full_share:
            self._fill(owner)
        else:
            self._disks[owner].free()

    def _fill(self, owner: str) -> None:
        self._disks[owner].fill()
        self.counts[_full(owner)] += 1

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
        self.counts["server restored from an old backup"] += self._restored()

    def _restored(self) -> bool:
        """Onto a disk that has room: an operator would see to that."""
        if "server" in self._disks:
            self._disks["server"].free()
        return self._site.restore()

    def _lose_catalogue(self) -> None:
        if self._restored():
            self.counts["server restored from an old backup"] += 1
        else:
            self._site.discard()
            self.counts["server's catalogue lost"] += 1


def _full(owner: str) -> str:
    return f"{owner}'s disk full"
