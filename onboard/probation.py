"""Is a new policy so much worse than the committed one that it has to go? Pure.

A robot that learns publishes policies that explore, and an honest one may lose half its return for
an episode or two. A wrong roll-back stops learning and a late one costs some episodes, so only what
is far outside that is judged bad, and nothing before the committed policy is known.

The first episode on probation may have begun under the other policy. That dilutes the comparison,
towards "as good".
"""

from __future__ import annotations

from typing import NamedTuple

PROBATION_EPISODES = 2
"""Fewer would judge luck; many would never end where a new candidate comes every few episodes."""
KNOWN_EPISODES = 2
"""Completed by the committed policy before anything is compared with it."""
RETURN_SHARE = 0.4
"""Of the committed mean return. Returns of 90, 50, 190 are ordinary while exploring: 0.55."""
INTERVENTION_RATE_EXCESS = 0.2
"""Of all steps: the envelope changes one command in five more than under the committed policy."""
BUS_MISS_RATE_EXCESS = 0.1
"""Per step: one tick in ten loses the bus, beyond what it did under the committed policy. A policy
whose currents let the supply sag does that as long as it drives, a plug that is knocked once."""
ABORTED_SHARE_EXCESS = 0.5
"""Of all episodes begun: ended by a motor that fell silent, a motor's fault or a dead bus. Once may
be a plug or a busy machine; a policy that stalls, or draws too much, does it again."""
LATE_TICKS_PER_EPISODE = 10.0
"""Beyond the committed policy's. A slow policy is late at nearly every tick, a busy machine for a
few in a row, under every policy."""


class Verdict(NamedTuple):
    """Episodes, one or the sum of several.

    Attributes:
        score: return by the task's judge, of completed episodes; an early termination forfeits the
            rest of the episode.
        steps: actions taken.
        interventions: policy commands that the envelope changed.
        late_ticks: ticks that began late or after lost ones.
        bus_misses: ticks in which a bus access failed.
        episodes: how many were completed.
        aborted: how many the motors or the bus ended.
    """

    score: float
    steps: int
    interventions: int = 0
    late_ticks: int = 0
    bus_misses: int = 0
    episodes: int = 1
    aborted: int = 0

    @property
    def begun(self) -> int:
        """Episodes, however they ended."""
        return self.episodes + self.aborted

    def cut_short(self) -> Verdict:
        """This one episode as one that was aborted: it has no return to compare."""
        return self._replace(score=0.0, episodes=0, aborted=1)

    def plus(self, other: Verdict) -> Verdict:
        """Both together."""
        return Verdict(
            score=self.score + other.score,
            steps=self.steps + other.steps,
            interventions=self.interventions + other.interventions,
            late_ticks=self.late_ticks + other.late_ticks,
            bus_misses=self.bus_misses + other.bus_misses,
            episodes=self.episodes + other.episodes,
            aborted=self.aborted + other.aborted,
        )


NOTHING = Verdict(score=0.0, steps=0, episodes=0)


def complaint(candidate: Verdict, committed: Verdict) -> str:
    """Why ``candidate`` has to go, with numbers; empty if it may stay.

    Args:
        candidate: all its episodes on probation, at least one.
        committed: all episodes of the policy it would replace.
    """
    if told := _aborted_more(candidate, committed):
        return told
    if committed.episodes < KNOWN_EPISODES:
        return ""
    rules = (_poor_return, _limited_more, _bus_lost_more, _late)
    return next((told for rule in rules if (told := rule(candidate, committed))), "")


def _aborted_more(candidate: Verdict, committed: Verdict) -> str:
    """Of a committed policy nobody knows, too: by an episode it was not aborted in, it is one."""
    share, usual = (each.aborted / max(each.begun, 1) for each in (candidate, committed))
    if share > usual + ABORTED_SHARE_EXCESS:
        return (
            f"{candidate.aborted} of {candidate.begun} episodes were ended by motors or bus, more "
            f"than {ABORTED_SHARE_EXCESS:.0%} above the committed {usual:.0%}"
        )
    return ""


def _poor_return(candidate: Verdict, committed: Verdict) -> str:
    if candidate.episodes < PROBATION_EPISODES:
        return ""
    mean, usual = (each.score / each.episodes for each in (candidate, committed))
    if mean < RETURN_SHARE * usual:
        return (
            f"mean return {mean:.1f} over {candidate.episodes} episodes, "
            f"below {RETURN_SHARE} of the committed {usual:.1f}"
        )
    return ""


def _limited_more(candidate: Verdict, committed: Verdict) -> str:
    rate, usual = (each.interventions / max(each.steps, 1) for each in (candidate, committed))
    if rate > usual + INTERVENTION_RATE_EXCESS:
        return (
            f"{rate:.0%} of its commands were limited, more than {INTERVENTION_RATE_EXCESS:.0%} "
            f"above the committed {usual:.0%}"
        )
    return ""


def _bus_lost_more(candidate: Verdict, committed: Verdict) -> str:
    """Per step, as the others; a tick without bus may be none, so the rate may exceed one."""
    rate, usual = (each.bus_misses / max(each.steps, 1) for each in (candidate, committed))
    if rate > usual + BUS_MISS_RATE_EXCESS:
        return (
            f"{rate:.3f} bus misses per step, more than {BUS_MISS_RATE_EXCESS} "
            f"above the committed {usual:.3f}"
        )
    return ""


def _late(candidate: Verdict, committed: Verdict) -> str:
    late, usual = (each.late_ticks / max(each.begun, 1) for each in (candidate, committed))
    if late > usual + LATE_TICKS_PER_EPISODE:
        return (
            f"{late:.1f} late ticks per episode, more than {LATE_TICKS_PER_EPISODE:g} "
            f"above the committed {usual:.1f}"
        )
    return ""
