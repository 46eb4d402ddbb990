"""How learning goes: returns by episode, what is learned from, and how good the model is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

from offboard.page.facts import Fact, Level, count, number, percent, whole
from offboard.page.run_files import Event, Run

PHASES = {
    "zero-shot": ("first look", "The robot shows what the source task's policy is worth here."),
    "adapt": ("adapting", "It explores, the server learns, better policies go out."),
    "final": ("final", "Learning is over; the best policy is measured, without exploring."),
    "done": ("done", "All episodes of this run are over."),
}
COURSES = {
    "relabel": "prior data, relabelled by the adapted model, and the robot's own",
    "finetune": "the robot's own data, beginning from the source's policy",
    "scratch": "the robot's own data alone: the source's policy was worse than chance",
    "raw": "prior data as it is, and the robot's own",
}
LAST = 5


@dataclass(frozen=True)
class Returns:
    """Return of each finished episode; point i is episode i + 1.

    Attributes:
        explored: whether the robot tried things on purpose in it.
        versions: the policy that drove longest.
        changes: numbers of the episodes that another policy drove than the one before.
    """

    totals: tuple[float, ...]
    explored: tuple[bool, ...]
    versions: tuple[int, ...]
    changes: tuple[int, ...]


@dataclass(frozen=True)
class Diet:
    """What was learned from, by target steps: adaptive share of prior data, and model error."""

    steps: tuple[int, ...]
    prior_share: tuple[float, ...]
    model_error: tuple[float | None, ...]


def episodes_of(run: Run) -> list[Event]:
    """Finished episodes in order."""
    return [event for event in run.events if event.event == "episode"]


def returns(run: Run) -> Returns:
    """The learning curve on the robot."""
    episodes = episodes_of(run)
    versions = tuple(main_version(episode) for episode in episodes)
    return Returns(
        tuple(episode.total for episode in episodes),
        tuple(episode.explored for episode in episodes),
        versions,
        tuple(
            place + 1
            for place, version in enumerate(versions)
            if place and version != versions[place - 1]
        ),
    )


def main_version(episode: Event) -> int:
    """The policy that acted longest in it, 0 if none did."""
    return max(episode.versions, key=lambda version: episode.versions[version], default=0)


def diet(run: Run) -> Diet:
    """After each episode: the share of prior data in a batch, and the adapted model's error."""
    episodes = episodes_of(run)
    return Diet(
        tuple(episode.online for episode in episodes),
        tuple(episode.offline_fraction for episode in episodes),
        tuple(episode.nmse for episode in episodes),
    )


def source_curve(run: Run) -> tuple[tuple[int, float], ...]:
    """Steps and returns of the source task's training in simulation."""
    return tuple(
        (line.step, line.episode_return)
        for line in run.source
        if line.stage == "source" and line.episode_return is not None
    )


def progress(run: Run) -> tuple[Fact, ...]:
    """Where the run stands."""
    status, found = run.status, returns(run)
    wanted = run.config.get("session", {}).get("episodes")
    phase, meaning = PHASES.get("" if status is None else status.phase, ("–", ""))
    held = 0 if status is None else status.held_back
    return (
        Fact("Phase", phase, meaning or "The server has not begun."),
        Fact(
            "Episodes", whole(len(found.totals)) + (f" of {whole(wanted)}" if wanted else ""),
            "Tries the robot has finished, of those this run was asked for.",
        ),
        Fact("First episodes", _mean(found.totals[:2]), "Mean return of the first two, before "
             "anything was learned here. A return is the reward of one episode added up."),
        Fact(f"Last {LAST} episodes", _mean(found.totals[-LAST:]), "Mean return; higher is better.",
             _judged(found)),
        Fact("Learning steps", whole(0 if status is None else status.evidence.updates),
             "How often the networks were improved."),
        Fact("Held back", count(held, "policy", "policies"),
             "Learned, but expected to be worse than the one that drives, so not sent out."),
    )  # fmt: skip


def _judged(found: Returns) -> Level:
    better = len(found.totals) > LAST and mean(found.totals[-LAST:]) > mean(found.totals[:2])
    return Level.GOOD if better else Level.PLAIN


def _mean(totals: tuple[float, ...]) -> str:
    return number(mean(totals)) if totals else "–"


def composition(run: Run) -> tuple[Fact, ...]:
    """What the learner has to learn from, and how far it trusts it."""
    if run.status is None:
        return ()
    evidence = run.status.evidence
    kept, steps = run.generate_result.get("steps_kept"), run.source_result.get("env_steps")
    return (
        Fact("From this robot", count(evidence.online, "step"),
             "Steps measured on the target task, the only ones that are certainly true here."),
        Fact("From the source task", "–" if steps is None else count(steps, "step"),
             "Steps of the older task, from its simulator or its logs."),
        Fact("Generated and kept", "–" if kept is None else count(kept, "step"),
             "Steps that were made with the source's model and passed the filter."),
        Fact("Worth as much as", count(evidence.relabelled, "certain step"),
             "Prior steps are weighted by how far the adapted model can be believed about them; "
             "together they count as this many (Kish's effective sample size)."),
        Fact("Prior share", percent(evidence.offline_fraction),
             "Share of each learning batch that is prior data. It adapts: it falls with every "
             "step the robot makes and with every error of the model."),
        Fact("Model error here", number(evidence.nmse),
             "Error of the adapted model on steps it had not seen, as a share of what there is to "
             "predict: 0 is perfect, 1 knows nothing."),
        Fact("Penalty", f"× {evidence.pessimism:.1f}",
             "A planner avoids what the model is unsure of, and does so the more, up to three "
             "times, the further the model's errors here exceed its own estimate of them."),
        Fact("Learns from", COURSES.get(evidence.course or "", "not decided yet"),
             "Decided once, when there is evidence how far source and target differ."),
    )  # fmt: skip
